"""What intake's routes work with, wired once in `app`."""

from dataclasses import dataclass

from libs.events.clock import Clock
from libs.events.log import Log
from libs.events.store import Store
from libs.events.vault import Vault
from services.intake.acceptance import Acceptance
from services.intake.erasure import Erasure
from services.intake.people import People
from services.intake.sources import Sources
from services.intake.unread import Unreads


@dataclass(frozen=True, slots=True)
class Parts:
    store: Store
    vault: Vault
    clock: Clock
    log: Log
    sources: Sources
    people: People
    acceptance: Acceptance
    erasure: Erasure
    unreads: Unreads
    max_items: int

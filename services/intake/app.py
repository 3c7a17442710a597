"""Intake's only place of wiring."""

from starlette.middleware import Middleware

from libs.events.runtime import Runtime
from libs.service.environment import Environment
from libs.service.http.app import make_app
from libs.service.service import Service
from libs.service.settings import load
from services.intake.acceptance import Acceptance
from services.intake.api import customers, interactions, sources, webhooks
from services.intake.erasure import TIMER, Erasure
from services.intake.parts import Parts
from services.intake.people import People
from services.intake.settings import IntakeSettings
from services.intake.sources import Sources
from services.intake.unread import Unreads

NAME = "intake"
DESCRIPTION = "Everything that enters from outside becomes an immutable fact here: valid, authentic, new."


class _Closing:
    """Answers everybody who waits for people or for the commit before the machinery stops."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(self) -> None:
        await self._parts.sources.refresh()

    async def stop(self) -> None:
        await self._parts.people.close()


async def build(environment: Environment) -> Service:
    """Intake on the environment's engines; its database is migrated already, nothing is started."""
    engine, vault, clock = environment.engine(NAME), environment.vault, environment.clock
    settings = load(IntakeSettings)
    erasure = Erasure(vault)
    runtime = Runtime(
        service=NAME,
        engine=engine,
        log=environment.log,
        vault=vault,
        clock=clock,
        timers={TIMER: erasure.finish},
        settings=environment.machinery(),
    )
    store = runtime.store
    known, people = Sources(store, vault, clock), People(vault)
    parts = Parts(
        store=store,
        vault=vault,
        clock=clock,
        log=environment.log,
        sources=known,
        people=people,
        acceptance=Acceptance(
            store=store, group_commit=runtime.group_commit, vault=vault, clock=clock, sources=known, people=people
        ),
        erasure=erasure,
        unreads=Unreads(store, vault, settings.unread_limit),
        max_items=environment.settings.max_items,
    )
    app = make_app(NAME, environment=environment, title="Lazo intake", description=DESCRIPTION)
    app.user_middleware.append(Middleware(interactions.Shortcut, parts=parts))  # innermost: inside the edge
    for room in (interactions, sources, webhooks, customers):
        app.include_router(room.router(parts))
    return Service(NAME, app, runtime, parts=[_Closing(parts)])

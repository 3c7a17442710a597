"""Opens sealed words when they are read, for those who may; nothing in the clear is kept."""

from collections.abc import Iterable
from dataclasses import dataclass

from libs.events.sealing import PREFIX, open_token
from libs.events.vault import Vault


@dataclass(frozen=True, slots=True)
class Sealed:
    """A token and what binds it: the person, the event and the field it was sealed in."""

    token: str
    customer_id: str
    event_id: str
    field: str


async def opened(vault: Vault, sealed: Iterable[Sealed]) -> dict[tuple[str, str], str | None]:
    """The words by (event id, field); None where the person was erased."""
    wanted = list(sealed)
    keys = await vault.keys({one.customer_id for one in wanted}) if wanted else {}
    words: dict[tuple[str, str], str | None] = {}
    for one in wanted:
        key = keys.get(one.customer_id)
        if not one.token.startswith(PREFIX):
            words[one.event_id, one.field] = one.token
        else:
            words[one.event_id, one.field] = (
                None if key is None else str(open_token(one.token, key, one.event_id, one.field))
            )
    return words

"""Sealing: personal fields become tokens before an event reaches any store, log, quarantine or trace.

A token is `lz1.<base64url of nonce and ciphertext>`: AES-256-GCM under the person's data key, the event id and the field's
name as associated data, so that a token moved to another event or field does not open. The plain text is the field's JSON.
A field's name is part of what is sealed: an upcaster must not rename a personal field.
"""

import binascii
import os
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag

from libs.events.catalogue import decode, personal_fields
from libs.events.catalogue.base import EventData
from libs.events.envelope import Event
from libs.events.offload import each
from libs.events.vault import Vault, cipher_of

PREFIX = "lz1."
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class SealBroken(ValueError):
    """A token that its person's key does not open: altered, moved to another place, or sealed with another key."""


def seal_fields(data: dict[str, Any], fields: Iterable[str], key: bytes | None, event_id: str) -> None:
    """Replace personal values by tokens, in place. Without a key (the person was erased) they become None."""
    present = [field for field in fields if data.get(field) is not None]
    if not present:
        return
    if key is None:
        for field in present:
            data[field] = None
        return
    encrypt = cipher_of(key).encrypt
    random = os.urandom(12 * len(present))  # one call to the kernel per event, not per field
    for index, field in enumerate(present):
        nonce = random[index * 12 : index * 12 + 12]
        sealed = nonce + encrypt(nonce, orjson.dumps(data[field]), f"{event_id}\x1f{field}".encode())
        data[field] = PREFIX + binascii.b2a_base64(sealed, newline=False).rstrip(b"=").translate(_TO_URL).decode()


def open_fields(data: dict[str, Any], fields: Iterable[str], key: bytes | None, event_id: str) -> None:
    """Replace tokens by their values, in place; None where the person was erased. Raises SealBroken."""
    for field in fields:
        value = data.get(field)
        if isinstance(value, str) and value.startswith(PREFIX):
            data[field] = None if key is None else open_token(value, key, event_id, field)


def open_token(token: str, key: bytes, event_id: str, field: str) -> Any:
    """The value in one token. Raises SealBroken."""
    try:
        raw = token[4:].encode("ascii").translate(_FROM_URL)
        sealed = binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
        return orjson.loads(cipher_of(key).decrypt(sealed[:12], sealed[12:], f"{event_id}\x1f{field}".encode()))
    except (InvalidTag, ValueError, binascii.Error):
        raise SealBroken(f"the field {field} of event {event_id} does not open with its person's key") from None


def person_of(data: EventData) -> str | None:
    """Whose key seals this event's personal fields: every type that has such fields names its person in `customer_id`."""
    person: str | None = getattr(data, "customer_id", None)
    return person


def unseal(data: EventData, key: bytes | None, event_id: str) -> EventData:
    """The same data with its personal fields in the clear; None in each where there is no key any more."""
    values = {name: value for name in personal_fields(type(data)) if (value := getattr(data, name)) is not None}
    if not values:
        return data
    open_fields(values, tuple(values), key, event_id)
    return data.model_copy(update=values)


async def opened(vault: Vault, events: Sequence[Event]) -> list[EventData]:
    """The events' data, decoded and unsealed; personal fields of erased people are None."""
    decoded = await each(decode, events)
    people = {person for data in decoded if personal_fields(type(data)) and (person := person_of(data))}
    if not people:
        return decoded
    keys = await vault.keys(people)

    def clear(pair: tuple[EventData, Event]) -> EventData:
        data, event = pair
        return unseal(data, keys.get(person_of(data) or ""), event.id)

    return await each(clear, list(zip(decoded, events, strict=True)))

"""Identifiers of people: brought into one form, then turned into keyed hashes; the values themselves go no further."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

STRONG = frozenset({"id", "document"})
"""Schemes that name exactly one person. Others (a phone, an e-mail) may be shared by a family or an office."""

_ORDER = {"id": 0, "document": 1, "email": 2, "phone": 3}
_NOT_DIGITS = re.compile(r"\D+")
_SEPARATORS = re.compile(r"[\s.\-/]+")
MAX_LENGTH = 512


class Identifier(NamedTuple):
    hash: bytes
    kind: str
    strong: bool


def normalised(scheme: str, value: str) -> str:
    """One spelling per identifier: e-mail trimmed and lower case; phone digits with a leading +; document without separators.

    A phone without country code cannot be completed here (whoever knows the source's country does that before), so its
    digits stand as they are: `300 123 4567` and `+57 300 123 4567` are two identifiers.
    """
    value = unicodedata.normalize("NFC", value.strip())
    match scheme:
        case "email":
            return value.lower()
        case "phone" | "whatsapp":
            digits = _NOT_DIGITS.sub("", value)
            if value.startswith("+"):
                return f"+{digits}"
            return f"+{digits[2:]}" if digits.startswith("00") and len(digits) > 10 else digits
        case "document":
            return _SEPARATORS.sub("", value).upper()
        case _:
            return value


def identifiers_of(person: Mapping[str, str], key: bytes) -> tuple[Identifier, ...]:
    """Keyed hashes of a person's identifiers, strong ones first; `source` scopes `id`. ValueError when there is none."""
    found: list[tuple[int, str, str]] = []
    for scheme, raw in person.items():
        if scheme == "source":
            continue
        value = normalised(scheme, raw)
        if not value:
            continue
        if len(value) > MAX_LENGTH:
            raise ValueError(f"the identifier {scheme!r} is longer than {MAX_LENGTH} characters")
        kind = f"id@{person.get('source', '')}" if scheme == "id" else scheme
        found.append((_ORDER.get(scheme, 9), kind, value))
    if not found:
        raise ValueError("a person needs at least one identifier")
    if len(found) > 1:
        found.sort()
    blake2b = hashlib.blake2b
    return tuple(
        Identifier(
            blake2b(f"{kind}\x1f{value}".encode(), key=key, digest_size=16, person=b"lazo ident").digest(),
            kind,
            order < 2,
        )
        for order, kind, value in found
    )

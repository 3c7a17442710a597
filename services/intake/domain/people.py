"""Who a contact is about: identifiers as (scheme, value) pairs, because a contact may have no phone number (R54, R55)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from services.intake.domain.faults import Fault, Refused
from services.intake.domain.fields import SHORT

PhoneReader = Callable[[str, str | None], str | None]
"""(number as given, region of the source) to E.164, or None where it cannot be told."""

# "source" is no identifier: the vault reads it as whose `id` this is.
PLAIN = frozenset({"id", "email", "phone", "name", "segment", "locale", "internal"})
NATIONAL = frozenset({"national_id", "passport", "tax_id", "cedula", "nit", "dni", "rut", "curp", "cpf"})
DIALLED = frozenset({"whatsapp", "mobile"})
_SCHEME = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,39}")
_LOOSE = re.compile(r"[\s.\-/]")
_NOT_DIGITS = re.compile(r"\D")
_MAX_EXTRA = 20
_FEWEST_DIGITS = 3


def extras_of(customer: Mapping[str, Any]) -> dict[str, str]:
    """Further identifiers (`document`, `account` …) of a customer; Refused with a pointer for what is none."""
    extra: dict[str, str] = {}
    faults: list[Fault] = []
    for name in customer.keys() - PLAIN:
        value, at = customer[name], f"/customer/{name}".replace("~", "~0")
        if name == "source" or not _SCHEME.fullmatch(name):
            faults.append(Fault(at, "unknown-field", {"hint": ""}))
        elif isinstance(value, bool) or not isinstance(value, str | int):
            faults.append(Fault(at, "wrong-type", {"expected": "string"}))
        elif len(text := str(value).strip()) > SHORT:
            faults.append(Fault(at, "too-long", {"limit": SHORT}))
        elif text and not any(map(str.isalnum, text)):
            faults.append(Fault(at, "meaningless"))
        elif text:
            extra[name] = text
    if len(extra) > _MAX_EXTRA:
        faults.append(Fault("/customer", "too-many", {"limit": _MAX_EXTRA}))
    if faults:
        raise Refused(*faults)
    return extra


def identify(
    source: str, region: str | None, customer: Mapping[str, Any], extra: Mapping[str, str], read_phone: PhoneReader
) -> tuple[dict[str, str], str | None]:
    """The identifiers a person is looked up by in the vault (`source` says whose `id` it is), and the phone as it is to be kept (E.164 where it can be).

    What is only unique somewhere is scoped by where: a system's own id and its private schemes by the source, a
    document by the country, a number that is not E.164 by the source. Two people taken for one is worse than one
    person taken for two.
    """
    found: dict[str, str] = {}
    phone: str | None = None
    own = customer.get("id")
    if own:
        found["id"], found["source"] = own, source
    email = customer.get("email")
    if email:
        found["email"] = email
    given_phone = customer.get("phone")
    if given_phone:
        number = read_phone(given_phone, region)
        phone = number or given_phone
        if number:
            found["phone"] = number
        elif len(digits := _NOT_DIGITS.sub("", given_phone)) < _FEWEST_DIGITS:
            raise Refused(Fault("/customer/phone", "invalid-phone"))
        else:
            found[f"phone@{source}"] = digits
    for name, value in extra.items():
        if name == "document":
            found[name] = f"{region}:{value}" if region else value
        elif name in NATIONAL:
            found[f"{name}@{region}" if region else name] = _LOOSE.sub("", value).upper()
        elif name in DIALLED and (number := read_phone(value, region)):
            found.setdefault("phone", number)
        else:
            found[f"{name}@{source}"] = value
    if not found:
        raise Refused(Fault("/customer", "customer-unidentified"))
    return found, phone

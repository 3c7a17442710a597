"""From pydantic-core's errors to faults with pointers and codes."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from services.intake.domain.faults import Fault
from services.intake.domain.fields import PATTERN_CODES, WITHOUT_ZONE

_TYPE_EXPECTED = {
    "string_type": "string",
    "int_type": "number",
    "float_type": "number",
    "bool_type": "boolean",
    "bool_parsing": "boolean",
    "dict_type": "object",
    "list_type": "list",
}
_DATES = frozenset({"datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid", "datetime_type"})


def escape(token: object) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return str(token).replace("~", "~0").replace("/", "~1")


def pointer(location: Iterable[object]) -> str:
    """`("customer", "email")` as `/customer/email`."""
    return "".join(f"/{escape(token)}" for token in location)


def faults_of(error: ValidationError, known: Mapping[str, Iterable[str]]) -> tuple[Fault, ...]:
    """Every fault once, in the order of the fields. `known` names the members allowed at a pointer, for hints."""
    found: dict[tuple[str, str], Fault] = {}
    for entry in error.errors(include_url=False):
        location = list(entry["loc"])
        if "attributes" in location:  # pydantic adds the tried branch of the union: not the sender's business
            location = location[: location.index("attributes") + 2]
        fault = _fault(entry, pointer(location), location, known)
        found.setdefault((fault.pointer, fault.code if "attributes" not in location else ""), fault)
    return tuple(found.values())


def _fault(entry: Any, at: str, location: list[Any], known: Mapping[str, Iterable[str]]) -> Fault:
    kind, context, value = entry["type"], entry.get("ctx", {}), entry.get("input")
    if kind == "missing":
        return Fault(at, "missing")
    if kind == "extra_forbidden":
        names = list(known.get(pointer(location[:-1]), ()))
        close = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.75)
        return Fault(at, "unknown-field", {"hint": close[0] if close else ""})
    if kind == "string_pattern_mismatch":
        code = PATTERN_CODES.get(context["pattern"], "invalid-value")
        if code == "invalid-date" and isinstance(value, str) and WITHOUT_ZONE.match(value):
            code = "zone-missing"
        return Fault(at, code, {"reason": "pattern"})
    if kind in _DATES:
        return Fault(at, "invalid-date")
    if kind == "timezone_aware":
        return Fault(at, "zone-missing")
    if "attributes" in location:
        return _attribute(entry, at, value)
    if kind == "string_too_long":
        return Fault(at, "too-long", {"limit": context["max_length"]})
    if kind in {"string_too_short", "too_short"}:
        return Fault(at, "too-short")
    if kind == "too_long":
        return Fault(at, "too-many", {"limit": context["max_length"]})
    if kind in {"enum", "literal_error"}:
        return Fault(at, "not-allowed", {"allowed": context["expected"].replace("'", "").replace(" or ", ", ")})
    if kind == "string_unicode":
        return Fault(at, "surrogate")
    if not location and kind in {"dict_type", "model_type"}:
        return Fault(at, "not-an-object")
    if kind in _TYPE_EXPECTED:
        return Fault(at, "wrong-type", {"expected": _TYPE_EXPECTED[kind]})
    return Fault(at, "invalid-value", {"reason": entry["msg"]})


def _attribute(entry: Any, at: str, value: Any) -> Fault:
    kind, context = entry["type"], entry.get("ctx", {})
    if isinstance(value, list | dict) and at.count("/") > 1:
        return Fault(at, "not-flat")
    if isinstance(value, float):
        return Fault(at, "not-finite")
    if kind == "string_too_long":
        return Fault(at, "too-long", {"limit": context["max_length"]})
    if kind == "string_too_short":
        return Fault(at, "too-short")
    if kind == "too_long":
        return Fault(at, "too-many", {"limit": context["max_length"]})
    if kind == "dict_type":
        return Fault(at, "wrong-type", {"expected": "object"})
    return Fault(at, "invalid-value", {"reason": entry["msg"]})

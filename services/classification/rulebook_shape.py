"""What is wrong with the shape of a rulebook, in our words; and what can be read of one all the same.

A misspelt key must not hide a missing translation three hundred lines below: whoever wrote the file wants everything at once.
So the parts that have no shape are left out, the rest is checked, and what only the leaving out has made wrong is not told.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from services.classification.domain.problems import Defect, Pointer
from services.classification.domain.rulebook import Rulebook
from services.classification.domain.rulebook_checks import check

_ROUNDS = 8
_KINDS = (
    # beginning of pydantic's type of error, our code
    ("string_too_short", "empty_text"),
    ("string_too_long", "long_text"),
    ("string_type", "not_text"),
    ("date", "not_a_date"),
    ("bool", "not_yes_or_no"),
    ("int", "not_whole"),
    ("float", "not_a_number"),
    ("finite", "not_a_number"),
    ("list", "not_a_list"),
    ("dict", "not_a_mapping"),
    ("model", "not_a_mapping"),
    ("too_short", "empty_list"),
)
_BOUNDS = {"greater_than_equal": ("≥", "ge"), "greater_than": (">", "gt"), "less_than_equal": ("≤", "le")}
_OF_PROCEDURES = {"motive_without_procedure", "procedure_ends"}
_OF_ROUTES = {"unforeseen_without_route", "motive_without_route", "route_never_reached"}


def shaped(value: Mapping[str, Any]) -> tuple[Rulebook | None, list[Defect]]:
    """The book, or what of its shape is wrong."""
    try:
        return Rulebook.model_validate(value), []
    except ValidationError as error:
        return None, [_shape(item) for item in error.errors(include_url=False, include_input=False)]


def what_else(
    value: Mapping[str, Any], defects: Sequence[Defect], history: Sequence[tuple[int, Rulebook]]
) -> Iterator[Defect]:
    """Defects beyond the shape of what is left when the parts without shape are left out."""
    left_out: set[Pointer] = set()
    wrong = list(defects)
    for _ in range(_ROUNDS):
        for defect in wrong:
            part = _part(value, defect, left_out)
            if part is None:
                return  # something that every rulebook has: nothing is known of the rest
            left_out.add(part)
        kept: dict[Pointer, list[int]] = {}
        book, wrong = shaped(_without(value, left_out, (), (), kept))
        wrong = [Defect(item.code, _old(item.pointer, kept), item.values) for item in wrong]
        if book is not None:
            for item in check(book, history):
                found = Defect(item.code, _old(item.pointer, kept), item.values, item.warning)
                if not _follows(found, value, left_out):
                    yield found
            return


def _shape(error: Any) -> Defect:
    """A pydantic error in our words. Keys of unions and aliases do not occur in the model, so its path is the document's."""
    pointer: Pointer = tuple(part for part in error["loc"] if part != "[key]")
    kind, context = error["type"], error.get("ctx", {})
    match kind:
        case "missing":
            return Defect("missing", pointer[:-1], {"key": str(pointer[-1])})
        case "extra_forbidden":
            return Defect("unknown_key", pointer, {"key": str(pointer[-1])})
        case "string_pattern_mismatch" if "[key]" in error["loc"] and pointer[-2] != "roles":
            return Defect("invalid_language", pointer, {"value": str(pointer[-1])})
        case "string_pattern_mismatch" if pointer and pointer[0] == "languages":
            return Defect("invalid_language", pointer, {"value": ""})
        case "string_pattern_mismatch":
            return Defect("invalid_code", pointer)
        case "literal_error" | "enum":
            return Defect("not_among", pointer, {"values": str(context.get("expected", "")).replace("' or '", "', '")})
        case _ if kind in _BOUNDS:
            sign, name = _BOUNDS[kind]
            return Defect("out_of_bounds", pointer, {"bound": f"{sign} {context.get(name)}"})
    code = next((ours for theirs, ours in _KINDS if kind.startswith(theirs)), None)
    return Defect("invalid", pointer, {"detail": str(error["msg"])}) if code is None else Defect(code, pointer)


def _part(value: Any, defect: Defect, left_out: set[Pointer]) -> Pointer | None:
    """What to leave out: the value itself; where it is needed, what it is part of: the entry, step or version of a list."""
    pointer = defect.pointer
    if defect.code != "missing" and pointer not in left_out and len(pointer) > 1:
        return pointer
    if defect.code != "missing":
        return pointer if defect.code == "unknown_key" else None
    for length in range(len(pointer), 0, -1):
        if isinstance(pointer[length - 1], int):
            return pointer[:length]
    return None


def _without(value: Any, left_out: set[Pointer], at: Pointer, now: Pointer, kept: dict[Pointer, list[int]]) -> Any:
    """A copy without those parts. `kept`: by list as it is now, the places its items had."""
    if isinstance(value, Mapping):
        return {
            key: _without(item, left_out, (*at, key), (*now, key), kept)
            for key, item in value.items()
            if (*at, key) not in left_out
        }
    if isinstance(value, list):
        places = [place for place in range(len(value)) if (*at, place) not in left_out]
        kept[now] = places
        return [
            _without(value[place], left_out, (*at, place), (*now, number), kept) for number, place in enumerate(places)
        ]
    return value


def _old(pointer: Pointer, kept: Mapping[Pointer, list[int]]) -> Pointer:
    """Where in the document something stands that was found in a copy."""
    old: list[str | int] = []
    for depth, part in enumerate(pointer):
        places = kept.get(pointer[:depth])
        old.append(places[part] if isinstance(part, int) and places is not None and part < len(places) else part)
    return tuple(old)


def _follows(defect: Defect, value: Mapping[str, Any], left_out: set[Pointer]) -> bool:
    """Whether it may be no more than a consequence of what was left out."""
    if defect.code in {"missing_translation", "unknown_language"}:
        return any(pointer[:-1] == defect.pointer for pointer in left_out)
    if defect.pointer[:2] in {pointer[:2] for pointer in left_out}:
        return True
    sections = {pointer[0] for pointer in left_out if len(pointer) > 1}
    match defect.code:
        case "unknown_reference":
            gone = {_code_at(value, pointer) for pointer in left_out if isinstance(pointer[-1], int)}
            return None in gone or defect.values.get("value") in gone
        case "missing_component" | "missing_expectation" | "code_dropped" | "gap_in_dates":
            return defect.pointer[0] in sections
        case code if code in _OF_PROCEDURES:
            return bool({"procedures", "motives"} & sections)
        case code if code in _OF_ROUTES:
            return bool({"routes", "motives"} & sections)
        case "outlives_norm" | "precedes_norm" | "outlives_policy" | "precedes_policy" | "missing_date":
            return bool({"norms", "policies"} & sections)
        case _:
            return False


def _code_at(value: Any, pointer: Pointer) -> str | None:
    for part in pointer:
        value = value[part]
    code = value.get("code") if isinstance(value, Mapping) else value
    return code if isinstance(code, str) else None

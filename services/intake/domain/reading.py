"""From bytes to well-formed elements: JSON that hides nothing, in every form a sender may write it.

The quick way hands the bytes to pydantic-core once per element and counts member names to see that none was given twice
(its parser keeps the last one silently). Only where something is suspicious does the exact way look again, slowly, and
say what and where.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from services.intake.domain.diagnosis import escape, faults_of
from services.intake.domain.faults import Fault, Refused

MAX_DEPTH = 32  # an interaction is 3 deep; the parsers themselves would take 200 (pydantic-core) or 1000 (json)

_SURROGATE = re.compile("[\ud800-\udfff]")
_UTF8_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile("[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Form:
    """What one endpoint takes: the element's adapter, and the members known at a pointer, for hints."""

    adapter: TypeAdapter[Any]
    many: TypeAdapter[Any]
    known: Mapping[str, Sequence[str]]


Read = dict[str, Any] | Refused
"""A well-formed element, or why it is none."""


def one(body: bytes, form: Form) -> Read:
    """A body that is one element."""
    try:
        element: dict[str, Any] = form.adapter.validate_json(body)
    except ValidationError:
        return _exactly(body, form)
    return element if _plain(body, _members(element)) else _exactly(body, form)


def lines(body: bytes, form: Form) -> list[Read]:
    """NDJSON: each line is on its own; empty lines are nothing."""
    validate, read = form.adapter.validate_json, []
    for line in body.split(b"\n"):
        if not line or line.isspace():
            continue
        try:
            element = validate(line)
        except ValidationError:
            read.append(_exactly(line, form))
            continue
        read.append(element if _plain(line, _members(element)) else _exactly(line, form))
    return read


def array(body: bytes, form: Form) -> list[Read]:
    """A JSON array. Refused as a whole only when it is no JSON: one bad element never fails the others."""
    try:
        elements: list[Read] = form.many.validate_json(body)
    except ValidationError:
        pass
    else:
        if _plain(body, sum(map(_members, elements))):
            return elements
    found = strict_loads(body)
    if not isinstance(found, list):
        raise Refused(Fault("", "not-an-object"))
    return [value(element, form) for element in found]


def parts(body: bytes, size: int) -> Iterator[bytes | None]:
    """The elements of a JSON array, found by reading past them, as lines of NDJSON of some `size` characters together. None when
    anything is odd: then `array` has the word on the whole body, and what was given before counts for nothing.

    NDJSON as the words between the elements' brackets: an element's own line ends are white space, and become blanks.
    """
    try:
        text = body.decode()
        place, ends, found, held = _past(text, 0), ",", [], 0
        if text[place] != "[":
            raise ValueError
        place += 1
        while ends == ",":
            start = _past(text, place)
            _, place = _SCANNER.raw_decode(text, start)
            found.append(text[start:place].replace("\r", " ").replace("\n", " "))
            held += place - start
            place = _past(text, place)
            ends = text[place]
            place += 1
            if held >= size and ends == ",":
                yield "\n".join(found).encode()
                found, held = [], 0
        if ends != "]" or _past(text, place) != len(text):
            raise ValueError
    except (ValueError, IndexError, RecursionError, Refused):
        yield None
    else:
        yield "\n".join(found).encode()


def _past(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    assert space is not None  # it may be empty
    return space.end()


def value(element: Any, form: Form) -> Read:
    """An element that is already parsed (with `strict_loads`)."""
    if not isinstance(element, dict):
        return Refused(Fault("", "not-an-object"))
    faults = tuple(blemishes(element))
    if faults:
        return Refused(*faults)
    try:
        checked: dict[str, Any] = form.adapter.validate_python(element)
    except ValidationError as error:
        return Refused(*faults_of(error, form.known))
    return checked


def without_bom(body: bytes) -> bytes:
    """RFC 8259: writers must not add a byte order mark, readers may ignore it."""
    return body.removeprefix(_UTF8_BOM)


def _members(element: Any) -> int:
    count = len(element)
    for nested in element.values():
        if type(nested) is dict:
            count += _members(nested)
    return count


def _plain(body: bytes, members: int) -> bool:
    """No member twice and no NUL, for certain; False means: look again exactly.

    Every member name ends with a quote, perhaps white space, and a colon: with white space taken out there are at least as
    many `":` as members, and more where a text contains one. As many as were kept: none was given twice.
    """
    return body.translate(None, b" \t\r\n").count(b'":') == members and b"\\u0000" not in body


def _exactly(body: bytes, form: Form) -> Read:
    try:
        return value(strict_loads(body), form)
    except Refused as refusal:
        return refusal


class _Repeated(dict[str, Any]):
    """An object with a member given twice; `names` are the ones."""

    names: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    repeated = _Repeated(made)
    repeated.names = tuple(dict.fromkeys(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]  # `add` gives None: the name is new
    return repeated


def _constant(name: str) -> NoReturn:
    raise Refused(Fault("", "invalid-json", {"reason": f"{name} is no JSON number"}))


_SCANNER = json.JSONDecoder(parse_constant=_constant)


def strict_loads(body: bytes) -> Any:
    """JSON, exactly as RFC 8259 has it. Refused (a ValueError's place is in it) for anything else.

    Objects with a member given twice come out marked, so that only their element is refused (`blemishes`).
    """
    if not body.strip():
        raise Refused(Fault("", "empty-body"))
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Refused(Fault("", "invalid-utf8", {"position": error.start})) from None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise Refused(Fault("", "too-deep", {"limit": MAX_DEPTH})) from None
    except json.JSONDecodeError as error:
        place = f"{error.msg}, line {error.lineno} column {error.colno}"
        raise Refused(Fault("", "invalid-json", {"reason": place})) from None
    except ValueError:  # an integer of more than 4,300 digits
        raise Refused(Fault("", "invalid-json", {"reason": "a number is too long"})) from None


def blemishes(element: Any, at: str = "", depth: int = 0) -> Iterator[Fault]:
    """What valid JSON may hold and no text should: NUL, halves of surrogate pairs, members given twice, deep nesting."""
    if depth > MAX_DEPTH:
        yield Fault(at, "too-deep", {"limit": MAX_DEPTH})
    elif isinstance(element, str):
        yield from _text(element, at)
    elif isinstance(element, dict):
        if isinstance(element, _Repeated):
            yield from (
                Fault(f"{at}/{_shown(name)}", "duplicate-member", {"name": _shown(name)}) for name in element.names
            )
        for name, nested in element.items():
            yield from _text(name, f"{at}/{_shown(name)}")
            yield from blemishes(nested, f"{at}/{_shown(name)}", depth + 1)
    elif isinstance(element, list):
        for index, nested in enumerate(element):
            yield from blemishes(nested, f"{at}/{index}", depth + 1)


def _text(text: str, at: str) -> Iterator[Fault]:
    if "\0" in text:
        yield Fault(at, "nul-character")
    if not text.isascii() and _SURROGATE.search(text):
        yield Fault(at, "surrogate")


def _shown(name: str) -> str:
    """A member name that can stand in a pointer and in UTF-8."""
    return _SURROGATE.sub("�", escape(name)).replace("\0", "␀")[:80]

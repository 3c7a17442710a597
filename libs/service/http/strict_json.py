"""JSON as it must be: what two readers could read differently is refused, with the place named.

orjson alone refuses invalid UTF-8, NaN, Infinity, lone surrogates and trailing text, but takes the last of two members
with one name, nests up to 1,024 deep and lets NUL through. Duplicates are seen by counting: the colon of each member
stands behind a quote or white space, so `":` and white space with `:` occur at least as often as there are members. As often
as members were kept: no duplicates, certainly (2 µs). Otherwise strings are removed and colons counted exactly (25 µs a
kilobyte), and only where that differs too is the document read again by a slow reader that can name the place.
"""

import json
import re
from typing import Any

import orjson
from starlette.requests import Request

from libs.service.http.problems import FieldError, Problem, Words, pointer_of

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_COLONS = (b'":', b" :", b"\n:", b"\t:", b"\r:")

_CONTAINERS = frozenset({dict, list})

MAX_DEPTH = 64


def read_json(
    body: bytes | bytearray | memoryview, *, max_depth: int = MAX_DEPTH, prefix: tuple[str | int, ...] = ()
) -> Any:
    """The value in a body. Raises Problem 400 (not JSON, not UTF-8, empty) or 422 (duplicates, depth, NUL), naming where."""
    raw = bytes(body)
    if not raw or raw.isspace():
        raise Problem(
            400,
            "empty-body",
            Words("the body is empty; a JSON value is expected", "el cuerpo está vacío; se espera un valor JSON"),
        )
    if raw.startswith(b"\xef\xbb\xbf"):
        raw = raw[3:]
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg or "ecursion" in error.msg:
            raise _too_deep(max_depth, prefix) from None
        raise _unreadable(raw, error) from None
    members, depth = _shape(value)
    if depth > max_depth:
        raise _too_deep(max_depth, prefix)
    if sum(map(raw.count, _COLONS)) != members and _STRING.sub(b"", raw).count(b":") != members:
        raise _duplicate(raw, prefix)
    if b"\\u0000" in raw:
        pointer = _find_nul(value, prefix)
        if pointer is not None:
            raise Problem.field(
                pointer,
                "nul-character",
                Words(
                    f"{pointer or 'the value'} holds a NUL character (U+0000)",
                    f"{pointer or 'el valor'} contiene el carácter NUL (U+0000)",
                ),
            )
    return value


async def read_body(request: Request, *, prefix: tuple[str | int, ...] = ()) -> Any:
    """The request's body as strict JSON. Problems 400, 413, 422."""
    return read_json(await request.body(), max_depth=request.app.state.environment.settings.max_depth, prefix=prefix)


async def check_body(request: Request) -> None:
    """For routes whose body FastAPI parses itself: it takes the last of two members with one name, and NaN. Routes that
    read their body with `read_body` declare none, and are left alone."""
    if getattr(request.scope.get("route"), "body_field", None) is None:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        await read_body(request)


def _too_deep(limit: int, prefix: tuple[str | int, ...]) -> Problem:
    return Problem.field(
        pointer_of(prefix),
        "too-deep",
        Words(f"the value is nested more than {limit} levels deep", f"el valor está anidado más de {limit} niveles"),
    )


def _shape(value: Any) -> tuple[int, int]:
    """How many members a value has, and how many levels."""
    members = depth = 0
    level = [value] if type(value) in _CONTAINERS else []
    while level:
        depth += 1
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                members += len(item)
                below.extend([inner for inner in item.values() if type(inner) in _CONTAINERS])
            else:
                below.extend([inner for inner in item if type(inner) in _CONTAINERS])
        level = below
    return members, depth


def _find_nul(value: Any, path: tuple[str | int, ...]) -> str | None:
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(value, path)]
    while waiting:
        item, where = waiting.pop()
        if isinstance(item, str):
            if "\0" in item:
                return pointer_of(where)
        elif isinstance(item, dict):
            for name, inner in item.items():
                if "\0" in name:
                    return pointer_of(where)
                waiting.append((inner, (*where, name)))
        elif isinstance(item, list):
            waiting.extend((inner, (*where, index)) for index, inner in enumerate(item))
    return None


def _unreadable(raw: bytes, error: orjson.JSONDecodeError) -> Problem:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return Problem(
            400,
            "bad-encoding",
            Words(
                f"byte {wrong.start} is not UTF-8; send UTF-8, or a file through `lazo import` with its encoding",
                f"el byte {wrong.start} no es UTF-8; envíe UTF-8, o un archivo por `lazo import` con su codificación",
            ),
            (
                FieldError(
                    "",
                    "not-utf-8",
                    Words(
                        f"invalid byte 0x{raw[wrong.start]:02x} at offset {wrong.start}",
                        f"byte 0x{raw[wrong.start]:02x} no válido en la posición {wrong.start}",
                    ),
                ),
            ),
        )
    text = raw[max(0, error.pos - 1) : error.pos + 8]
    hint = Words("", "")
    if any(word in text for word in (b"NaN", b"Inf")):
        hint = Words("; NaN and Infinity are not JSON", "; NaN e Infinity no son JSON")
    elif "surrogate" in error.msg:
        hint = Words("; a lone surrogate is no character", "; medio par sustituto no es un carácter")
    detail = Words(
        f"{error.msg} at line {error.lineno}, column {error.colno}{hint}",
        f"no es JSON en la línea {error.lineno}, columna {error.colno}{hint.es}",
    )
    offset = Words(f"offset {error.pos}{hint}", f"posición {error.pos}{hint.es}")
    return Problem(400, "bad-json", detail, (FieldError("", "not-json", offset),))


class _Members(dict[str, Any]):
    duplicate: str | None = None


def _pairs(pairs: list[tuple[str, Any]]) -> _Members:
    members = _Members(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        members.duplicate = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]  # set.add gives None, which is the point
    return members


def _duplicate(raw: bytes, prefix: tuple[str | int, ...]) -> Problem:
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(json.loads(raw, object_pairs_hook=_pairs), prefix)]
    while waiting:
        item, where = waiting.pop()
        if isinstance(item, _Members):
            if item.duplicate is not None:
                pointer = pointer_of((*where, item.duplicate))
                return Problem.field(
                    pointer, "duplicate-member", Words(f"{pointer} stands there twice", f"{pointer} está dos veces")
                )
            waiting.extend((inner, (*where, name)) for name, inner in item.items())
        elif isinstance(item, list):
            waiting.extend((inner, (*where, index)) for index, inner in enumerate(item))
    # A duplicate that sits inside a value that another duplicate replaced.
    return Problem.field(
        pointer_of(prefix), "duplicate-member", Words("a member stands there twice", "un miembro está dos veces")
    )

"""Query parameters into a question. Whatever is not understood is refused by name: a typing error must not change a number."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import QueryParams

from libs.service.http.problems import FieldError, Problem, Words, one_of
from services.indicators.domain.crosswalk import Carry
from services.indicators.domain.periods import (
    GRANULARITIES,
    LIMIT,
    Granularity,
    TooManyPeriods,
    micros,
    midnight,
    periods,
)
from services.indicators.domain.query import Query
from services.indicators.domain.registry import DIMENSIONS
from services.indicators.settings import zone_of

_WHERE = re.compile(r"^where\[([^\[\]]*)\]$")
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
MOST_VALUES, LONGEST = 200, 200
CORE = frozenset({"from", "to", "granularity", "group_by", "as_of", "rulebook", "carry", "tz"})
SPAN = timedelta(days=30)
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_NO_OFFSET = Words(
    "the time has no offset; write Z or -05:00 after it", "la hora no tiene desfase; escriba Z o -05:00 después de ella"
)


class Wrong(Exception):
    """One parameter is wrong."""

    def __init__(self, name: str, code: str, words: Words) -> None:
        super().__init__(words)
        self.words = Words(f"{name}: {words}", f"{name}: {words.es}")
        self.error = FieldError(f"/query/{name}", code, self.words)


def unknown(name: str, known: Iterable[str], more: str = "") -> Wrong:
    """A parameter nobody reads here."""
    listed = ", ".join(sorted(known)) + more
    return Wrong(
        name[:60],
        "unknown-parameter",
        Words(f"not known here; there are {listed}", f"no se conoce aquí; hay {listed}"),
    )


def instant_of(name: str, text: str, zone: ZoneInfo, *, end: bool = False) -> datetime:
    """A date (its local midnight; as an end the midnight after it) or an RFC 3339 time with its offset. Raises Wrong."""
    try:
        if _DATE.match(text):
            day = date.fromisoformat(text)
            found = midnight(day + timedelta(days=1) if end else day, zone)
        else:
            # A "+" that was not escaped arrives as a blank.
            found = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    except (ValueError, OverflowError):
        raise Wrong(
            name,
            "not-a-time",
            Words(
                "a date (2026-03-01) or a time with its offset (2026-03-01T00:00:00-05:00)",
                "una fecha (2026-03-01) o una hora con su desfase (2026-03-01T00:00:00-05:00)",
            ),
        ) from None
    if found.tzinfo is None:
        raise Wrong(name, "no-offset", _NO_OFFSET)
    try:
        found = found.astimezone(UTC)
    except OverflowError:
        found = _LATEST + timedelta(days=1)
    if not _EARLIEST <= found <= _LATEST:
        raise Wrong(name, "out-of-range", Words("between the years 1900 and 2200", "entre los años 1900 y 2200"))
    return found


def single(params: QueryParams, name: str) -> str | None:
    """The value of a parameter that may stand once. Raises Wrong."""
    given = params.getlist(name)
    if len(given) > 1:
        raise Wrong(name, "repeated", Words("stands there more than once", "está más de una vez"))
    return given[0] if given and given[0] != "" else None


def whole_number(params: QueryParams, name: str) -> int | None:
    """Raises Wrong."""
    text = single(params, name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Wrong(name, "not-a-number", Words("a whole number", "un número entero"))
    return int(text)


def choice(params: QueryParams, name: str, allowed: Iterable[str], default: str) -> str:
    """Raises Wrong."""
    text, known = single(params, name), list(allowed)
    if text is None:
        return default
    if text not in known:
        raise Wrong(name, "not-allowed", one_of(known))
    return text


def marks_of(params: QueryParams, words: Iterable[str]) -> list[tuple[str, date]]:
    """`mark=word:YYYY-MM-DD`, any number of times: what to mark on a chart, and when. Raises Wrong."""
    found = []
    for text in params.getlist("mark"):
        word, _, day = text.partition(":")
        if word not in words:
            raise Wrong("mark", "not-allowed", one_of([f"{each}:YYYY-MM-DD" for each in words]))
        try:
            found.append((word, date.fromisoformat(day)))
        except ValueError:
            said = Words(f"{day[:20]!r} is no date", f"«{day[:20]}» no es una fecha")
            raise Wrong("mark", "not-a-time", said) from None
    return found


def _split(params: QueryParams) -> tuple[list[tuple[str, str]], dict[str, list[str]]]:
    plain: list[tuple[str, str]] = []
    where: dict[str, list[str]] = {}
    for name, value in params.multi_items():
        match = _WHERE.match(name)
        if match is None:
            plain.append((name, value))
            continue
        if match[1] not in DIMENSIONS:
            raise Wrong(name[:60], "unknown-dimension", one_of(DIMENSIONS))
        if len(value) > LONGEST or "\0" in value:
            words = Words(
                f"at most {LONGEST} characters, none of them NUL", f"a lo sumo {LONGEST} caracteres, ninguno NUL"
            )
            raise Wrong(name, "too-long", words)
        where.setdefault(match[1], []).append(value)
        if len(where[match[1]]) > MOST_VALUES:
            raise Wrong(name, "too-many", Words(f"at most {MOST_VALUES} values", f"a lo sumo {MOST_VALUES} valores"))
    return plain, where


def query_of(
    params: QueryParams,
    now: datetime,
    default_zone: str,
    *,
    also: Iterable[str] = (),
    limit: int = LIMIT,
    whole: bool = False,
) -> Query:
    """The question in a request. Parameters other than the common ones must be named in `also`. Raises Problem 422.

    `whole`: about the range as one period, which then may be as long as it likes.
    """
    try:
        return _query(params, now, default_zone, {*CORE, *also}, limit, whole=whole)
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None


def _query(params: QueryParams, now: datetime, default_zone: str, known: set[str], limit: int, *, whole: bool) -> Query:
    plain, where = _split(params)
    for name, _ in plain:
        if name not in known:
            raise unknown(name, known, ", where[…]")
    name = single(params, "tz") or default_zone
    try:
        zone = zone_of(name)
    except ValueError:
        words = Words(
            f"{name[:60]!r} is no time zone; write it as in America/Bogota",
            f"«{name[:60]}» no es una zona horaria; escríbala como America/Bogota",
        )
        raise Wrong("tz", "unknown-time-zone", words) from None
    as_of = single(params, "as_of")
    known_at = None if as_of is None else instant_of("as_of", as_of, zone, end=True)
    end_text, start_text = single(params, "to"), single(params, "from")
    # Without an end, up to and including now.
    end = (
        min(known_at or now, now) + timedelta(microseconds=1)
        if end_text is None
        else instant_of("to", end_text, zone, end=True)
    )
    start = (
        midnight((end - SPAN).astimezone(zone).date(), zone)
        if start_text is None
        else instant_of("from", start_text, zone)
    )
    granularity = choice(params, "granularity", GRANULARITIES, "day")
    if end <= start:
        raise Wrong("to", "empty-range", Words("lies before `from`", "es anterior a `from`"))
    try:
        # 300 years have 3,600 months; by days a list over three years would be refused for periods it does not have.
        spans = (
            periods(start, end, "month", zone, 4_000)
            if whole
            else periods(start, end, _granularity(granularity), zone, limit)
        )
    except TooManyPeriods:
        words = Words(
            f"more than {limit} periods; take a coarser one or a shorter range",
            f"más de {limit} periodos; tome uno más largo o un rango más corto",
        )
        raise Wrong("granularity", "too-many-periods", words) from None
    found = Query(
        periods=spans,
        zone=zone,
        now=micros(now),
        group_by=_group_by(params),
        where={dimension: tuple(values) for dimension, values in where.items()},
        as_of=None if known_at is None else micros(known_at),
        rulebook=whole_number(params, "rulebook"),
        carry=_carry(choice(params, "carry", ("forward", "both", "none"), "forward")),
    )
    return found.whole() if whole else found


def _granularity(name: str) -> Granularity:
    match name:
        case "hour" | "day" | "week" | "month":
            return name
        case _:
            raise AssertionError(name)


def _carry(name: str) -> Carry:
    match name:
        case "forward" | "both" | "none":
            return name
        case _:
            raise AssertionError(name)


def _group_by(params: QueryParams) -> tuple[str, ...]:
    names: list[str] = []
    for given in params.getlist("group_by"):
        for part in given.split(","):
            if part == "":
                continue
            if part not in DIMENSIONS:
                raise Wrong("group_by", "unknown-dimension", one_of(DIMENSIONS))
            if part not in names:
                names.append(part)
    if len(names) > 3:
        raise Wrong("group_by", "too-many", Words("at most three dimensions", "a lo sumo tres dimensiones"))
    return tuple(names)


def documented(*, also: Mapping[str, str] | None = None, without: Iterable[str] = ()) -> dict[str, Any]:
    """The parameters for the API reference (they are read by hand, since `where[…]` is open-ended)."""
    texts = {
        "from": "first instant: a date in `tz`, or a time with offset; default 30 days before `to`",
        "to": "end: a date (inclusive), or a time with offset (exclusive); default now",
        "granularity": "hour, day, week or month",
        "group_by": "up to three dimensions, separated by commas",
        "as_of": "answer with what was known then (a date: at its end)",
        "rulebook": "answer with the codings made under this version of the rulebook",
        "carry": "what was never coded under `rulebook`: carried over from older versions by the crosswalk (forward), from newer ones too (both), or left unknown (none)",
        "tz": "IANA time zone of the periods, e.g. America/Bogota",
    }
    listed = [(name, text) for name, text in {**texts, **(also or {})}.items() if name not in set(without)]
    schema = {"type": "string"}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": False, "description": text, "schema": schema} for name, text in listed
    ]
    parameters.append(
        {
            "name": "where", "in": "query", "required": False, "style": "deepObject", "explode": True,
            "description": f"filters, where[dimension]=value, repeated for several values; dimensions: {', '.join(DIMENSIONS)}",
            "schema": {"type": "object", "additionalProperties": schema},
        }
    )  # fmt: skip
    return {"parameters": parameters}

"""COUNTS.csv as people have it: columns in any order, dates in several ways, gaps; told by its line where it cannot be used."""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TextIO

import numpy as np

from services.classification.domain.detection.engine import Series

MONDAY = date(1970, 1, 5).toordinal()
FARTHEST = 200 * 366  # periods one series may span: a slip in a year should not fill the memory
MOST = 100_000_000
"""Periods all series may span together, eight bytes each: a file of few rows, each series from one date to a far one, is not made whole."""
SAID = 4_000_000
"""Characters read between two words about how far reading has come."""
NAMES = {
    "series": ("series", "serie", "slice"),
    "date": ("date", "fecha", "day", "week", "dia", "semana"),
    "count": ("count", "conteo", "n", "casos", "complaints"),
    "customers": ("customers", "clientes"),
    "exposure": ("exposure", "exposicion", "exposición"),
    "peers": ("peers", "pares"),
}


class BadCounts(Exception):
    """A file that cannot be used. `code` names why; `values` fill the sentence a person reads."""

    def __init__(self, code: str, path: Path, **values: object) -> None:
        super().__init__(f"{path}: {code}")
        self.code, self.values = code, {"path": path, **values}


@dataclass(slots=True)
class Named:
    """A series with what is needed to write it down again."""

    name: str
    data: Series
    phase: int  # days after the period's Monday that this series writes
    peers: str = ""  # who it is compared with by exposure: series of the same word


@dataclass(slots=True)
class Counts:
    """`repeated`: rows added to another of the same day; `formats`: ways in which dates were written."""

    series: list[Named] = field(default_factory=list)
    rows: int = 0
    repeated: int = 0
    formats: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Raw:
    ordinals: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    customers: list[int] = field(default_factory=list)  # −1: not said
    exposure: list[float] = field(default_factory=list)  # NaN: not said
    peers: str = ""  # of its first row


_ISO = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ].*)?$")
_SLASH = re.compile(r"(\d{4})[/.](\d{1,2})[/.](\d{1,2})$")
_DAY_FIRST = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})$")
_WEEK = re.compile(r"(\d{4})-?W(\d{2})$")


@lru_cache(maxsize=100_000)
def ordinal_of(text: str) -> tuple[int, str]:
    """Day number and the way it was written; day before month where both orders are possible. ValueError for anything else."""
    text = text.strip()
    if found := _ISO.match(text):
        return date(int(found[1]), int(found[2]), int(found[3])).toordinal(), "iso"
    if found := _WEEK.match(text):
        return date.fromisocalendar(int(found[1]), int(found[2]), 1).toordinal(), "week"
    if found := _SLASH.match(text):
        return date(int(found[1]), int(found[2]), int(found[3])).toordinal(), "slash"
    if found := _DAY_FIRST.match(text):
        return date(int(found[3]), int(found[2]), int(found[1])).toordinal(), "day-first"
    raise ValueError(text)


def read(path: Path, freq: str, told: Callable[[int], None] | None = None) -> Counts:
    """Every series of the file, gaps filled with zeros. Raises BadCounts with the first line that cannot be used.

    `told` is given how many more characters have been read, from time to time.
    """
    raw, found = _rows(path, told)
    step = 1 if freq == "day" else 7
    spans = sum(
        (max(rows.ordinals) - MONDAY) // step - (min(rows.ordinals) - MONDAY) // step + 1 for rows in raw.values()
    )
    if spans > MOST:
        raise BadCounts("too_wide", path, periods=spans, most=MOST)
    for name in list(raw):  # what was read goes as what is kept comes
        found.series.append(_series(path, name, raw.pop(name), step, found))
    if not found.series:
        raise BadCounts("no_rows", path)
    return found


def _counted(file: TextIO, told: Callable[[int], None] | None) -> Iterator[str]:
    passed = 0
    for line in file:
        passed += len(line)
        if passed >= SAID and told is not None:
            told(passed)
            passed = 0
        yield line
    if told is not None:
        told(passed)


def _rows(path: Path, told: Callable[[int], None] | None) -> tuple[dict[str, _Raw], Counts]:
    raw: dict[str, _Raw] = {}
    found = Counts()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            if not head.strip():
                raise BadCounts("empty", path)
            mark = max(",;\t|", key=lambda one: (head.count(one), one == ","))
            file.seek(0)
            reader = csv.reader(_counted(file, told), delimiter=mark)
            at = _columns(path, next(reader))
            for row in reader:
                if row:
                    _row(path, reader.line_num, row, at, raw, found)
    except OSError as error:
        raise BadCounts("unreadable", path, detail=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise BadCounts("not_text", path) from None
    except csv.Error as error:
        raise BadCounts("no_csv", path, detail=error) from None
    return raw, found


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    at = {}
    for wanted, ways in NAMES.items():
        places = [names.index(way) for way in ways if way in names]
        if places:
            at[wanted] = places[0]
    for wanted in ("series", "date", "count"):
        if wanted not in at:
            raise BadCounts("no_column", path, column=wanted, found=", ".join(names[:10])[:200])
    return at


def _row(path: Path, line: int, row: list[str], at: dict[str, int], raw: dict[str, _Raw], found: Counts) -> None:
    try:
        name, when, count = row[at["series"]], row[at["date"]], row[at["count"]]
    except IndexError:
        raise BadCounts("short_row", path, line=line) from None
    try:
        ordinal, way = ordinal_of(when)
    except ValueError:
        raise BadCounts("bad_date", path, line=line, value=when[:40]) from None
    found.formats.add(way)
    found.rows += 1
    held = raw.get(name)
    if held is None:
        held = raw[name] = _Raw(peers=row[at["peers"]].strip() if "peers" in at and at["peers"] < len(row) else "")
    held.ordinals.append(ordinal)
    held.counts.append(int(count) if count.isdecimal() else _whole(path, line, count, "count"))
    if "customers" in at:
        said = row[at["customers"]] if at["customers"] < len(row) else ""
        held.customers.append(_whole(path, line, said, "customers") if said.strip() else -1)
    if "exposure" in at:
        said = row[at["exposure"]].strip() if at["exposure"] < len(row) else ""
        held.exposure.append(_number(path, line, said) if said else float("nan"))


def _whole(path: Path, line: int, text: str, column: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value) or value < 0 or value != int(value) or value > 2**53:
        raise BadCounts("bad_count", path, line=line, column=column, value=text[:40])
    return int(value)


def _number(path: Path, line: int, text: str) -> float:
    """An exposure; NaN is one that is not known."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value < 0 or value == float("inf"):
        raise BadCounts("bad_exposure", path, line=line, value=text[:40])
    return value


def _series(path: Path, name: str, raw: _Raw, step: int, found: Counts) -> Named:
    ordinals = np.array(raw.ordinals, dtype=np.int64) - MONDAY
    periods = ordinals // step
    first = int(periods.min())
    length = int(periods.max()) - first + 1
    if length > FARTHEST:
        raise BadCounts("too_long", path, series=name, periods=length)
    places = periods - first
    counts = np.zeros(length, dtype=np.int64)
    np.add.at(counts, places, np.array(raw.counts, dtype=np.int64))
    found.repeated += len(places) - len(np.unique(places))
    customers = None
    if raw.customers:
        said = np.array(raw.customers, dtype=np.int64)
        said = np.where(said < 0, np.array(raw.counts, dtype=np.int64), said)
        customers = np.zeros(length, dtype=np.int64)
        np.add.at(customers, places, said)
    exposure = exposed = None
    if raw.exposure:
        given = np.full(length, np.nan)
        given[places] = raw.exposure
        exposure = relative(given, counts)
        if exposure is not None:
            begun = int(np.argmax(given > 0))
            exposed = np.where(np.arange(length) >= begun, exposure * given[begun], 0.0)
    data = Series(first, counts, customers, exposure, exposed)
    return Named(name, data, int(ordinals.min()) - first * step, raw.peers)


def relative(given: np.ndarray, counts: np.ndarray) -> np.ndarray | None:
    """Exposure over the first one known; what is missing, or zero beside a count, is as it last was. None where nothing is known.

    A zero beside no count stays (almost) nothing: on such a day nothing could come.
    """
    known = np.isfinite(given) & ((given > 0) | (counts == 0))
    positive = np.flatnonzero(known & (given > 0))
    if not len(positive):
        return None
    places = np.where(known, np.arange(len(given)), -1)
    last = np.maximum.accumulate(places)
    filled = np.where(last >= 0, given[np.maximum(last, 0)], given[positive[0]])
    filled[: positive[0]] = np.where(known[: positive[0]], 0.0, given[positive[0]])
    # A zero is not carried forward: after it, what was known before holds.
    carried = np.maximum.accumulate(np.where(known & (given > 0), np.arange(len(given)), -1))
    usual = np.where(carried >= 0, given[np.maximum(carried, 0)], given[positive[0]])
    filled = np.where(known, filled, usual)
    shares: np.ndarray = np.maximum(filled / given[positive[0]], 1e-6)
    return shares


def dates(named: Named, freq: str) -> Iterator[str]:
    """The dates of a series' periods, written as ISO."""
    step = 1 if freq == "day" else 7
    day = date.fromordinal(MONDAY + named.data.first * step + named.phase)
    for _ in range(len(named.data.counts)):
        yield day.isoformat()
        day += timedelta(days=step)

"""Is everything in force when it has to be? Dates that are missing, overlap or outlive what they stand under (R18, R22)."""

import itertools
from collections.abc import Iterator
from datetime import date, timedelta

from services.classification.domain.problems import Defect, Pointer
from services.classification.domain.rulebook import SECTIONS, Rulebook
from services.classification.domain.sections import Entry, Procedure, ProcedureVersion

DATED = frozenset({"norms", "policies", "promises", "routes"})
"""What binds people has to say since when; a motive or a touchpoint may stand for as long as there is a rulebook."""


def in_time(book: Rulebook) -> Iterator[Defect]:
    """Defects of dates in force."""
    for section in SECTIONS:
        for index, entry in enumerate(book.section(section)):
            if section in DATED and book.since_of(entry) is None:
                yield Defect("missing_date", (section, index))
            yield from _span((section, index), entry.since, entry.until)
            yield from _ending(section, index, entry, {other.code: other for other in book.section(section)})
    for index, supplier in enumerate(book.suppliers):
        for place, agreement in supplier.all_agreements():
            yield from _span(("suppliers", index, *place), agreement.since, agreement.until)
    for index, procedure in enumerate(book.procedures):
        for number, version in enumerate(procedure.versions):
            yield from _version(book, ("procedures", index, "versions", number), version)
        yield from _order(index, procedure)


def _span(pointer: Pointer, since: date | None, until: date | None) -> Iterator[Defect]:
    if since is not None and until is not None and until < since:
        yield Defect("inverted_dates", (*pointer, "until"), {"since": str(since), "until": str(until)})


def _ending(section: str, index: int, entry: Entry, others: dict[str, Entry]) -> Iterator[Defect]:
    """How a code ends: its successor has to be there by then, and a crosswalk's shares have to make a whole."""
    at: Pointer = (section, index)
    if entry.successor is not None and entry.until is None and not entry.becomes:
        yield Defect("successor_without_end", (*at, "successor"), {"code_": entry.code})
    successor = others.get(entry.successor or "")
    begins = successor.since if successor is not None else None
    if entry.until is not None and begins is not None and begins > entry.until + timedelta(days=1):
        yield Defect("gap_in_dates", (*at, "successor"), {"until": str(entry.until), "since": str(begins)})
    if not entry.becomes:
        return
    if entry.successor is not None:
        yield Defect("two_endings", (*at, "successor"), {"code_": entry.code})
    shares = [part.share for part in entry.becomes]
    given = [share for share in shares if share is not None]
    if given and (len(given) < len(shares) or abs(sum(given) - 1) > 1e-6):
        yield Defect("shares_not_whole", (*at, "becomes"), {"sum": f"{sum(given):g}"})
    seen: set[str] = set()
    for place, part in enumerate(entry.becomes):
        if part.code in seen:
            yield Defect("duplicate_code", (*at, "becomes", place, "code"), {"code_": part.code})
        seen.add(part.code)


def _version(book: Rulebook, at: Pointer, version: ProcedureVersion) -> Iterator[Defect]:
    if version.since is None:
        yield Defect("missing_date", at)
        return
    yield from _span(at, version.since, version.until)
    for kind, above in (
        ("norm", next((norm for norm in book.norms if norm.code == version.norm), None)),
        ("policy", next((policy for policy in book.policies if policy.code == version.policy), None)),
    ):
        if above is None:
            continue
        if above.until is not None and (version.until is None or version.until > above.until):
            field = "until" if version.until is not None else kind
            yield Defect(f"outlives_{kind}", (*at, field), {kind: above.code, "until": str(above.until)})
        since = book.since_of(above)
        if since is not None and version.since < since:
            yield Defect(f"precedes_{kind}", (*at, "since"), {kind: above.code, "since": str(since)})


def _order(index: int, procedure: Procedure) -> Iterator[Defect]:
    seen: set[int] = set()
    for number, version in enumerate(procedure.versions):
        if version.version in seen:
            values = {"code_": str(version.version)}
            yield Defect("duplicate_code", ("procedures", index, "versions", number, "version"), values)
        seen.add(version.version)
    dated = [(version.since, number) for number, version in enumerate(procedure.versions) if version.since]
    dated.sort()
    for (_, before), (since, number) in itertools.pairwise(dated):
        previous = procedure.versions[before]
        at = ("procedures", index, "versions", number, "since")
        if previous.until is None or previous.until >= since:
            until = str(previous.until) if previous.until is not None else "∞"
            yield Defect("overlapping_dates", at, {"other": str(previous.version), "until": until})
        elif previous.until + timedelta(days=1) < since:
            yield Defect("gap_in_dates", at, {"until": str(previous.until), "since": str(since)})

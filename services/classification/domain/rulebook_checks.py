"""What is wrong with a rulebook, beyond its shape. Pure: the book and the versions published before it go in."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from services.classification.domain.normalise import stems
from services.classification.domain.problems import Defect, Pointer
from services.classification.domain.rulebook import (
    COMPONENTS,
    EXPECTATIONS,
    UNKNOWN,
    Cause,
    Dated,
    Entry,
    Motive,
    Rulebook,
    Texts,
)

SECTIONS = (
    "components",
    "expectations",
    "touchpoints",
    "suppliers",
    "norms",
    "policies",
    "procedures",
    "motives",
    "causes",
)


def check(book: Rulebook, history: Sequence[tuple[int, Rulebook]] = ()) -> list[Defect]:
    """Every defect of the book, in the order of the document. `history`: (version, book) as published, oldest first."""
    found = [
        *_time_zone(book),
        *_codes(book),
        *_names(book),
        *_translations(book),
        *_fixed(book),
        *_references(book),
        *_cycles(book),
        *_dates(book),
        *_procedures(book),
        *_without_procedure(book),
        *_against(book, history),
    ]
    return sorted(found, key=lambda defect: tuple(str(part).zfill(6) for part in defect.pointer))


def _entries(book: Rulebook, section: str) -> Sequence[Entry]:
    entries: Sequence[Entry] = getattr(book, section)
    return entries


def _time_zone(book: Rulebook) -> Iterator[Defect]:
    try:
        ZoneInfo(book.time_zone)
    except (KeyError, ValueError, OSError):  # OSError: a name that is a folder of the zone database
        yield Defect("unknown_time_zone", ("time_zone",), {"value": book.time_zone})


def _codes(book: Rulebook) -> Iterator[Defect]:
    for section in SECTIONS:
        seen: set[str] = set()
        for index, entry in enumerate(_entries(book, section)):
            if entry.code == UNKNOWN:
                yield Defect("reserved_code", (section, index, "code"))
            if entry.code in seen:
                yield Defect("duplicate_code", (section, index, "code"), {"code_": entry.code})
            seen.add(entry.code)


def _names(book: Rulebook) -> Iterator[Defect]:
    for section in SECTIONS:
        taken: dict[tuple[str, str], str] = {}
        for index, entry in enumerate(_entries(book, section)):
            for language, name in entry.name.items():
                key = (language, " ".join(name.casefold().split()))
                other = taken.setdefault(key, entry.code)
                if other != entry.code:
                    yield Defect("duplicate_name", (section, index, "name", language), {"name": name, "other": other})


def _texts(book: Rulebook) -> Iterator[tuple[Pointer, Texts, bool]]:
    """Every translated text, where it stands, and whether it has to be there at all."""
    yield ("name",), book.name, True
    for section in SECTIONS:
        for index, entry in enumerate(_entries(book, section)):
            yield (section, index, "name"), entry.name, True
            description = getattr(entry, "description", None)
            if description is not None:
                yield (section, index, "description"), description, False
    for index, procedure in enumerate(book.procedures):
        for number, version in enumerate(procedure.versions):
            for step, texts in enumerate(version.steps):
                yield ("procedures", index, "versions", number, "steps", step), texts, True
    for index, supplier in enumerate(book.suppliers):
        if supplier.agreement is not None:
            yield ("suppliers", index, "agreement", "name"), supplier.agreement.name, True


def _translations(book: Rulebook) -> Iterator[Defect]:
    wanted = set(book.languages)
    for pointer, texts, required in _texts(book):
        if texts or required:
            for language in sorted(wanted - set(texts)):
                yield Defect("missing_translation", pointer, {"language": language})
        for language in sorted(set(texts) - wanted):
            yield Defect("unknown_language", (*pointer, language), {"language": language})
    for section in ("motives", "causes"):
        for index, entry in enumerate(_entries(book, section)):
            for field in ("terms", "examples"):
                given: Mapping[str, list[str]] = getattr(entry, field)
                for language in sorted(wanted - set(given)) if given else ():
                    yield Defect("missing_translation", (section, index, field), {"language": language})
                for language in sorted(set(given) - wanted):
                    yield Defect("unknown_language", (section, index, field, language), {"language": language})


def _fixed(book: Rulebook) -> Iterator[Defect]:
    for value in COMPONENTS:
        if value not in {item.code for item in book.components}:
            yield Defect("missing_component", ("components",), {"value": value})
    for value in EXPECTATIONS:
        if value not in {item.code for item in book.expectations}:
            yield Defect("missing_expectation", ("expectations",), {"value": value})


def _references(book: Rulebook) -> Iterator[Defect]:
    known = {section: {entry.code for entry in _entries(book, section)} for section in SECTIONS}

    def missing(pointer: Pointer, value: str | None, section: str) -> Iterator[Defect]:
        if value is not None and value not in known[section]:
            yield Defect("unknown_reference", pointer, {"value": value, "section": section})

    for section, coded in (("motives", book.motives), ("causes", book.causes)):
        for index, item in enumerate(coded):
            yield from missing((section, index, "parent"), item.parent, section)
            yield from missing((section, index, "successor"), item.successor, section)
    for index, motive in enumerate(book.motives):
        for place, usual in enumerate(motive.causes):
            yield from missing(("motives", index, "causes", place), usual, "causes")
    for index, cause in enumerate(book.causes):
        yield from missing(("causes", index, "component"), cause.component, "components")
        yield from missing(("causes", index, "expectation"), cause.expectation, "expectations")
        yield from missing(("causes", index, "norm"), cause.norm, "norms")
        yield from missing(("causes", index, "supplier"), cause.supplier, "suppliers")
    for index, procedure in enumerate(book.procedures):
        for place, code in enumerate(procedure.motives):
            yield from missing(("procedures", index, "motives", place), code, "motives")
        for number, version in enumerate(procedure.versions):
            at: Pointer = ("procedures", index, "versions", number)
            yield from missing((*at, "norm"), version.norm, "norms")
            yield from missing((*at, "policy"), version.policy, "policies")


def _cycles(book: Rulebook) -> Iterator[Defect]:
    coded: Iterable[tuple[str, Sequence[Motive | Cause]]] = (("motives", book.motives), ("causes", book.causes))
    for section, entries in coded:
        for link in ("parent", "successor"):
            above = {entry.code: getattr(entry, link) for entry in entries}
            reported: set[str] = set()
            for index, entry in enumerate(entries):
                path = [entry.code]
                while (following := above.get(path[-1])) is not None and following not in path:
                    path.append(following)
                if following == entry.code and entry.code not in reported:
                    reported.update(path)
                    yield Defect("cycle", (section, index, link), {"path": " → ".join([*path, entry.code])})


def _span(pointer: Pointer, since: date | None, until: date | None) -> Iterator[Defect]:
    if since is not None and until is not None and until < since:
        yield Defect("inverted_dates", (*pointer, "until"), {"since": str(since), "until": str(until)})


def _dates(book: Rulebook) -> Iterator[Defect]:
    for section in ("norms", "policies", "motives", "causes"):
        for index, entry in enumerate(_entries(book, section)):
            assert isinstance(entry, Dated)
            if entry.since is None and section in {"norms", "policies"}:
                yield Defect("missing_date", (section, index))
            yield from _span((section, index), entry.since, entry.until)
    for index, supplier in enumerate(book.suppliers):
        if supplier.agreement is not None:
            yield from _span(("suppliers", index, "agreement"), supplier.agreement.since, supplier.agreement.until)


def _procedures(book: Rulebook) -> Iterator[Defect]:
    norms = {norm.code: norm for norm in book.norms}
    for index, procedure in enumerate(book.procedures):
        for number, version in enumerate(procedure.versions):
            at: Pointer = ("procedures", index, "versions", number)
            if version.since is None:
                yield Defect("missing_date", at)
                continue
            yield from _span(at, version.since, version.until)
            norm = norms.get(version.norm)
            if norm is None:
                continue
            if norm.until is not None and (version.until is None or version.until > norm.until):
                field = "until" if version.until is not None else "norm"
                yield Defect("outlives_norm", (*at, field), {"norm": norm.code, "until": str(norm.until)})
            if norm.since is not None and version.since < norm.since:
                yield Defect("precedes_norm", (*at, "since"), {"norm": norm.code, "since": str(norm.since)})
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


def _without_procedure(book: Rulebook) -> Iterator[Defect]:
    answered = {motive for procedure in book.procedures for motive in procedure.motives}
    for index, motive in enumerate(book.motives):
        if (
            motive.code not in book.parents
            and motive.until is None
            and not answered.intersection(book.line(motive.code))
        ):
            yield Defect("motive_without_procedure", ("motives", index, "code"), {"code_": motive.code})


def _against(book: Rulebook, history: Sequence[tuple[int, Rulebook]]) -> Iterator[Defect]:
    """Codes stand for ever. A name may be reworded; when no language keeps a single word of it, it is another thing."""
    if not history:
        return
    last_version, last = history[-1]
    for section in SECTIONS:
        now = {entry.code: (index, entry) for index, entry in enumerate(_entries(book, section))}
        retired: dict[str, int] = {}
        for (_, older), (version, newer) in itertools.pairwise(history):
            kept = {entry.code for entry in _entries(newer, section)}
            for entry in _entries(older, section):
                if entry.code not in kept:
                    retired[entry.code] = version
        latest = {entry.code: entry for entry in _entries(last, section)}
        for code, (index, entry) in now.items():
            before = latest.get(code)
            if before is None:
                if code in retired:
                    yield Defect(
                        "code_reused", (section, index, "code"), {"code_": code, "version": str(retired[code])}
                    )
                continue
            values = {"code_": code, "version": str(last_version)}
            if not _same_thing(before.name, entry.name):
                name = next(iter(before.name.values()))
                yield Defect("meaning_changed", (section, index, "name"), {**values, "before": name})
            if isinstance(entry, Cause) and isinstance(before, Cause) and entry.component != before.component:
                pointer: Pointer = (section, index, "component")
                yield Defect("component_changed", pointer, {**values, "before": before.component})
            if isinstance(before, Dated) and before.until is not None:
                assert isinstance(entry, Dated)
                if entry.until is None or entry.until > before.until:
                    yield Defect("code_reused", (section, index, "code"), values)
        for code in latest.keys() - now.keys():
            yield Defect("code_dropped", (section,), {"code_": code, "version": str(last_version)}, warning=True)


def _same_thing(before: Texts, now: Texts) -> bool:
    shared = before.keys() & now.keys()
    if not shared:
        return True
    return any(set(stems(before[language])) & set(stems(now[language])) for language in shared)

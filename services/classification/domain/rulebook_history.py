"""Does a rulebook keep faith with those published before it? Codes stand for ever (R06, G1)."""

import itertools
from collections.abc import Iterator, Sequence

from services.classification.domain.normalise import stems
from services.classification.domain.problems import Defect, Pointer
from services.classification.domain.rulebook import SECTIONS, Rulebook
from services.classification.domain.sections import Cause, Entry, Texts

_CODED = ("motives", "causes")
_ONE_BY_ONE = 3
"""Codes of a section that are named each on a line; another company's rulebook in place of one's own drops 200."""


def against(book: Rulebook, history: Sequence[tuple[int, Rulebook]]) -> Iterator[Defect]:
    """What changed that must not, and what ended without a word. `history`: (version, book), oldest first."""
    if not history:
        return
    version, last = history[-1]
    if book.id != last.id:
        yield Defect("other_book", ("id",), {"before": last.id, "now": book.id}, warning=True)
    for section in SECTIONS:
        latest = {entry.code: entry for entry in last.section(section)}
        dropped = _dropped(section, history)
        for index, entry in enumerate(book.section(section)):
            at: Pointer = (section, index)
            before = latest.get(entry.code)
            if before is not None:
                yield from _changed(at, entry, before, version)
            elif entry.code in dropped:
                values = {"code_": entry.code, "version": str(dropped[entry.code])}
                yield Defect("code_reused", (*at, "code"), values)
            if section in _CODED and before is not None and _ends_unexplained(entry) and not _ends_unexplained(before):
                yield Defect("no_successor", (*at, "until"), {"code_": entry.code}, warning=True)
        gone = sorted(latest.keys() - {entry.code for entry in book.section(section)})
        if len(gone) > _ONE_BY_ONE:
            values = {"count": str(len(gone)), "codes": ", ".join(gone[:_ONE_BY_ONE]), "version": str(version)}
            yield Defect("codes_dropped", (section,), values, warning=True)
        else:
            for code in gone:
                yield Defect("code_dropped", (section,), {"code_": code, "version": str(version)}, warning=True)


def _dropped(section: str, history: Sequence[tuple[int, Rulebook]]) -> dict[str, int]:
    """Codes that an older version had and a later one had not, and which that was."""
    found: dict[str, int] = {}
    for (_, older), (version, newer) in itertools.pairwise(history):
        kept = {entry.code for entry in newer.section(section)}
        for entry in older.section(section):
            if entry.code not in kept:
                found[entry.code] = version
    return found


def _changed(at: Pointer, entry: Entry, before: Entry, version: int) -> Iterator[Defect]:
    """A name may be reworded; when no language keeps a single word of it, it is another thing."""
    values = {"code_": entry.code, "version": str(version)}
    if not _same_thing(before.name, entry.name):
        name = next(iter(before.name.values()))
        yield Defect("meaning_changed", (*at, "name"), {**values, "before": name})
    if isinstance(entry, Cause) and isinstance(before, Cause) and entry.component != before.component:
        yield Defect("component_changed", (*at, "component"), {**values, "before": before.component})
    if before.until is not None and (entry.until is None or entry.until > before.until):
        yield Defect("code_reused", (*at, "code"), values)
    if before.becomes and entry.becomes != before.becomes:
        # Reports were made by it: what a contact of the past is called must not depend on who asks when.
        yield Defect("crosswalk_changed", (*at, "becomes"), values)


def _ends_unexplained(entry: Entry) -> bool:
    return entry.until is not None and entry.successor is None and not entry.becomes


def _same_thing(before: Texts, now: Texts) -> bool:
    shared = before.keys() & now.keys()
    if not shared:
        return True
    return any(set(stems(before[language])) & set(stems(now[language])) for language in shared)

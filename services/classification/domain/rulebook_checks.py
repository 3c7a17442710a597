"""What is wrong with a rulebook, beyond its shape. Pure: the book and the versions published before it go in."""

from collections.abc import Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

from services.classification.domain.problems import Defect, Pointer
from services.classification.domain.rulebook import COMPONENTS, EXPECTATIONS, SECTIONS, UNKNOWN, Rulebook, Texts
from services.classification.domain.rulebook_history import against
from services.classification.domain.rulebook_practice import practice
from services.classification.domain.rulebook_time import in_time
from services.classification.domain.sections import OPTIONAL_SECTIONS, REFERENCES


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
        *in_time(book),
        *practice(book),
        *against(book, history),
    ]
    return sorted(found, key=lambda defect: tuple(str(part).zfill(6) for part in defect.pointer))


def _time_zone(book: Rulebook) -> Iterator[Defect]:
    try:
        ZoneInfo(book.time_zone)
    except (KeyError, ValueError, OSError):  # OSError: a name that is a folder of the zone database
        yield Defect("unknown_time_zone", ("time_zone",), {"value": book.time_zone})


def _codes(book: Rulebook) -> Iterator[Defect]:
    for section in SECTIONS:
        seen: set[str] = set()
        for index, entry in enumerate(book.section(section)):
            # Among kinds and routes the unforeseen has a place of its own (R73); as a code of the coder's it is no one's.
            if entry.code == UNKNOWN and section not in {"kinds", "routes"}:
                yield Defect("reserved_code", (section, index, "code"))
            if entry.code in seen:
                yield Defect("duplicate_code", (section, index, "code"), {"code_": entry.code})
            seen.add(entry.code)
    pillars: set[str] = set()
    standards: set[str] = set()
    for index, promise in enumerate(book.promises):
        for number, pillar in enumerate(promise.pillars):
            at: Pointer = ("promises", index, "pillars", number)
            if pillar.code in pillars:
                yield Defect("duplicate_code", (*at, "code"), {"code_": pillar.code})
            pillars.add(pillar.code)
            for place, standard in enumerate(pillar.standards):
                if standard.code in standards:
                    yield Defect("duplicate_code", (*at, "standards", place, "code"), {"code_": standard.code})
                standards.add(standard.code)


def _names(book: Rulebook) -> Iterator[Defect]:
    for section in SECTIONS:
        taken: dict[tuple[str, str], str] = {}
        for index, entry in enumerate(book.section(section)):
            if entry.becomes:
                continue  # what took over may well be called as it was
            for language, name in entry.name.items():
                key = (language, " ".join(name.casefold().split()))
                other = taken.setdefault(key, entry.code)
                if other != entry.code:
                    yield Defect("duplicate_name", (section, index, "name", language), {"name": name, "other": other})


def _texts(book: Rulebook) -> Iterator[tuple[Pointer, Texts, bool]]:
    """Every translated text, where it stands, and whether it has to be there at all."""
    yield ("name",), book.name, True
    for section in SECTIONS:
        for index, entry in enumerate(book.section(section)):
            yield (section, index, "name"), entry.name, True
            yield (section, index, "description"), entry.description, False
    for index, procedure in enumerate(book.procedures):
        for number, version in enumerate(procedure.versions):
            for field in ("steps", "demands"):
                for step, texts in enumerate(getattr(version, field)):
                    yield ("procedures", index, "versions", number, field, step), texts, True
    for index, supplier in enumerate(book.suppliers):
        for place, agreement in supplier.all_agreements():
            yield ("suppliers", index, *place, "name"), agreement.name, True
    for index, promise in enumerate(book.promises):
        for number, pillar in enumerate(promise.pillars):
            at: Pointer = ("promises", index, "pillars", number)
            yield (*at, "name"), pillar.name, True
            yield (*at, "description"), pillar.description, False
            for role, texts in pillar.roles.items():
                yield (*at, "roles", role), texts, True
            for place_, standard in enumerate(pillar.standards):
                yield (*at, "standards", place_, "name"), standard.name, True
                yield (*at, "standards", place_, "description"), standard.description, False


def _translations(book: Rulebook) -> Iterator[Defect]:
    wanted = set(book.languages)
    for pointer, texts, required in _texts(book):
        if texts or required:
            for language in sorted(wanted - set(texts)):
                yield Defect("missing_translation", pointer, {"language": language})
        for language in sorted(set(texts) - wanted):
            yield Defect("unknown_language", (*pointer, language), {"language": language})
    for section, entries in (("motives", book.motives), ("causes", book.causes)):
        for index, entry in enumerate(entries):
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
    known = {section: {entry.code for entry in book.section(section)} for section in SECTIONS}

    def missing(pointer: Pointer, value: object, section: str) -> Iterator[Defect]:
        if isinstance(value, list):
            for place, one in enumerate(value):
                yield from missing((*pointer, place), one, section)
        elif value is not None and value not in known[section] and (known[section] or section not in OPTIONAL_SECTIONS):
            yield Defect("unknown_reference", pointer, {"value": str(value), "section": section})

    for section in SECTIONS:
        for index, entry in enumerate(book.section(section)):
            at: Pointer = (section, index)
            yield from missing((*at, "parent"), entry.parent, section)
            yield from missing((*at, "successor"), entry.successor, section)
            for place, part in enumerate(entry.becomes):
                yield from missing((*at, "becomes", place, "code"), part.code, section)
            yield from missing((*at, "owner"), entry.owner, "teams")
            for field, named in REFERENCES.get(section, {}).items():
                yield from missing((*at, field), getattr(entry, field), named)
    for index, procedure in enumerate(book.procedures):
        for number, version in enumerate(procedure.versions):
            at = ("procedures", index, "versions", number)
            yield from missing((*at, "norm"), version.norm, "norms")
            yield from missing((*at, "policy"), version.policy, "policies")
    for index, promise in enumerate(book.promises):
        for number, pillar in enumerate(promise.pillars):
            at = ("promises", index, "pillars", number)
            for role in pillar.roles:
                yield from missing((*at, "roles", role), role, "teams")
            for place, standard in enumerate(pillar.standards):
                yield from missing((*at, "standards", place, "motives"), standard.motives, "motives")
                yield from missing((*at, "standards", place, "touchpoints"), standard.touchpoints, "touchpoints")


def _cycles(book: Rulebook) -> Iterator[Defect]:
    for section in SECTIONS:
        entries = book.section(section)
        for link in ("parent", "successor", "becomes"):
            above = {entry.code: _links(getattr(entry, link)) for entry in entries}
            reported: set[str] = set()
            for index, entry in enumerate(entries):
                path = _way_back(entry.code, above)
                if path and entry.code not in reported:
                    reported.update(path)
                    yield Defect("cycle", (section, index, link), {"path": " → ".join([*path, entry.code])})


def _links(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(part.code for part in value)
    return (str(value),) if value is not None else ()


def _way_back(start: str, above: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The codes from `start` by links back to itself; empty where no way leads back."""
    came: dict[str, str] = {}
    waiting = [start]
    while waiting:
        at = waiting.pop()
        for following in above.get(at, ()):
            if following == start:
                path = [at]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return path[::-1]
            if following not in came:
                came[following] = at
                waiting.append(following)
    return []

"""Can people work by it? Motives nobody answers, promises nobody can check, routes that lead nowhere."""

from collections.abc import Iterator, Sequence

from libs.events.catalogue.interactions import Channel, InteractionRecorded, Kind
from services.classification.domain.agreements import PER_10_000, UNITS
from services.classification.domain.problems import Defect, Pointer
from services.classification.domain.rulebook import Rulebook
from services.classification.domain.sections import Harm, Limit, SeverityEntry

_CHANNELS = frozenset(Channel)
_KINDS = frozenset(Kind)
_FIELDS = frozenset(InteractionRecorded.model_fields) | {"customer"}


def practice(book: Rulebook) -> Iterator[Defect]:
    """Defects of what people have to do, know and keep."""
    yield from _procedures(book)
    yield from _factors(book)
    yield from _kinds(book)
    yield from _routes(book)
    yield from _promises(book)
    yield from _ranks(book)


def _procedures(book: Rulebook) -> Iterator[Defect]:
    answered = {motive for procedure in book.procedures for motive in procedure.motives}
    lasting = {
        motive
        for procedure in book.procedures
        if procedure.until is None and any(version.until is None for version in procedure.versions)
        for motive in procedure.motives
    }
    for index, motive in enumerate(book.motives):
        if motive.code in book.parents or motive.until is not None or motive.becomes:
            continue
        line = set(book.line(motive.code))
        if not answered & line:
            yield Defect("motive_without_procedure", ("motives", index, "code"), {"code_": motive.code})
        elif not lasting & line:
            yield Defect("procedure_ends", ("motives", index, "code"), {"code_": motive.code}, warning=True)


def _factors(book: Rulebook) -> Iterator[Defect]:
    of = {factor.code: factor.component for factor in book.factors}
    for index, cause in enumerate(book.causes):
        component = of.get(cause.factor or "")
        if component is not None and component != cause.component:
            values = {"factor": cause.factor or "", "component": component}
            yield Defect("factor_of_another", ("causes", index, "factor"), values)


def _kinds(book: Rulebook) -> Iterator[Defect]:
    for index, kind in enumerate(book.kinds):
        if kind.code not in _KINDS:
            yield Defect("unknown_kind", ("kinds", index, "code"), {"value": kind.code})
    for kind_, fields in book.required_fields.items():
        for place, field in enumerate(fields):
            if field not in _FIELDS:
                yield Defect("unknown_field", ("required_fields", kind_.value, place), {"value": field}, warning=True)
    for index, touchpoint in enumerate(book.touchpoints):
        for place, channel in enumerate(touchpoint.channels):
            if channel not in _CHANNELS:
                pointer: Pointer = ("touchpoints", index, "channels", place)
                yield Defect("unknown_channel", pointer, {"value": channel}, warning=True)


def _routes(book: Rulebook) -> Iterator[Defect]:
    if not book.routes:
        return
    everything = False
    reached: set[str] = set()
    for index, route in enumerate(book.routes):
        narrow = route.causes or route.kinds or route.severities or route.touchpoints or route.until is not None
        if everything:
            yield Defect("route_never_reached", ("routes", index, "code"), {"code_": route.code}, warning=True)
        if not narrow and not route.motives:
            everything = True
        if not narrow:
            reached.update(route.motives)
    if everything:
        return
    yield Defect("unforeseen_without_route", ("routes",), warning=True)
    for index, motive in enumerate(book.motives):
        if motive.code not in book.parents and motive.until is None and not reached & set(book.line(motive.code)):
            yield Defect("motive_without_route", ("motives", index, "code"), {"code_": motive.code}, warning=True)


def _promises(book: Rulebook) -> Iterator[Defect]:
    for index, promise in enumerate(book.promises):
        if not promise.pillars:
            yield Defect("promise_without_pillars", ("promises", index), {"code_": promise.code})
        for number, pillar in enumerate(promise.pillars):
            at: Pointer = ("promises", index, "pillars", number)
            if not pillar.standards:
                yield Defect("pillar_without_standard", at, {"code_": pillar.code})
            for place, standard in enumerate(pillar.standards):
                yield from _limit((*at, "standards", place), standard, needed=True)
    for index, supplier in enumerate(book.suppliers):
        for place_, agreement in supplier.all_agreements():
            yield from _limit(("suppliers", index, *place_), agreement, needed=False)
            if agreement.measure == PER_10_000 and agreement.unit not in UNITS:
                yield Defect("agreement_unit", ("suppliers", index, *place_), {"values": ", ".join(UNITS)})


def _limit(at: Pointer, limit: Limit, *, needed: bool) -> Iterator[Defect]:
    """A standard has to be checkable; an agreement may be a sentence alone, but a number needs to say of what."""
    given = (limit.at_most is not None) + (limit.at_least is not None)
    if given > 1 or (needed and (not given or limit.measure is None)) or (given and limit.measure is None):
        yield Defect("not_checkable", at)


def _ranks(book: Rulebook) -> Iterator[Defect]:
    ranked: tuple[tuple[str, Sequence[SeverityEntry | Harm]], ...] = (
        ("severities", book.severities),
        ("harms", book.harms),
    )
    for section, entries in ranked:
        seen: set[int] = set()
        for index, entry in enumerate(entries):
            if entry.rank in seen:
                yield Defect("duplicate_rank", (section, index, "rank"), {"value": str(entry.rank)})
            seen.add(entry.rank)
    for index, severity in enumerate(book.severities):
        if severity.code not in {"low", "medium", "high"}:
            yield Defect("unknown_severity", ("severities", index, "code"), {"value": severity.code})

"""One complaint: isolated, systemic, or not enough evidence, with how many more cases or days would decide; and of what nature."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import and_, false, func, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.findings import Nature, Verdict
from services.classification import tables
from services.classification.domain.natures import AFTER, BEFORE, Change, Seen, Share, read
from services.classification.domain.rulebook import Rulebook
from services.classification.waiting import Waiting

USUAL = 0.05
"""A slice whose p is above this is as usual: nothing stands behind the complaint that others would share."""
AROUND = timedelta(days=14)
SENTENCES: Mapping[str, tuple[str, str]] = {
    # (es, en)
    "no_problem": (
        "No es una queja: felicitaciones y sugerencias no se juzgan.",
        "It is no complaint: compliments and suggestions are not judged.",
    ),
    "finding": (
        "Otros clientes se quejan de lo mismo y ya hay un hallazgo abierto por ello.",
        "Other customers complain of the same, and there is a finding about it.",
    ),
    "burst": (
        "Es parte de un episodio que pasó: pocos días, o unos pocos clientes que insisten.",
        "It is part of an episode that passed: few days, or a few customers who insist.",
    ),
    "undecided": (
        "Hay más quejas de lo habitual, y aún no se sabe si es algo que continúa.",
        "There are more complaints than usual, and it is not known yet whether it goes on.",
    ),
    "usual": (
        "En este corte hay tantas quejas como siempre: nada indica que sea más que un caso.",
        "There are as many complaints in this slice as ever: nothing says that it is more than one case.",
    ),
    "young": (
        "Aún no hay historia con la cual comparar.",
        "There is no history to compare with yet.",
    ),
    "above": (
        "Hay algo más de lo habitual, sin llegar al límite.",
        "There is somewhat more than usual, short of the limit.",
    ),
}
BORROWED: Mapping[str, tuple[str, str]] = {
    # (es, en)
    "begins": (
        "Empezó el {begins} con algo nuevo: un punto de contacto, un lugar, un producto o un equipo.",
        "It began on {begins} with something new: a contact point, a location, a product or a team.",
    ),
    "kin": (
        "Por eso lo habitual se tomó al principio de quejas parecidas de otras partes (grupos: {slices}; al día: {level}),",
        "So what is usual was taken at first from similar complaints elsewhere (groups: {slices}; a day: {level}),",
    ),
    "all": (
        "Nada parecido se conocía, así que lo habitual se tomó al principio de todas las quejas (grupos: {slices}; al día: {level}),",
        "Nothing like it was known, so what is usual was taken at first from all complaints (groups: {slices}; a day: {level}),",
    ),
    "none": (
        "No había con qué compararlo, así que al principio se supuso {level} al día,",
        "There was nothing to compare it with, so {level} a day was assumed at first,",
    ),
    "weight": (
        "con el peso de {weight} quejas propias; desde entonces sus propios días cuentan cada vez más.",
        "counting as much as {weight} complaints of its own; since then its own days count more and more.",
    ),
}
"""Where a slice began with a place that opened: from where what is usual there was taken. By who lent: those like it, all, nobody."""


def sentence(found: Mapping[str, Any], language: str) -> str:
    """What is to be said of a complaint, in Spanish (`es`) or English."""
    number = 0 if language == "es" else 1
    words = [SENTENCES[found["because"]][number]]
    borrowed = (found["evaluation"] or {}).get("borrowed")
    if borrowed:
        who = "none" if not borrowed["slices"] else "kin" if borrowed["kin"] else "all"
        level, weight = (f"{borrowed[name]:.3g}" for name in ("level", "weight"))
        if language == "es":
            level, weight = level.replace(".", ","), weight.replace(".", ",")
        given = {"begins": borrowed["begins"], "slices": borrowed["slices"], "level": level, "weight": weight}
        words += [BORROWED[part][number].format(**given) for part in ("begins", who, "weight")]
    return " ".join(words)


async def verdict_of(
    connection: AsyncConnection,
    interaction_id: str,
    slices: Sequence[Mapping[str, Any]],
    book: Rulebook | None,
    waiting: Waiting,
) -> dict[str, Any] | None:
    """What is to be said about one coded contact; None where it was not coded. `slices`: the monitor's, as `/monitors` shows them."""
    p = tables.particulars
    row = (await connection.execute(select(p).where(p.c.interaction_id == interaction_id))).one_or_none()
    if row is None:
        return None
    reading = read(await _seen(connection, row, book))
    said: dict[str, Any] = {
        "interaction_id": interaction_id,
        "verdict": None,
        "because": "no_problem",
        "nature": reading.nature.value,
        "natures": dict(reading.natures),
        "reasons": [term.model_dump() for term in reading.terms],
        "finding_id": None,
        "slice": None,
        "evaluation": None,
        "more_customers": None,
        "more_days": None,
    }
    if not row.counted:
        return said
    for found in (await _finding(connection, row), await _episode(connection, row, waiting), _slice(row, slices)):
        if found is not None:
            return said | found
    return said | {"verdict": Verdict.NOT_ENOUGH_EVIDENCE.value, "because": "young"}


async def _finding(connection: AsyncConnection, row: Any) -> dict[str, Any] | None:
    links, f, v = tables.links, tables.findings, tables.verdicts
    query = (
        select(f.c.finding_id, f.c.slice, f.c.nature, f.c.title, v.c.data)
        .select_from(
            links.join(f, f.c.finding_id == links.c.finding_id).join(v, v.c.verdict_id == f.c.verdict_id, isouter=True)
        )
        # What was taken back, and closed for that, says nothing of its contacts any more.
        .where(
            links.c.interaction_id == row.interaction_id,
            f.c.status != "dismissed",
            not_(and_(f.c.status == "closed", func.coalesce(v.c.withdrawn, false()))),
        )
        .order_by(f.c.opened_at, f.c.finding_id)
        .limit(1)
    )
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        return None
    evaluation = (found.data or {}).get("evaluation")
    return {
        "verdict": Verdict.SYSTEMIC.value,
        "because": "finding",
        "finding_id": found.finding_id,
        "title": found.title,
        "slice": found.slice,
        "nature": found.nature,
        "natures": (found.data or {}).get("natures", {}),
        "reasons": (found.data or {}).get("reasons", []),
        "evaluation": evaluation,
    }


async def _episode(connection: AsyncConnection, row: Any, waiting: Waiting) -> dict[str, Any] | None:
    """The newest verdict of an episode whose days hold the contact."""
    v = tables.verdicts
    day = row.occurred_at.astimezone(waiting.zone).date()
    query = select(v).where(v.c.motive == row.motive, v.c.withdrawn.is_(False), v.c.start <= day + AROUND)
    best = None
    for held in await connection.execute(query.order_by(v.c.start)):
        data = held.data
        evaluation = data["evaluation"]
        inside = all((getattr(row, name, None) or "") == value for name, value in data["slice"].items())
        last = held.ended or day
        first = min(held.start, _day(evaluation["window_start"], waiting))
        if inside and first <= day <= last and held.verdict != Verdict.SYSTEMIC.value:
            best = data
    if best is None:
        return None
    isolated = best["verdict"] == Verdict.ISOLATED.value
    parameters = best["evaluation"]["parameters"]
    return {
        "verdict": best["verdict"],
        "because": "burst" if isolated else "undecided",
        "slice": best["slice"],
        "evaluation": best["evaluation"],
        "more_customers": None if isolated else parameters.get("more_customers"),
        "more_days": None if isolated else parameters.get("more_days"),
    }


def _day(text: str, waiting: Waiting) -> date:
    return datetime.fromisoformat(text).astimezone(waiting.zone).date()


def _slice(row: Any, slices: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the monitor's counts of today say, by the slice with the most to say."""
    mine = [
        one
        for one in slices
        if one["slice"].get("motive") == row.motive
        and all((getattr(row, name, None) or "") == value for name, value in one["slice"].items())
    ]
    judged = [one for one in mine if one["judged"]]
    if not judged:
        days = min((one.get("more_days", 0) for one in mine), default=0)
        if not mine:
            return None
        return {
            "verdict": Verdict.NOT_ENOUGH_EVIDENCE.value,
            "because": "young",
            "slice": mine[0]["slice"],
            "more_days": days or None,
        }
    one = min(judged, key=lambda item: item["p"])
    usual = one["p"] > USUAL
    numbers = {name: value for name, value in one.items() if name not in {"slice", "series", "key", "verdict", "day"}}
    return {
        "verdict": Verdict.ISOLATED.value if usual else Verdict.NOT_ENOUGH_EVIDENCE.value,
        "because": "usual" if usual else "above",
        "slice": one["slice"],
        "evaluation": numbers,
        "more_customers": None if usual else one.get("more_customers"),
    }


async def _seen(connection: AsyncConnection, row: Any, book: Rulebook | None) -> Seen:
    """The evidence of this contact alone."""
    nature = Nature.UNKNOWN if book is None else book.nature_of(row.cause)
    o, changes = tables.outcomes, tables.changes
    case = (await connection.execute(select(o).where(o.c.interaction_id == row.interaction_id).limit(1))).one_or_none()
    outcome = None if case is None else case.outcome
    followed = None if case is None or not case.procedure or not row.procedure else case.procedure == row.procedure
    near = select(changes).where(
        changes.c.withdrawn.is_(False),
        changes.c.at >= row.occurred_at - timedelta(days=BEFORE),
        changes.c.at <= row.occurred_at + timedelta(days=AFTER),
    )
    found = [
        Change(one.change_id, one.kind, round((row.occurred_at - one.at).total_seconds() / 86_400, 2), one.what)
        for one in await connection.execute(near)
        if all((getattr(row, name, None) or "") == value for name, value in one.where.items()) and one.where
    ]
    return Seen(
        causes={} if nature is Nature.UNKNOWN else {nature: 1.0},
        explained=_one(None if outcome is None else outcome == "explained"),
        upheld=_one(None if outcome is None else outcome in {"upheld", "partly_upheld"}),
        followed=_one(followed),
        known=_one(True if row.signed else None),  # not signed says nothing where nobody signs
        supplier=Share(1.0, 1.0) if row.supplier else None,
        supplier_name=row.supplier,
        changes=found,
    )


def _one(value: bool | None) -> Share:
    return Share() if value is None else Share(float(value), 1.0)

"""Answers as JSON values."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from services.indicators.domain.arithmetic import Measured
from services.indicators.domain.findings import Finding
from services.indicators.domain.periods import instant
from services.indicators.domain.registry import COUNTED, UNITS, Indicator
from services.indicators.views.crosswalk import Move
from services.indicators.views.drill import Behind
from services.indicators.views.lists import Bar, Names, Touchpoint
from services.indicators.views.measures import Answer
from services.indicators.views.timelines import Entry

Words = dict[tuple[str, str], str | None]


def at(value: int) -> str:
    """RFC 3339, UTC."""
    return instant(value).isoformat().replace("+00:00", "Z")


def catalogued(one: Indicator, language: str) -> dict[str, Any]:
    return {
        "code": one.code,
        "number": one.number,
        "version": one.version,
        "name": one.names[language],
        "names": one.names,
        "unit": one.unit,
        "unit_name": UNITS[one.unit][language],
        "formula": one.formula[language],
        "counts": one.counts,
        "counted": COUNTED[one.counts][language],
        "period_of": one.event[language],
        "clock": one.clock,
        "split_by": one.by,
        "quantile": one.quantile,
        "better": one.better,
        "source": one.source,
    }


def _number(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def measured(one: Measured) -> dict[str, Any]:
    return {
        "value": _number(one.value),
        "numerator": one.numerator,
        "denominator": one.denominator,
        "low": _number(one.low),
        "high": _number(one.high),
    }


def points(answer: Answer) -> list[dict[str, Any]]:
    labels, names = answer.query.periods.labels, answer.query.group_by
    return [
        {
            "period": labels[point.period],
            "group": dict(zip(names, point.group, strict=True)),
            **measured(point.measured),
        }
        for point in answer.points
    ]


def behind(one: Behind) -> dict[str, Any]:
    return {
        "event_id": one.event_id,
        "unit": one.unit,
        "at": at(one.at),
        "case_id": one.case_id,
        "interaction_id": one.interaction_id,
        "customer_id": one.customer_id,
    }


def bar(one: Bar, section: dict[str, dict[str, str]], language: str) -> dict[str, Any]:
    return {
        "value": one.value,
        "name": name_of(section, one.value, language),
        "cases": one.measured.numerator,
        "share": _number(one.measured.value),
        "low": _number(one.measured.low),
        "high": _number(one.measured.high),
        "cumulative": round(one.cumulative, 6),
        "customers": one.customers,
        "first": at(one.first),
        "last": at(one.last),
    }


def crosswalk(
    found: list[Move], before: int, after: int, by: str, section: dict[str, dict[str, str]], language: str
) -> dict[str, Any]:
    """What moved from code to code, with the sums of both sides. A code of null: never decided under that version."""

    def side(codes: Iterable[tuple[str | None, int]]) -> list[dict[str, Any]]:
        sums: Counter[str] = Counter()
        for code, cases in codes:
            if code is not None:
                sums[code] += cases
        ranked = sorted(sums.items(), key=lambda one: (-one[1], one[0]))
        return [{"value": code, "name": name_of(section, code, language), "cases": cases} for code, cases in ranked]

    both = [one for one in found if one.before is not None and one.after is not None]
    return {
        "before": before,
        "after": after,
        "by": by,
        "cases": sum(one.cases for one in found),
        "decided_under_both": sum(one.cases for one in both),
        "moved": sum(one.cases for one in both if one.before != one.after),
        "moved_as_declared": sum(one.cases for one in both if one.before != one.after and one.declared),
        "items": [
            {"before": one.before, "after": one.after, "cases": one.cases, "declared": one.declared} for one in found
        ],
        "totals": {
            "before": side((one.before, one.cases) for one in found),
            "after": side((one.after, one.cases) for one in found),
        },
        "next": None,
    }


def touchpoint(one: Touchpoint) -> dict[str, Any]:
    return {
        "touchpoint": one.touchpoint,
        "contacts": one.contacts,
        "compliments": one.compliments,
        "cases": one.cases,
        "share": measured(one.share),
        "answers": one.answers,
        "mean_score": _number(one.mean_score),
    }


_SECTIONS = {
    "motive": "motives", "cause": "causes", "component": "components", "factor": "factors", "procedure": "procedures",
    "norm": "norms", "expectation": "expectations", "severity": "severities", "touchpoint": "touchpoints",
    "product": "products", "location": "locations", "team": "teams", "supplier": "suppliers", "segment": "segments",
}  # fmt: skip


def section_of(names: Names, dimension: str) -> dict[str, dict[str, str]]:
    """The rulebook's names of a dimension's codes."""
    return names.get(_SECTIONS.get(dimension, dimension), {})


def name_of(section: dict[str, dict[str, str]], code: str, language: str) -> str:
    """A code's name in a language, else in any, else the code."""
    text = section.get(code, {})
    return text.get(language) or next(iter(text.values()), code)


def contact(row: Any, words: Words | None) -> dict[str, Any]:
    """One interaction; `words` None leaves out what its customer wrote."""
    shown = {
        name: row[name]
        for name in (
            "interaction_id", "customer_id", "external_id", "kind", "channel", "source", "touchpoint", "product", "location",
            "team", "agent", "supplier", "segment", "language", "case_ref", "declared_motive", "effects", "case_id",
        )
    }  # fmt: skip
    shown |= {
        "internal": bool(row["internal"]),
        "occurred_at": at(row["occurred_at"]),
        "recorded_at": at(row["recorded_at"]),
    }
    shown["coding"] = (
        None
        if row["motive"] is None
        else {
            name: bool(row[name]) if name == "review" else row[name]
            for name in (
                "motive", "cause", "component", "factor", "expectation", "severity", "procedure", "rulebook_version",
                "confidence", "review",
            )
        }
    )  # fmt: skip
    if words is not None:
        shown["subject"] = words.get((row["interaction_id"], "subject"))
        shown["text"] = words.get((row["interaction_id"], "text"))
    return shown


def entry(one: Entry, words: Words | None) -> dict[str, Any]:
    facts = {name: at(value) if name in {"due_at", "acknowledge_by"} else value for name, value in one.facts.items()}
    shown = {
        "at": at(one.at),
        "recorded_at": at(one.recorded_at),
        "what": one.what,
        "event_id": one.event_id,
        "case_id": one.case_id,
        "interaction_id": one.interaction_id,
        "facts": facts,
    }
    if words is not None and one.sealed:
        shown["words"] = {name: words.get((sealed.event_id, name)) for name, sealed in one.sealed.items()}
    return shown


def finding(one: Finding) -> dict[str, Any]:
    """A finding with the numbers of its newest verdict."""
    return {
        "finding_id": one.finding_id,
        "state": one.state,
        "status": one.status.value,
        "opened_at": None if one.opened_at is None else at(one.opened_at),
        "since": None if one.since is None else at(one.since),
        "ended_at": None if one.ended_at is None else at(one.ended_at),
        "verdict": one.verdict,
        "nature": one.nature,
        "slice": one.slice,
        "title": one.title,
        "owner": one.owner,
        "evaluation": one.evaluation,
        "interaction_ids": one.interaction_ids,
        "actions": list(one.actions.values()),
    }

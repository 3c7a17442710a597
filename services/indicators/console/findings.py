"""The pages of findings: from the chart to the evidence in plain words, the complaints behind it, its causes, actions and their effect."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from libs.service.http.problems import Problem
from services.indicators.api import documents
from services.indicators.console.render import MESSAGES
from services.indicators.console.shared import (
    WRITES,
    Values,
    Visit,
    behind,
    code_name,
    contact_of,
    finding_of,
    opened_words,
    whole,
    window_of,
)
from services.indicators.domain.findings import Finding
from services.indicators.domain.periods import instant
from services.indicators.domain.registry import DIMENSIONS
from services.indicators.views import lists
from services.indicators.views.scope import findings

STAGES = ("opened", "confirmed", "investigated", "action_planned", "implemented", "judged", "closed")
NEWEST = 5
WEEKLY = 500
"""Days a chart shows week by week; more would be bars too thin to tell apart."""
COMPONENTS = ("product", "procedures", "facilities", "systems", "information", "people")
NATURES = ("procedure", "norm", "explanation", "human", "supplier", "system", "product")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    # what a person may do next, the likeliest first
    "opened": ("confirm", "dismiss", "assign"),
    "confirmed": ("investigate", "plan-action", "assign", "proposals", "correct", "dismiss", "close"),
    "investigated": ("plan-action", "proposals", "investigate", "assign", "correct", "dismiss", "close"),
    "action_planned": ("implement-action", "cancel-action", "assign", "proposals", "investigate", "correct"),
    "implemented": ("assign", "proposals", "investigate", "correct"),
    "judged": ("close", "plan-action", "proposals", "investigate", "assign", "correct"),
    "closed": ("reopen",),
    "dismissed": ("reopen",),
}


async def finding_list(visit: Visit) -> Values:
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        found = await findings(connection, t, None)
        _, names = await lists.names(connection, t)
    state = visit.request.query_params.get("state", "current")
    groups = {"current": {"open", "confirmed"}, "ended": {"dismissed", "closed"}}
    opened = [one for one in found.values() if one.opened]
    chosen = [one for one in opened if state not in groups or one.state in groups[state]]
    chosen.sort(key=lambda one: (-(one.opened_at or 0), one.finding_id))
    return {
        "title": voice.t("findings.title"),
        "state": state if state in groups else "all",
        "counts": {"current": sum(one.state in groups["current"] for one in opened), "ended": sum(one.state in groups["ended"] for one in opened), "all": len(opened)},
        "items": [finding_of(visit, one, names) for one in chosen[:200]],
    }  # fmt: skip


async def one_finding(visit: Visit, finding_id: str) -> Values:
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        found = (await findings(connection, t, None, finding_id)).get(finding_id)
        if found is None:
            raise Problem(404, "", voice.t("missing.finding"))
        _, names = await lists.names(connection, t)
        far = datetime(2200, 1, 1, tzinfo=voice.zone)
        query = whole(visit, datetime(1970, 1, 2, tzinfo=voice.zone), far)
        rows = await lists.contacts(connection, t, query, ids=behind(found), limit=NEWEST)
        near = [one for one in (found.group, found.split_from, *found.parts) if one]
        others = {
            identity: finding_of(visit, other, names)["title"]
            for identity in near
            for other in (await findings(connection, t, None, identity)).values()
        }
    opened = await opened_words(visit, rows)
    one = finding_of(visit, found, names)
    joined = [fact for fact in found.history if fact.what == "finding.joined" and fact.data.get("interaction_ids")]
    history = _history(visit, found)
    trend, step = _trend(visit, found)
    wanted = ("do.", "finding.", "same.", "judgement.", "nature.", "phase.", "motive.", "touchpoint.", "channel.")
    return {
        "charts": True,
        "title": one["title"],
        "one": one,
        "found": found,
        "stages": [
            (stage, voice.t(f"phase.{stage}"))
            for stage in (STAGES if found.phase != "dismissed" else ("opened", "dismissed"))
        ],
        "plain": _plain(visit, found),
        "nature": {"code": found.nature, "named_by": found.named_by},
        "odds": sorted(found.natures.items(), key=lambda item: (-item[1], item[0]))[:4],
        "reasons": _reasons(visit, found, names),
        "trend": trend,
        "marks": _marks(visit, found),
        "step": step,
        "baseline": [float(each) for each in found.evaluation.get("baseline") or ()],
        "parameters": sorted((found.evaluation.get("parameters") or {}).items()),
        "items": [contact_of(visit, row, names, opened) for row in rows],
        "tree": _tree(visit, found, names),
        "actions": [_action(visit, action) for action in found.actions.values()],
        "proposals": list(found.proposals.values()),
        "others": others,
        "joined": None
        if not joined
        else voice.t("finding.joined", n=voice.n(len(found.contacts)), day=voice.day(joined[-1].at)),
        "history": history[-60:],
        "commands": COMMANDS[found.phase],
        "may": visit.principal.may(WRITES),
        "components": [(code, voice.maybe("component", code)) for code in COMPONENTS],
        "natures": [(code, voice.t(f"nature.{code}")) for code in NATURES],
        "events": len(found.history),
        "today": visit.desk.clock.now().astimezone(voice.zone).date().isoformat(),
        "texts": {name: text for name, text in MESSAGES[voice.language].items() if name.startswith(wanted)},
    }


def _word(visit: Visit, data: Mapping[str, Any]) -> str | None:
    """What was judged, of a slice or of an action."""
    for name in ("verdict", "judgement"):
        if data.get(name):
            return visit.voice.maybe(name, data[name])
    return None


def _reason(visit: Visit, data: Mapping[str, Any]) -> str | None:
    """A code of ours as words, a person's words as they are."""
    if data.get("level"):
        return visit.voice.maybe("level", data["level"])
    reason = data.get("reason")
    return None if reason is None else visit.voice.maybe("judgement", reason)


def _plain(visit: Visit, found: Finding) -> list[str]:
    """What the numbers say, for somebody who knows no statistics."""
    voice, e = visit.voice, found.evaluation
    if not e:
        return []
    first, last = window_of(voice, e)
    given = e.get("parameters") or {}
    # A chronic slice has no history without the failure: it is compared with its peers, and that has to be said.
    chronic = str(e.get("method") or "").startswith("funnel")
    compared = "" if not chronic else "_rate" if given.get("by_rate") else "_share"
    if not chronic and e["observed"] <= e["upper"]:
        # So many can come in so few days by chance: what is rare is that it goes on, and that has to be said instead.
        compared = "_lasting"
    told = [
        voice.t(
            f"finding.explain{compared}",
            peers=voice.n(given.get("peers") or 0),
            start=voice.day(first),
            end=voice.day(last),
            customers=voice.n(e["customers"]),
            contacts=voice.n(e["contacts"]),
            expected=voice.n(e["expected"], 1),
            upper=voice.n(e["upper"]),
            observed=voice.n(e["observed"]),
        )
    ]
    if e["observed"] > e["customers"]:
        told.append(voice.t("finding.explain_again", n=voice.n(e["observed"])))
    if e.get("expected") and e["observed"] > e["expected"]:
        told.append(voice.t("finding.explain_times", times=voice.n(e["observed"] / e["expected"], 1)))
    if chronic:
        told.append(voice.t("finding.explain_chronic"))
    if e.get("borrowed"):
        told.append(_borrowed(visit, e["borrowed"]))
    chance = given.get("p")
    if chance is not None and 0 < chance < 0.01 and found.verdict == "systemic":
        # A power of ten below it: an honest bound, and a number that people know how to read.
        rounded = 10 ** min(9, len(str(int(1 / chance))) - 1)
        told.append(voice.t("finding.chance", n=voice.n(rounded)))
    told.append(voice.t(f"finding.means.{_meaning(found, given)}"))
    if found.verdict == "not_enough_evidence":
        told += [
            voice.t(f"finding.{name}", n=voice.n(given[name]))
            for name in ("more_customers", "more_days")
            if given.get(name)
        ]
    if found.taught_by:
        told.append(voice.t("finding.taught"))
    if found.lesson:
        taken = found.lesson.get("withdrawn")
        reason = str(found.lesson.get("reason") or "–")
        told.append(voice.t("finding.lesson_back") if taken else voice.t("finding.dismissed_lesson", reason=reason))
    return told


def _meaning(found: Finding, given: Mapping[str, Any]) -> str:
    """What the verdict comes to: a person's word goes before the monitor's."""
    if given.get("withdrawn"):
        return "withdrawn"
    return "dismissed" if found.phase == "dismissed" and found.verdict == "systemic" else str(found.verdict)


STRONG, CLEAR = 3.0, 1.0
"""Log-odds from which a piece of evidence speaks loudly (twenty to one), or plainly (nearly three to one)."""


def _strength(weight: float) -> str:
    if not weight:
        return "neutral"
    size = "strong" if abs(weight) >= STRONG else "clear" if abs(weight) >= CLEAR else "weak"
    return f"{'for' if weight > 0 else 'against'}.{size}"


def _history(visit: Visit, found: Finding) -> list[Values]:
    """What happened, as it happened; the same verdict on and on is one line."""
    voice = visit.voice
    shown: list[Values] = []
    for fact in sorted(found.history, key=lambda one: one.at):
        if fact.what == "finding.joined":
            continue
        line: Values = {
            "at": fact.at,
            "what": voice.maybe("event", fact.what),
            "by": voice.maybe("by", fact.data["by"]) if fact.data.get("by") else None,
            "reason": _reason(visit, fact.data),
            "verdict": _word(visit, fact.data),
            "times": 1,
        }
        before = shown[-1] if shown else None
        if before and fact.what == "verdict.reached" and (before["what"], before["verdict"]) == (line["what"], line["verdict"]):  # fmt: skip
            before["times"] += 1
            before["last"] = fact.at
            continue
        shown.append(line)
    return shown


def _borrowed(visit: Visit, taken: Mapping[str, Any]) -> str:
    """A slice that began with a place that opened has little of its own to compare with: from where what is usual was taken."""
    voice, slices = visit.voice, taken.get("slices") or 0
    return voice.t(
        f"finding.borrowed_{'none' if not slices else 'kin' if taken.get('kin') else 'all'}",
        begins=voice.written_day(taken["begins"]),
        slices=voice.n(slices),
        level=voice.n(taken["level"], 2),
        weight=voice.n(taken["weight"], 1),
    )


def _reasons(visit: Visit, found: Finding, names: lists.Names) -> list[Values]:
    """Each piece of evidence as a sentence, with its weight for the nature that was named."""
    voice = visit.voice
    shown: list[Values] = []
    for term in found.reasons:
        kind, detail = str(term["evidence"]), term.get("detail")
        share = f"{voice.n(100 * term['value'], 0)} %"
        if kind == "causes":
            detail = voice.maybe("nature", detail)
        elif kind == "supplier" and detail:
            detail = code_name(voice, documents.section_of(names, "supplier"), "supplier", detail)
        values = {
            "of": voice.n(round(term["of"])),
            "share": share,
            "what": detail or "",
            "days": voice.n(round(term["value"])),
        }
        if kind == "supplier" and not detail:
            text = voice.t("reason.no_supplier", of=values["of"])
        elif kind == "change" and term["value"] < 1.5:
            text = voice.t("reason.change_before" if term["value"] < 1 else "reason.change_next", what=values["what"])
        else:
            text = voice.t(f"reason.{kind}", **values)
        weights = term.get("weights") or {}
        weight = float(weights.get(found.nature, 0.0))
        said = voice.t(f"finding.{_strength(weight)}")
        shown.append({"text": text, "weight": weight, "said": said, "width": min(100.0, abs(weight) / 5 * 100)})
    return shown


def _trend(visit: Visit, found: Finding) -> tuple[str, str]:
    """The question of the chart, and by what it counts: from two months before it began until today, or a while after its end."""
    where = [(f"where[{name}]", value) for name, value in found.slice.items() if name in DIMENSIONS]
    if found.since is None:
        return "", ""
    start, now = instant(found.since) - timedelta(days=60), visit.desk.clock.now()
    end = now if found.ended_at is None else min(now, instant(found.ended_at) + timedelta(days=60))
    step = "week" if (end - start).days <= WEEKLY else "month"
    days = {
        "from": start.date().isoformat(),
        "to": end.date().isoformat(),
        "granularity": step,
        "lang": visit.voice.language,
    }
    return (urlencode([*days.items(), *where]), step) if end > start else ("", "")


def _marks(visit: Visit, found: Finding) -> str:
    """What the chart says of its days: since when, and when something was done about it."""
    zone = visit.voice.zone
    done = [action["implemented_us"] for action in found.actions.values() if action.get("implemented_us")]
    at = [("began", found.since), *(("acted", one) for one in done)]
    return urlencode(
        [("mark", f"{word}:{instant(one).astimezone(zone).date()}") for word, one in at if one is not None]
    )


def _tree(visit: Visit, found: Finding, names: lists.Names) -> list[Values]:
    """The causes in order, each after the one it explains, with its depth."""
    voice = visit.voice
    nodes: Sequence[Mapping[str, Any]] = found.investigation.get("nodes") or ()
    children: dict[str | None, list[Mapping[str, Any]]] = {}
    for node in nodes:
        children.setdefault(node.get("parent"), []).append(node)
    shown: list[Values] = []
    waiting = [(0, node) for node in reversed(children.get(None, []))]
    while waiting and len(shown) < len(nodes):
        depth, node = waiting.pop()
        cause = node.get("cause")
        shown.append(
            {
                "depth": min(depth, 6),
                "text": node["text"],
                "component": voice.maybe("component", node["component"]) if node.get("component") else None,
                "cause": code_name(voice, documents.section_of(names, "cause"), "cause", cause) if cause else None,
                "evidence": node.get("evidence"),
                "contacts": len(node.get("interaction_ids") or ()),
                "root": bool(node.get("root")),
            }
        )
        waiting += [(depth + 1, child) for child in reversed(children.get(node["node_id"], []))]
    return shown


WIDTH, LEFT, RIGHT, MOST = 560, 10, 550, 2.0


def _x(ratio: float) -> float:
    """Where a ratio stands on the drawing: from 0 to twice as many; more is drawn at the edge."""
    return round(LEFT + (RIGHT - LEFT) * min(max(ratio, 0.0), MOST) / MOST, 1)


def _action(visit: Visit, action: Mapping[str, Any]) -> Values:
    voice = visit.voice

    def percent(ratio: float | None) -> str:
        return "–" if ratio is None else f"{voice.n(100 * ratio, 0)} %"

    goal = float(action.get("expected_ratio") or 0)
    days = action.get("window_days")
    shown: Values = {
        "description": action.get("description") or "",
        "state": voice.maybe("action", action.get("state")),
        "judgement": action.get("judgement"),
        "owner": action.get("owner"),
        "due": action.get("due"),
        "test": voice.t("finding.test", ratio=percent(goal), days=voice.n(days)) if goal else "",
        "drawn": None,
        "effect": "",
        "again": "",
    }
    if action.get("state") == "implemented":
        shown["effect"] = voice.t("finding.effect_wait", days=voice.n(days))
    if action.get("judgement") == "undecided":
        weeks, again = action.get("weeks_needed"), action.get("again_at")
        if again:
            shown["again"] = voice.t("finding.effect_again", weeks=voice.n(weeks), day=voice.written_day(again))
        else:
            shown["again"] = voice.t("finding.effect_unknown" if weeks is None else "finding.effect_last")
    ratio, low, high = (action.get(name) for name in ("ratio", "low", "high"))
    if ratio is not None and low is not None:
        shown["effect"] = voice.t("finding.effect", ratio=percent(ratio), low=percent(low), high=percent(high))
        shown["drawn"] = {
            "low": _x(low), "high": _x(MOST if high is None else high), "ratio": _x(ratio), "goal": _x(goal), "same": _x(1.0),
            "left": LEFT, "right": RIGHT, "width": WIDTH,
            "label": voice.t("finding.effect_chart", low=percent(low), high=percent(high), goal=percent(goal)),
        }  # fmt: skip
    return shown


async def chains(visit: Visit) -> Values:
    """A page without contents of its own: classification knows the chains, the browser asks it."""
    voice = visit.voice
    async with visit.desk.open() as (connection, t):
        _, names = await lists.names(connection, t)
    sections = {name: documents.section_of(names, name) for name in ("motive", "touchpoint")}
    said = {name: {code: texts.get(voice.language, code) for code, texts in section.items()} for name, section in sections.items()}  # fmt: skip
    said["channel"] = {key.removeprefix("channel."): text for key, text in MESSAGES[voice.language].items() if key.startswith("channel.")}  # fmt: skip
    return {
        "title": voice.t("chains.title"),
        "names": said,
        "texts": {name: text for name, text in MESSAGES[voice.language].items() if name.startswith("chains.")},
    }

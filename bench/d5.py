"""D5: did it work? Actions that help, do nothing or harm, taken at peaks, in operations with seasons, trends, weekdays, slow waves,
overdispersion and, in a third of them, a campaign or price rise that moves everybody about the same time; some actions only move the
complaints elsewhere. Beside it the ratio of the 28 days after to the 28 before, read by the same limits.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from statistics import mean

import numpy as np

from bench.actions import Story, story
from bench.lab import Lab, note
from bench.report import Bar, at_most, told
from services.classification.domain import looks
from services.classification.domain.effect import HARMFUL_FROM, Days, Effect, evaluate
from services.classification.domain.finding_state import Action

STORIES = 300
MODERATE = 100.0
"""Complaints the window would have had without the action."""
FLOOR = 55.0
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def judged(told_: Story, answers: bool = False) -> Effect:
    helped, harmed = told_.answers if answers else (0, 0)
    days = Days(told_.own, told_.others, {"elsewhere": told_.related}, told_.action, told_.window)
    return evaluate(days, told_.declared, helped=helped, harmed=harmed, ahead=False)


def followed(told_: Story) -> Effect:
    """The judgement in the end: while undecided an action is judged again, as the service does (`looks`)."""
    action = Action("a", "", "", DAY.date(), told_.declared, told_.window, DAY, implemented_at=DAY)
    while True:
        window = looks.window(action)
        assert window is not None
        days = Days(told_.own, told_.others, {"elsewhere": told_.related}, told_.action, window)
        effect = evaluate(days, told_.declared, least_weeks=looks.least_weeks(action))
        again = looks.again_at(action, window, effect.weeks_needed) if effect.judgement == "undecided" else None
        action = replace(action, judgement=effect.judgement, looks=action.looks + 1, again_at=again)
        if again is None:
            return effect


def plain(told_: Story) -> str:
    """What a dashboard says: four weeks after over four weeks before."""
    before = told_.own[told_.action - 28 : told_.action].sum()
    after = told_.own[told_.action + 1 : told_.action + 29].sum()
    ratio = after / max(before, 0.5)
    if ratio <= told_.declared**0.5:
        return "effective"
    return "harmful" if ratio >= HARMFUL_FROM else "not_effective"


def outcome(word: str, truth: str) -> str:
    return "undecided" if word == "undecided" else "right" if word == truth else "wrong"


def run(lab: Lab) -> list[Bar]:
    seed = secrets.randbits(32)
    note(f"D5 seed {seed}")
    random = np.random.default_rng(seed)
    number = 40 if lab.quick else STORIES
    all_: Counter[str] = Counter()
    moderate: Counter[str] = Counter()
    small: Counter[str] = Counter()
    naive: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    at_once: Counter[str] = Counter()
    in_the_end: Counter[str] = Counter()
    by_truth: dict[str, Counter[str]] = {word: Counter() for word in ("effective", "not_effective", "harmful")}
    seconds, inside = [], []
    for case in range(number):
        told_ = story(random, (1.0, 8.0) if case % 3 else (0.3, 1.0))
        began = time.process_time()
        effect = judged(told_)
        seconds.append(time.process_time() - began)
        word = outcome(effect.judgement, told_.truth)
        all_[word] += 1
        by_truth[told_.truth][word] += 1
        (moderate if told_.usual_after >= MODERATE else small)[word] += 1
        naive[outcome(plain(told_), told_.truth)] += 1
        if case % 3 == 1:
            at_once[word] += 1
            later = word if word != "undecided" else outcome(followed(told_).judgement, told_.truth)
            in_the_end[later] += 1
        if case % 3 == 0 and sum(told_.answers):
            answered[outcome(judged(told_, answers=True).judgement, told_.truth)] += 1
        if effect.low is not None and effect.high is not None:
            inside.append(effect.low <= told_.ratio <= effect.high)
    peers = {"plain ratio": share(naive, "wrong")}
    bars = [
        Bar(
            "D5.wrong",
            f"judged wrongly, {number} actions of all sizes",
            share(all_, "wrong"),
            "%",
            "<= 5 %",
            share(all_, "wrong") <= 5,
            peers=peers,
        ),
        Bar(
            "D5.wrong100",
            "of these, 100 complaints or more expected",
            share(moderate, "wrong"),
            "%",
            "<= 5 %",
            share(moderate, "wrong") <= 5,
        ),
        Bar(
            "D5.right",
            "judged rightly, 100 complaints or more expected",
            share(moderate, "right"),
            "%",
            f">= {FLOOR:g} %",
            share(moderate, "right") >= FLOOR,
        ),
        told("D5.undecided", "undecided, 100 or more", share(moderate, "undecided"), "%"),
        told(
            "D5.small",
            "judged rightly, fewer than 100",
            share(small, "right"),
            "%",
            note=f"wrongly {share(small, 'wrong'):.1f} %",
        ),
    ]
    bars += [
        told(
            f"D5.{word}",
            f"rightly, of actions that are {word}",
            share(counted, "right"),
            "%",
            note=f"wrongly {share(counted, 'wrong'):.1f} %",
        )
        for word, counted in by_truth.items()
    ]
    bars += [
        told(
            "D5.again",
            "judged rightly when the undecided are judged again, every third action",
            share(in_the_end, "right"),
            "%",
            note=f"at first {share(at_once, 'right'):.1f} %",
        ),
        Bar(
            "D5.again.wrong",
            "judged wrongly then",
            share(in_the_end, "wrong"),
            "%",
            "<= 10 %",
            share(in_the_end, "wrong") <= 10,
            note=f"at first {share(at_once, 'wrong'):.1f} %; undecided at first {share(at_once, 'undecided'):.1f} %, "
            f"in the end {share(in_the_end, 'undecided'):.1f} %",
        ),
        told(
            "D5.answers",
            "judged rightly with customers' answers, small slices",
            share(answered, "right"),
            "%",
            note=f"wrongly {share(answered, 'wrong'):.1f} %",
        ),
        Bar(
            "D5.interval",
            "95 % intervals that hold the true ratio",
            100 * mean(inside),
            "%",
            ">= 90 %",
            mean(inside) >= 0.9,
        ),
        at_most("D5.seconds", "one judgement, related slices included, core time, mean", mean(seconds), "s", 1.0),
    ]
    return bars


def share(counted: Counter[str], word: str) -> float:
    return 100 * counted[word] / max(sum(counted.values()), 1)

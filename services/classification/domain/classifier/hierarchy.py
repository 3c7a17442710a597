"""Motive, then cause given the motive; started from a taxonomy's words; compared in shadow; swapped when better.

Both heads read the same features, so a text is read and encoded once. P(cause | text, motive) is the cause head's
probability weighed by how often the cause was coded under that motive (Bayes, smoothed by one pseudo-count per cause).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier.calibrate import Doubles
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.classifier.model import UNKNOWN, Classifier, Judgement, Reading, fit
from services.classification.domain.classifier.online import spoken

CAUSE_SURE = 0.5
"""Below this probability a cause is left unknown: a wrong cause sends an improvement to the wrong place."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A text under both trees."""

    motive: Judgement
    cause: str
    cause_confidence: float


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """`usual[m, c]`: smoothed share of cause c among the codings under motive m, over its share among all. `joined`: the
    motives' and causes' weights side by side, where both heads' are views of it."""

    motive: Classifier
    cause: Classifier | None
    usual: npt.NDArray[np.float32]
    joined: npt.NDArray[np.float32] | None = None

    def probabilities(self, reading: Reading) -> tuple[Doubles, Doubles | None]:
        """Calibrated probabilities by label of motive and cause."""
        rows, vectors = reading.rows, reading.vectors
        if self.cause is None:
            return self.motive.probabilities(rows, vectors), None
        if self.joined is None:
            return self.motive.probabilities(rows, vectors), self.cause.probabilities(rows, vectors)
        both, cut = rows.dot(self.joined), len(self.motive.labels)
        return (
            self.motive.weighed(both[:, :cut] + self.motive.words.bias, vectors),
            self.cause.weighed(both[:, cut:] + self.cause.words.bias, vectors),
        )

    def judge(self, texts: Sequence[str], encoder: Encoder | None = None) -> list[Coded]:
        """One coding per text, in order."""
        if not texts:
            return []
        if self.cause is None:
            return [Coded(item, UNKNOWN, 0.0) for item in self.motive.judge(texts, encoder)]
        reading = self.motive.read(texts, encoder)
        motives = self.motive.judged(reading)
        causes = self.cause.probabilities(reading.rows, reading.vectors)
        place = {label: index for index, label in enumerate(self.motive.labels)}
        found = []
        for item, chances in zip(motives, causes, strict=True):
            if item.label == UNKNOWN or item.problem == "strange":
                found.append(Coded(item, UNKNOWN, 0.0))
                continue
            weighed = chances * self.usual[place[item.label]]
            weighed /= weighed.sum()
            best = int(weighed.argmax())
            confidence = float(weighed[best])
            label = self.cause.labels[best] if confidence >= CAUSE_SURE else UNKNOWN
            found.append(Coded(item, label, confidence))
        return found


def fit_hierarchy(
    texts: Sequence[str], motives: Sequence[str], causes: Sequence[str], encoder: Encoder | None = None
) -> Hierarchy:
    """From coded texts; causes may be `unknown`. Raises Unfit when the motives cannot be learnt; causes then stay unknown."""
    motive = fit(texts, motives, encoder)
    told = [place for place, cause in enumerate(causes) if cause != UNKNOWN]
    if len({causes[place] for place in told}) < 2:
        return Hierarchy(motive, None, np.zeros((len(motive.labels), 0), dtype=np.float32))
    cause = fit(
        [texts[place] for place in told], [causes[place] for place in told], encoder, vocabulary=motive.vocabulary
    )
    counts = np.ones((len(motive.labels), len(cause.labels)))
    rows = {label: index for index, label in enumerate(motive.labels)}
    columns = {label: index for index, label in enumerate(cause.labels)}
    for place in told:
        if motives[place] in rows and causes[place] in columns:
            counts[rows[motives[place]], columns[causes[place]]] += 1
    within = counts / counts.sum(axis=1, keepdims=True)
    usual = within / (counts.sum(axis=0) / counts.sum())
    return Hierarchy(motive, cause, usual.astype(np.float32))


def cold_examples(taxonomy: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Texts and labels from a taxonomy's own words: by code its names, descriptions and examples, in any languages."""
    texts: list[str] = []
    labels: list[str] = []
    for label in sorted(taxonomy):
        for text in taxonomy[label]:
            texts.append(spoken(text))
            labels.append(label)
    return texts, labels


@dataclass(frozen=True, slots=True)
class Differences:
    """What another model would have said. `moved`: (from, to) by count, most first; `places`: which texts."""

    texts: int
    same: int
    moved: tuple[tuple[tuple[str, str], int], ...]
    review_live: int
    review_shadow: int
    places: tuple[int, ...]


def differences(live: Sequence[Judgement], shadow: Sequence[Judgement]) -> Differences:
    """The report of a shadow run over the same texts. It decides nothing and emits nothing."""
    places = tuple(place for place, (now, then) in enumerate(zip(live, shadow, strict=True)) if now.label != then.label)
    moved = Counter((live[place].label, shadow[place].label) for place in places)
    return Differences(
        len(live),
        len(live) - len(places),
        tuple(sorted(moved.items(), key=lambda item: (-item[1], item[0]))),
        sum(item.review for item in live),
        sum(item.review for item in shadow),
        places,
    )


def better(live: Sequence[Judgement], other: Sequence[Judgement], truth: Sequence[str], least: int = 30) -> bool:
    """Whether the other model is to be swapped in: it is right more often on corrections neither has learnt from.

    With fewer than `least` of them nothing is known, and the live one stays; so it does on a tie.
    """
    if len(truth) < least:
        return False
    won = sum(item.label == label for item, label in zip(other, truth, strict=True))
    held = sum(item.label == label for item, label in zip(live, truth, strict=True))
    return won > held


def held_back(count: int, share: int = 5) -> tuple[list[int], list[int]]:
    """Places of corrections to learn from, and of every fifth, held back to compare models on."""
    return [place for place in range(count) if place % share], [place for place in range(count) if place % share == 0]


def expected_gain(judgement: Judgement, known: float, severity: float, age_days: float) -> float:
    """The order of the review queue: uncertainty, novelty, severity (0–1) and age, each between 0 and 1, weighed."""
    following = judgement.next_best[0][1] if judgement.next_best else 0.0
    uncertain = 1.0 - min(max(judgement.confidence - following, 0.0), 1.0)
    waiting = 1.0 - float(np.exp(-max(age_days, 0.0) / 7.0))
    return 0.4 * uncertain + 0.2 * (1.0 - min(max(known, 0.0), 1.0)) + 0.25 * severity + 0.15 * waiting

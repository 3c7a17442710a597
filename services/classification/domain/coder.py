"""Coding by the rulebook's words: motive, cause and what follows from them, with a confidence and the terms that weighed.

The confidence is a softmax over the entries' scores with one more competitor, "unknown", that scores a constant: little
evidence or a close race both lower it, and more evidence for the same entry never does. `SLOPE` and `FLOOR` were fitted by
maximum likelihood on texts made from the example rulebook.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from libs.events.catalogue.classifications import Evidence, Part
from libs.events.catalogue.interactions import Kind
from services.classification.domain.lexicon import Lexicon, build
from services.classification.domain.normalise import STOPWORDS, guess_language, words
from services.classification.domain.rulebook import UNKNOWN, Cause, Motive, Procedure, ProcedureVersion, Rulebook

MODEL = "words-1"
SLOPE = 0.8
FLOOR = 4.0
CAUSE_FLOOR = 3.2
USUAL = 2.0
"""What a cause gains from standing among its motive's usual causes, in units of score (about one telling word)."""
REVIEW_BELOW = 0.6
DECLARED = 0.95
"""Confidence of a motive that the contact centre declared itself and that the words do not contradict."""

_MAY_FIT_NOTHING = {Kind.COMPLIMENT, Kind.SUGGESTION, Kind.INQUIRY}
"""Kinds whose motive may well not be in the rulebook: thanks, ideas, questions. A person need not look at each."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contact:
    """What the coder needs of an interaction."""

    text: str | None
    occurred_at: datetime
    language: str | None = None
    declared_motive: str | None = None
    kind: Kind = Kind.UNKNOWN


@dataclass(frozen=True, slots=True)
class Decision:
    """One coding: what `lazo.interaction.classified` says beside the interaction's own dimensions."""

    motive: str
    cause: str
    confidence: float
    review: bool
    component: str | None = None
    factor: str | None = None
    expectation: str | None = None
    procedure: str | None = None
    norm: str | None = None
    severity: str | None = None
    act: str | None = None
    language: str | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()


class Coder:
    """A compiled rulebook. Compiling takes tens of milliseconds, coding a text tens of microseconds."""

    def __init__(self, rulebook: Rulebook, version: int) -> None:
        self.rulebook, self.version = rulebook, version
        self.model_version = f"{MODEL}@{version}"
        heads = rulebook.parents
        # What this version renamed, split or merged is no answer any more, not even about the past (G1).
        self.motives: list[Motive] = [item for item in rulebook.motives if item.code not in heads and not item.becomes]
        self.causes: list[Cause] = [item for item in rulebook.causes if item.code not in heads and not item.becomes]
        entries = [*self.motives, *self.causes]
        self.lexicons: dict[str, Lexicon] = {
            # Weights are counted over motives and causes apart: a word may tell the cause and not the motive.
            language: _joined(build(self.motives, language), build(self.causes, language))
            for language in rulebook.languages
        }
        self._codes = [entry.code for entry in entries]
        self._place = {motive.code: index for index, motive in enumerate(self.motives)}
        self._motive_ends = [(index, item.until) for index, item in enumerate(self.motives) if item.until is not None]
        self._cause_ends = [(index, item.until) for index, item in enumerate(self.causes) if item.until is not None]
        self._procedures: dict[tuple[str, date], tuple[Procedure, ProcedureVersion] | None] = {}
        self._zone = ZoneInfo(rulebook.time_zone)
        place = {cause.code: index for index, cause in enumerate(self.causes)}
        self._usual = np.zeros((len(self.motives), len(self.causes)))
        for index, motive in enumerate(self.motives):
            for code in motive.causes:
                if code in place:
                    self._usual[index, place[code]] = USUAL

    @cached_property
    def _declared(self) -> dict[str, str]:
        """Codes and names, folded, of every motive: what a contact centre may declare."""
        known: dict[str, str] = {}
        for motive in sorted(self.rulebook.motives, key=lambda motive: bool(motive.becomes)):
            # A contact centre goes on declaring a code after it was renamed or merged; one that was split says too little.
            code = self.rulebook.now_called("motives", motive.code)
            for name in (motive.code, *motive.name.values()) if code is not None else ():
                known.setdefault(" ".join(words(name)), code)
        return known

    def code(self, contact: Contact) -> Decision:
        """The decision about one contact. The same contact under the same rulebook is always decided alike."""
        language, found, scores = self._read(contact)
        cut = len(self.motives)
        day = contact.occurred_at.astimezone(self._zone).date()
        chances = _softmax(_standing(scores[:cut], self._motive_ends, day), FLOOR)
        best = int(np.argmax(chances)) if cut else -1
        by_words = (best, float(chances[best])) if cut and chances[best] > _unknown_share(chances) else (-1, 0.0)
        motive, confidence, decided_by, contradicted = self._motive(contact, by_words)
        if motive is None:
            nothing = Part(decided_by=decided_by, confidence=0.0)
            review = contact.kind not in _MAY_FIT_NOTHING
            return Decision(UNKNOWN, UNKNOWN, 0.0, review=review, language=language, parts={"motive": nothing})
        index = self._place.get(motive.code, -1)
        evidence = self._evidence(language, found, index) if index >= 0 else []
        why, cause_confidence = self._cause(scores[cut:], index, day)
        cause = self.causes[why] if why >= 0 else None
        parts = {"motive": Part(decided_by=decided_by, confidence=round(confidence, 4))}
        if cause is not None:
            evidence += self._evidence(language, found, cut + why, most=3)
            parts["cause"] = Part(decided_by="rule", confidence=round(cause_confidence, 4))
        procedure = self._procedure(motive.code, day)
        return Decision(
            motive=motive.code,
            cause=cause.code if cause is not None else UNKNOWN,
            confidence=round(confidence, 4),
            review=confidence < REVIEW_BELOW or contradicted,
            component=cause.component if cause is not None else None,
            factor=cause.factor if cause is not None else None,
            expectation=cause.expectation if cause is not None else None,
            procedure=procedure[0].code if procedure else None,
            norm=procedure[1].norm if procedure else None,
            severity=motive.severity,
            act=cause.act if cause is not None else None,
            language=language,
            parts=parts,
            evidence=tuple(evidence),
        )

    def code_many(self, contacts: Iterable[Contact]) -> list[Decision]:
        return [self.code(contact) for contact in contacts]

    def _procedure(self, motive: str, day: date) -> tuple[Procedure, ProcedureVersion] | None:
        key = (motive, day)
        if key not in self._procedures:
            if len(self._procedures) > 50_000:
                self._procedures.clear()
            self._procedures[key] = self.rulebook.procedure_for(motive, day)
        return self._procedures[key]

    def consequences(self, motive: str, cause: str, occurred_at: datetime) -> dict[str, str | None]:
        """What follows from a motive and a cause that a person chose. Raises KeyError for codes the rulebook has not."""
        day = occurred_at.astimezone(self._zone).date()
        why = None if cause == UNKNOWN else self.rulebook.cause_by_code[cause]
        what = None if motive == UNKNOWN else self.rulebook.motive_by_code[motive]
        procedure = self.rulebook.procedure_for(motive, day) if what is not None else None
        return {
            "component": why.component if why else None,
            "factor": why.factor if why else None,
            "expectation": why.expectation if why else None,
            "act": why.act if why else None,
            "severity": what.severity if what else None,
            "procedure": procedure[0].code if procedure else None,
            "norm": procedure[1].norm if procedure else None,
        }

    def _read(self, contact: Contact) -> tuple[str | None, list[int], Scores]:
        """The language read in, the features found and the score of every entry."""
        nothing = np.zeros(len(self._codes))
        folded = words(contact.text or "")
        if not folded:
            return contact.language, [], nothing
        declared = (contact.language or "")[:2].lower()
        guessed = guess_language(folded) or declared
        candidates = [guessed] if guessed in self.lexicons else list(self.lexicons)
        best: tuple[str | None, list[int], Scores] | None = None
        for language in candidates:
            lexicon = self.lexicons[language]
            found = lexicon.find(folded)
            scores = lexicon.weights[found].sum(axis=0, dtype=np.float64) if found else nothing
            if best is None or scores.max(initial=0.0) > best[2].max(initial=0.0):
                best = (language, found, scores)
        assert best is not None
        if guessed not in self.lexicons and guessed not in STOPWORDS and guessed:
            return guessed, best[1], best[2]
        return best

    def _motive(self, contact: Contact, by_words: tuple[int, float]) -> tuple[Motive | None, float, str, bool]:
        index, confidence = by_words
        read = self.motives[index] if index >= 0 else None
        declared = self._declared.get(" ".join(words(contact.declared_motive))) if contact.declared_motive else None
        if declared is None:
            return read, confidence, "rule", False
        motive = self.rulebook.motive_by_code[declared]
        if read is None or declared in self.rulebook.line(read.code):
            # A heading was declared and the words are about something under it: the words are the finer answer.
            return (read or motive), DECLARED, "rule", False
        if confidence >= REVIEW_BELOW:
            return motive, 1.0 - confidence / 2, "rule", True
        return motive, DECLARED, "rule", False

    def _cause(self, scores: Scores, motive: int, day: date) -> tuple[int, float]:
        if not len(scores):
            return -1, 0.0
        usual = self._usual[motive] if motive >= 0 else 0.0
        raised = np.where(scores > 0, scores + usual, -np.inf)
        chances = _softmax(_standing(raised, self._cause_ends, day), CAUSE_FLOOR)
        best = int(np.argmax(chances))
        if chances[best] <= _unknown_share(chances):
            return -1, 0.0
        return best, float(chances[best])

    def _evidence(self, language: str | None, found: Sequence[int], entry: int, most: int = 5) -> list[Evidence]:
        lexicon = self.lexicons.get(language or "")
        if lexicon is None:
            return []
        weights: dict[str, float] = {}
        for feature in found:
            term = lexicon.terms.get((feature, entry))
            if term is not None:
                weights[term] = weights.get(term, 0.0) + float(lexicon.weights[feature, entry])
        ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [Evidence(code=self._codes[entry], term=term, weight=round(weight, 3)) for term, weight in ranked]


def _joined(motives: Lexicon, causes: Lexicon) -> Lexicon:
    """One table of features for both trees, so that a text is read once."""
    features = {
        feature: number for number, feature in enumerate(sorted({*motives.features, *causes.features}, key=str))
    }
    cut = motives.weights.shape[1]
    weights = np.zeros((len(features), cut + causes.weights.shape[1]), dtype=np.float32)
    terms: dict[tuple[int, int], str] = {}
    for lexicon, start in ((motives, 0), (causes, cut)):
        for feature, number in lexicon.features.items():
            weights[features[feature], start : start + lexicon.weights.shape[1]] = lexicon.weights[number]
        names = {number: feature for feature, number in lexicon.features.items()}
        for (number, entry), term in lexicon.terms.items():
            terms[features[names[number]], start + entry] = term
    vocabulary = motives.vocabulary | causes.vocabulary
    near = {**causes.near, **motives.near}
    return Lexicon(motives.language, features, weights, terms, vocabulary, near)


def _standing(scores: Scores, ends: Sequence[tuple[int, date]], day: date) -> Scores:
    """The scores without the entries that were retired before the day."""
    over = [index for index, until in ends if until < day]
    if over:
        scores = scores.copy()
        scores[over] = -np.inf
    return scores


def _softmax(scores: Scores, floor: float) -> Scores:
    top = max(float(scores.max(initial=-np.inf)), floor)
    powers = np.exp(SLOPE * (scores - top))
    chances: Scores = powers / (powers.sum() + np.exp(SLOPE * (floor - top)))
    return chances


def _unknown_share(chances: Scores) -> float:
    """The probability the competitor "unknown" was left with."""
    return 1.0 - float(chances.sum())

"""Coding by the rulebook's words: motive, cause and what follows from them, with a confidence and the terms that weighed.

The confidence is a softmax over the entries' scores with one more competitor, "unknown", that scores a constant: little
evidence or a close race both lower it, and more evidence for the same entry never does. `SLOPE` and `FLOOR` were fitted by
maximum likelihood on texts made from the example rulebook.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property, lru_cache

import numpy as np

from libs.events.catalogue.classifications import Evidence, Part, Precedent
from libs.events.catalogue.interactions import Kind
from services.classification.domain.classifier.text import only_masks
from services.classification.domain.consequences import Consequences, Follows
from services.classification.domain.cues import kind_of, need_of
from services.classification.domain.lexicon import Lexicon, build
from services.classification.domain.normalise import STOPWORDS, Plain, folded, guess_language, is_mixed, plain, words
from services.classification.domain.rulebook import UNKNOWN, Cause, Motive, Rulebook
from services.classification.domain.voices import Model, Scores, Voice, causes_by_models, pooled, telling

MODEL = "words-3"
SLOPE = 0.8
FLOOR = 4.0
FLOOR_OF_PROBLEMS = 2.2
"""What "unknown" scores against a complaint or a claim: those are about something, and the agreed list is made for them. On the
generated year's first 60 days (5,185 texts) it moved them from 86 % to 94 % right and 21 % to 18 % reviewed; thanks, ideas and
questions would be forced into motives by it (compliments 94 % to 27 %) and keep FLOOR."""
LEAST = 0.15
"""Confidence below which the best motive is none: some word in it is known, and that is all. (The same texts: 0.8 % of all lose a
right answer that a person had to look at anyway.)"""
CAUSE_FLOOR = 3.2
USUAL = 2.0
"""What a cause gains from standing among its motive's usual causes, in units of score (about one telling word)."""
REVIEW_BELOW = 0.6
DECLARED = 0.95
"""Confidence of a motive that the contact centre declared itself and that the words do not contradict."""

_PROBLEMS = {Kind.COMPLAINT, Kind.CLAIM}
_MAY_FIT_NOTHING = {Kind.COMPLIMENT, Kind.SUGGESTION, Kind.INQUIRY, Kind.REQUEST}
"""Kinds whose motive may well not be in the rulebook: thanks, ideas, questions, petitions. A person need not look at each;
what many of them have in common comes up as a topic (R73)."""

_SHORT = 4
"""Words below which one telling word is too little to say what a text is about."""
_MASKED = {"redacted"}
"""The one mask that is a word."""

CAUSE_SURE = 0.5
"""Below this no cause is named: a wrong one sends an improvement to the wrong place. On the generated year's first 60 days, of the
texts that name a cause 84.7 % get it and 7.3 % another; without the bar 86.9 and 11.7, and one text in four that names none got
one more than now."""
UNUSUAL_SURE = 0.9
"""The same for a cause that the rulebook does not list under the motive, where it lists some: words it shares with others by chance
("my case", "once more") named such a cause in 19.5 % of the texts that name none, and in 2.4 % now; no right one was lost."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What the coder needs of an interaction."""

    text: str | None
    occurred_at: datetime
    language: str | None = None
    declared_motive: str | None = None
    kind: Kind = Kind.UNKNOWN
    touchpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One coding: what `lazo.interaction.classified` says beside the interaction's own dimensions."""

    motive: str
    cause: str
    confidence: float
    review: bool
    kind: Kind = Kind.UNKNOWN
    follows: Follows = field(default_factory=Follows)
    need: str | None = None
    language: str | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    precedents: tuple[Precedent, ...] = ()
    unknown_because: str | None = None
    cautions: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    """The words it was read in, folded: for precedents and topics; never part of the event."""

    @property
    def procedure(self) -> str | None:
        return self.follows.procedure


@dataclass(frozen=True, slots=True)
class _Reading:
    plain: Plain
    words: list[str]
    language: str | None
    found: list[int]
    scores: Scores
    cautions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A motive's place, or −1 for none; `unknown`: the share of none where models were heard; `model`: whose word changed it."""

    place: int
    confidence: float
    unknown: float = 0.0
    model: str | None = None


class Coder:
    """A compiled rulebook. Compiling takes tens of milliseconds, coding a text tens of microseconds."""

    def __init__(self, rulebook: Rulebook, version: int, model: Model | None = None) -> None:
        self.rulebook, self.version, self.model = rulebook, version, model
        self.model_version = f"{MODEL}@{version}" + (f"+{model.version}" if model is not None else "")
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
        self.consequences = Consequences(rulebook)
        place = {cause.code: index for index, cause in enumerate(self.causes)}
        self._usual = np.zeros((len(self.motives), len(self.causes)))
        self._cause_bars = np.full((len(self.motives), len(self.causes)), CAUSE_SURE)
        for index, motive in enumerate(self.motives):
            for code in motive.causes:
                if code in place:
                    self._usual[index, place[code]] = USUAL
            if motive.causes:
                self._cause_bars[index, self._usual[index] == 0] = UNUSUAL_SURE

    @cached_property
    def _declared(self) -> dict[str, str]:
        """Codes and names, folded, of every motive: what a contact centre may declare."""
        known: dict[str, str] = {}
        for motive in sorted(self.rulebook.motives, key=lambda motive: bool(motive.becomes)):
            # A contact centre goes on declaring a code after it was renamed or merged; one that was split says too little.
            code = self.rulebook.now_called("motives", motive.code)
            if code is not None:
                for name in (motive.code, *motive.name.values()):
                    known.setdefault(" ".join(words(name)), code)
        return known

    def listening_to(self, model: Model | None) -> "Coder":
        """The same rulebook compiled, with what was learnt from people beside it."""
        other = copy(self)
        other.model = model
        other.model_version = f"{MODEL}@{self.version}" + (f"+{model.version}" if model is not None else "")
        return other

    def code(self, contact: Contact) -> Decision:
        """The decision about one contact. The same contact under the same rulebook and model is always decided alike."""
        return self.code_many([contact])[0]

    def code_many(self, contacts: Iterable[Contact]) -> list[Decision]:
        given = list(contacts)
        readings = [self._read(contact) for contact in given]
        voices: list[Sequence[Voice]] = [()] * len(given)
        if self.model is not None:
            # Nobody is asked about a language that the rulebook is not written in.
            asked = [at for at, one in enumerate(readings) if one.words and "language" not in one.cautions]
            for at, said in zip(asked, self.model.voices([readings[at].plain.text for at in asked]), strict=True):
                voices[at] = said
        return [
            self._decide(contact, reading, said) for contact, reading, said in zip(given, readings, voices, strict=True)
        ]

    def ranked(self, contact: Contact, most: int) -> list[tuple[str, str, float, tuple[Evidence, ...]]]:
        """The likeliest motives by words and models together, each with its cause, its share and the words that say so."""
        reading, cut = self._read(contact), len(self.motives)
        day = self.consequences.day_of(contact.occurred_at)
        said: Sequence[Voice] = ()
        if self.model is not None and reading.words and "language" not in reading.cautions:
            said = self.model.voices([reading.plain.text])[0]
        scores = _standing(reading.scores[:cut], self._motive_ends, day)
        if not cut or not (said or scores.max() > 0):
            return []
        chances = pooled(_logs(scores, _floor(contact.kind)), said)
        found = []
        for index in np.argsort(-chances[:cut], kind="stable")[:most].tolist():
            why = self._cause(reading.scores[cut:], index, day, said)[0]
            evidence = tuple(self._evidence(reading.language, reading.found, index))
            cause = self.causes[why].code if why >= 0 else UNKNOWN
            found.append((self.motives[index].code, cause, round(float(chances[index]), 4), evidence))
        return found

    def _decide(self, contact: Contact, reading: _Reading, voices: Sequence[Voice]) -> Decision:
        cut = len(self.motives)
        day = self.consequences.day_of(contact.occurred_at)
        kind, kind_confidence = kind_of(contact.kind, reading.words)
        chosen = self._weighed(_standing(reading.scores[:cut], self._motive_ends, day), _floor(contact.kind), voices)
        motive, confidence, decided_by, contradicted = self._motive(contact, chosen, day)
        model = chosen.model if decided_by == "model" else None
        parts = {"kind": _part("rule", kind_confidence)}
        need = need_of(reading.words)
        if need is not None:
            parts["need"] = _part("rule", need[1])
        learnt = chosen.unknown if decided_by == "model" or voices else 0.0
        code = why_code = UNKNOWN
        evidence: list[Evidence] = []
        if motive is None:
            confidence, asked = learnt, kind not in _MAY_FIT_NOTHING and learnt < REVIEW_BELOW
            parts["motive"] = _part(decided_by, round(learnt, 4), model)
        else:
            code, index = motive.code, self._place.get(motive.code, -1)
            evidence = self._evidence(reading.language, reading.found, index) if index >= 0 else []
            why, cause_confidence, by = self._cause(reading.scores[cut:], index, day, voices)
            parts["motive"] = _part(decided_by, round(confidence, 4), model)
            if why >= 0:
                why_code = self.causes[why].code
                evidence += self._evidence(reading.language, reading.found, cut + why, most=3)
                parts["cause"] = _part(by, round(cause_confidence, 4))
            asked = confidence < REVIEW_BELOW or "mixed" in reading.cautions or "instruction" in reading.cautions
        return Decision(
            code,
            why_code,
            round(confidence, 4),
            review=asked or contradicted,
            kind=kind,
            follows=self.consequences.of(code, why_code, contact.occurred_at, kind, contact.touchpoint),
            need=need[0] if need is not None else None,
            language=reading.language,
            parts=parts,
            evidence=tuple(evidence),
            unknown_because=_why_unknown(reading) if motive is None else None,
            cautions=reading.cautions,
            read=tuple(reading.words),
        )

    def _weighed(self, scores: Scores, floor: float, voices: Sequence[Voice]) -> _Chosen:
        """The likeliest motive by the words, and by all together where models were heard."""
        if not len(scores):
            return _Chosen(-1, 0.0)
        if not voices:
            return _Chosen(*_first(_softmax(scores, floor)))
        logs = _logs(scores, floor)
        best, _ = _first(np.exp(logs[:-1]))
        together = pooled(logs, voices)
        first, certain = _first(together[:-1])
        if first == best:
            return _Chosen(first, certain, float(together[-1]))
        return _Chosen(first, certain, float(together[-1]), telling(voices, first, best).name)

    def _read(self, contact: Contact) -> _Reading:
        """The language read in, the features found and the score of every entry; and what made the text hard to judge."""
        nothing = np.zeros(len(self._codes))
        text = contact.text or ""
        own = plain(text) if text else Plain("")
        listed = folded(own.text)
        cautions = [
            name
            for name, there in (("long", own.long), ("quoted", own.quoted), ("instruction", own.instruction))
            if there
        ]
        if not set(listed) - _MASKED and only_masks(own.text):
            return _Reading(own, [], contact.language, [], nothing, (*cautions, "masked"))
        if not listed:
            # Letters that are none of ours (Greek, Chinese …) are a language that cannot be read, not an empty text.
            foreign = any(character.isalpha() and not character.isascii() for character in own.text)
            return _Reading(own, [], contact.language, [], nothing, (*cautions, "language" if foreign else "empty"))
        declared = (contact.language or "")[:2].lower()
        seen = guess_language(listed)
        if seen is not None and seen not in self.lexicons:
            return _Reading(own, listed, seen, [], nothing, (*cautions, "language"))
        guessed = seen or declared
        mixed = len(self.lexicons) > 1 and seen is None and is_mixed(listed)
        candidates = [guessed] if guessed in self.lexicons and not mixed else list(self.lexicons)
        best: tuple[str | None, list[int], Scores] = (None, [], nothing)
        together = nothing
        for language in candidates:
            lexicon = self.lexicons[language]
            found = lexicon.find(listed)
            scores = lexicon.weights[found].sum(axis=0, dtype=np.float64) if found else nothing
            together = np.maximum(together, scores)
            if best[0] is None or scores.max(initial=0.0) > best[2].max(initial=0.0):
                best = (language, found, scores)
        read_in, found, scores = best
        if mixed:
            cautions.append("mixed")
            scores = together
        if guessed and guessed not in self.lexicons and guessed not in STOPWORDS:
            read_in = guessed
        stop = STOPWORDS.get(read_in or "", frozenset())
        if len(listed) < _SHORT and sum(word not in stop for word in listed) < 2:
            cautions.append("short")
        return _Reading(own, listed, read_in, found, scores, tuple(cautions))

    def _motive(self, contact: Contact, chosen: _Chosen, day: date) -> tuple[Motive | None, float, str, bool]:
        """The motive, how sure, who decided, and whether something speaks against it."""
        read = self.motives[chosen.place] if chosen.place >= 0 else None
        confidence, who = chosen.confidence, "rule" if chosen.model is None else "model"
        declared = self._declared.get(" ".join(words(contact.declared_motive))) if contact.declared_motive else None
        if declared is None:
            return read, confidence, who, False
        if not self.rulebook.motive_by_code[declared].stands(day):
            return read, confidence, who, True  # it was retired before the contact: a person should say what was meant
        motive = self.rulebook.motive_by_code[declared]
        if read is None or declared in self.rulebook.line(read.code):
            # A heading was declared and the words are about something under it: the words are the finer answer.
            return (read or motive), max(DECLARED, confidence), who if read is not None else "rule", False
        if confidence >= REVIEW_BELOW:
            return motive, 1.0 - confidence / 2, "rule", True
        return motive, DECLARED, "rule", False

    def _cause(self, scores: Scores, motive: int, day: date, voices: Sequence[Voice]) -> tuple[int, float, str]:
        """The cause's place, how sure, and who decided."""
        if not len(scores):
            return -1, 0.0, "rule"
        usual = self._usual[motive] if motive >= 0 else 0.0
        raised = np.where(scores > 0, scores + usual, -np.inf)
        best, share = _first(_softmax(_standing(raised, self._cause_ends, day), CAUSE_FLOOR), 0.0)
        if best >= 0 and share < (self._cause_bars[motive, best] if motive >= 0 else CAUSE_SURE):
            best, share = -1, 0.0
        said = causes_by_models(voices, motive)
        if said is None:
            return best, share, "rule"
        said = np.where(np.isfinite(_standing(np.zeros(len(scores)), self._cause_ends, day)), said, 0.0)
        first = int(np.argmax(said))
        if said[first] < CAUSE_SURE or said[first] <= share:
            return best, share, "rule"
        return first, float(said[first]), "rule" if first == best else "model"

    def _evidence(self, language: str | None, found: Sequence[int], entry: int, most: int = 5) -> list[Evidence]:
        lexicon = self.lexicons.get(language or "")
        if lexicon is None:
            return []
        weights: dict[str, float] = {}
        for feature, weight in zip(found, lexicon.weights[found, entry].tolist(), strict=True):
            if weight and (term := lexicon.terms.get((feature, entry))) is not None:
                weights[term] = weights.get(term, 0.0) + weight
        ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:most]
        return [_told(self._codes[entry], term, round(weight, 3)) for term, weight in ranked]


@lru_cache(maxsize=50_000)
def _told(code: str, term: str, weight: float) -> Evidence:
    """Checked once and shared, as it cannot change: eight of them a text took a seventh of all coding."""
    return Evidence(code=code, term=term, weight=weight)


@lru_cache(maxsize=50_000)
def _part(decided_by: str, confidence: float, model_version: str | None = None) -> Part:
    return Part(decided_by=decided_by, confidence=confidence, model_version=model_version)


def _why_unknown(reading: _Reading) -> str:
    for reason in ("empty", "masked", "language", "short"):
        if reason in reading.cautions:
            return reason
    return "no_match"


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


def _floor(kind: Kind) -> float:
    return FLOOR_OF_PROBLEMS if kind in _PROBLEMS else FLOOR


def _logs(scores: Scores, floor: float) -> Scores:
    """Log-probabilities, that of the competitor "unknown" last."""
    logs = np.empty(len(scores) + 1)
    logs[:-1], logs[-1] = scores, floor
    logs *= SLOPE
    logs -= logs.max()
    logs -= np.log(np.exp(logs).sum())
    return logs


def _first(chances: Scores, least: float = LEAST) -> tuple[int, float]:
    """The likeliest place; −1 where "unknown" is likelier, or too little speaks for any."""
    best = int(np.argmax(chances))
    if chances[best] <= max(_unknown_share(chances), least):
        return -1, 0.0
    return best, float(chances[best])


def _unknown_share(chances: Scores) -> float:
    """The probability the competitor "unknown" was left with."""
    return 1.0 - float(chances.sum())

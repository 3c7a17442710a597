"""The best codes for a text, with what speaks for each: what a person chooses among."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from libs.events.catalogue.classifications import Evidence
from services.classification.domain.coder import CAUSE_FLOOR, FLOOR, SLOPE, USUAL, Coder, Contact
from services.classification.domain.normalise import folded, guess_language, plain
from services.classification.domain.rulebook import UNKNOWN


@dataclass(frozen=True, slots=True)
class Candidate:
    """A motive, the cause that goes best with it, how likely the motive is, and the rulebook's terms that say so."""

    motive: str
    cause: str
    confidence: float
    evidence: tuple[Evidence, ...] = ()


TELLING = 0.5
"""Weight from which a term is a reason. "Valor no coincide" shares its *no* with half of all complaints (weight 0.1); shown as
the reason for a motive at 2 %, it made people doubt the other reasons."""


class Proposer(Protocol):
    """Whoever can rank the motives for a text: the words of the rulebook here, a fitted classifier elsewhere."""

    def best(self, coder: Coder, contact: Contact, most: int) -> list[Candidate]:
        """At most `most` candidates, likeliest first; none where nothing speaks for any."""


class ByWords:
    """Ranks by the rulebook's words, with the coder's own scores and softmax; by all together where models were learnt."""

    def best(self, coder: Coder, contact: Contact, most: int = 3) -> list[Candidate]:
        """See Proposer."""
        if coder.model is not None:
            return [Candidate(*one) for one in coder.ranked(contact, most)]
        cut = len(coder.motives)
        listed = folded(plain(contact.text or "").text)
        if not listed or not cut:
            return []
        guessed = guess_language(listed) or (contact.language or "")[:2].lower()
        languages = [guessed] if guessed in coder.lexicons else list(coder.lexicons)
        read = [(coder.lexicons[language], coder.lexicons[language].find(listed)) for language in languages]
        lexicon, found = max(read, key=lambda one: float(one[0].weights[one[1]].sum(axis=0).max(initial=0.0)))
        scores = lexicon.weights[found].sum(axis=0, dtype=np.float64)
        day = coder.consequences.day_of(contact.occurred_at)
        for index, entry in enumerate([*coder.motives, *coder.causes]):
            if not entry.stands(day):
                scores[index] = 0.0
        powers = np.exp(SLOPE * (scores[:cut] - FLOOR))
        chances = powers / (powers.sum() + 1.0)
        order = [int(index) for index in np.argsort(-scores[:cut], kind="stable") if scores[index] > 0][:most]
        candidates = []
        for index in order:
            motive = coder.motives[index]
            cause = _cause(coder, scores[cut:], motive.causes)
            evidence = _evidence(lexicon.terms, lexicon.weights, found, index, motive.code)
            candidates.append(Candidate(motive.code, cause, round(float(chances[index]), 4), evidence))
        return candidates


def _cause(coder: Coder, scores: np.ndarray, usual: Sequence[str]) -> str:
    if not len(scores):
        return UNKNOWN
    raised = [
        score + USUAL if score > 0 and cause.code in usual else score
        for score, cause in zip(scores, coder.causes, strict=True)
    ]
    best = int(np.argmax(raised))
    return coder.causes[best].code if raised[best] > CAUSE_FLOOR else UNKNOWN


def _evidence(
    terms: dict[tuple[int, int], str], weights: np.ndarray, found: Sequence[int], entry: int, code: str, most: int = 5
) -> tuple[Evidence, ...]:
    summed: dict[str, float] = {}
    for feature in found:
        if (term := terms.get((feature, entry))) is not None:
            summed[term] = summed.get(term, 0.0) + float(weights[feature, entry])
    told = [item for item in summed.items() if item[1] >= TELLING]
    ranked = sorted(told, key=lambda item: (-item[1], item[0]))[:most]
    return tuple(Evidence(code=code, term=term, weight=round(weight, 3)) for term, weight in ranked)

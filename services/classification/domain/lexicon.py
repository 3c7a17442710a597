"""The rulebook's words as numbers: which word or pair of words speaks for which motive and cause, and how strongly.

A term adds its stems and its pairs of neighbouring stems. What weighs is the inverse document frequency over the rulebook's
own entries (Spärck Jones 1972): a word under one motive tells it, a word under ten tells little.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.classification.domain.normalise import STOPWORDS, stem, words
from services.classification.domain.rulebook import Cause, Motive

# How much a word weighs by where it stands. Terms are the agreed vocabulary; a description is prose about it.
_TERM, _NAME, _EXAMPLE, _DESCRIPTION = 1.0, 0.8, 0.5, 0.3
_PAIR = 1.6
"""A pair of neighbouring stems against one stem: "no llega" against "llega"."""
_CACHE = 200_000

Feature = str | tuple[str, str]


@dataclass(slots=True)
class _Source:
    weight: float
    term: str


@dataclass(slots=True)
class Lexicon:
    """One language's words. `weights[feature, entry]`; entries stand in the order they were given."""

    language: str
    features: dict[Feature, int]
    weights: npt.NDArray[np.float32]
    terms: dict[tuple[int, int], str]
    vocabulary: frozenset[str]
    near: dict[str, str]
    _resolved: dict[str, str | None] = field(default_factory=dict)

    def find(self, folded: Sequence[str]) -> list[int]:
        """The features a text has (each once), by its folded words; typing errors of one letter are forgiven."""
        stop = STOPWORDS.get(self.language, frozenset())
        resolved, features = self._resolved, self.features
        sequence: list[str | None] = []
        for word in folded:
            if word in stop:
                continue
            if word not in resolved:
                if len(resolved) > _CACHE:
                    resolved.clear()
                resolved[word] = self._resolve(word)
            sequence.append(resolved[word])
        found: dict[int, None] = {}
        last: str | None = None
        before: str | None = None
        for current in sequence:
            if current is not None:
                if (number := features.get(current)) is not None:
                    found[number] = None
                if last is not None and (number := features.get((last, current))) is not None:
                    found[number] = None
                if before is not None and (number := features.get((before, current))) is not None:
                    found[number] = None  # one word may stand between: "no me llega nunca la factura"
            before, last = last, current
        return list(found)

    def _resolve(self, word: str) -> str | None:
        root = stem(word, self.language)
        if root in self.vocabulary:
            return root
        if len(root) < 5:
            return None
        for variant in (root, *_deletions(root)):
            if (known := self.near.get(variant)) is not None and _one_edit(root, known):
                return known
        return None


def build(entries: Sequence[Motive | Cause], language: str) -> Lexicon:
    """Compile the entries' words of one language."""
    sources: dict[tuple[Feature, int], _Source] = {}
    for number, entry in enumerate(entries):
        for text, weight in _texts(entry, language):
            for feature, share in _features(text, language):
                weighed = weight * share
                held = sources.get((feature, number))
                if held is None or weighed > held.weight:
                    sources[feature, number] = _Source(weighed, text)
    document_frequency: dict[Feature, int] = {}
    for feature, _ in sources:
        document_frequency[feature] = document_frequency.get(feature, 0) + 1
    features = {feature: number for number, feature in enumerate(sorted(document_frequency, key=str))}
    weights = np.zeros((len(features) + 1, len(entries)), dtype=np.float32)
    terms: dict[tuple[int, int], str] = {}
    for (feature, number), source in sources.items():
        idf = math.log((len(entries) + 1) / (document_frequency[feature] + 0.5))
        weights[features[feature], number] = source.weight * idf
        terms[features[feature], number] = source.term
    vocabulary = frozenset(
        part for feature in features for part in ((feature,) if isinstance(feature, str) else feature)
    )
    near: dict[str, str] = {}
    for known in sorted(vocabulary):
        if len(known) >= 5:
            near.setdefault(known, known)
            for variant in _deletions(known):
                near.setdefault(variant, known)
    return Lexicon(language, features, weights, terms, vocabulary, near)


def _texts(entry: Motive | Cause, language: str) -> Iterator[tuple[str, float]]:
    yield from ((term, _TERM) for term in entry.terms.get(language, ()))
    if name := entry.name.get(language):
        yield name, _NAME
    yield from ((example, _EXAMPLE) for example in entry.examples.get(language, ()))
    if description := entry.description.get(language):
        yield description, _DESCRIPTION


def _features(text: str, language: str) -> Iterator[tuple[Feature, float]]:
    stop = STOPWORDS.get(language, frozenset())
    telling = [stem(word, language) for word in words(text) if word not in stop]
    # A word alone out of a long phrase tells less of it: "me dejaron esperando al técnico" is not about waiting.
    share = 1.0 if len(telling) == 1 else 0.6
    for root in telling:
        yield root, share
    for pair in itertools.pairwise(telling):
        yield pair, _PAIR


def _one_edit(one: str, other: str) -> bool:
    """Whether one letter added, left out or changed, or two neighbours changed over, lead from one to the other. A common form
    with one letter left out of each is not enough: "atenc(ión)" and "anten(a)" have one and are two edits apart."""
    if len(one) != len(other):
        longer, shorter = (one, other) if len(one) > len(other) else (other, one)
        return len(longer) == len(shorter) + 1 and shorter in _deletions(longer)
    differing = [place for place in range(len(one)) if one[place] != other[place]]
    if len(differing) == 2:
        first, second = differing
        return second == first + 1 and one[first] == other[second] and one[second] == other[first]
    return len(differing) < 2


def _deletions(word: str) -> Iterable[str]:
    """The word with one letter left out: two words one edit apart share such a form (Garbe's symmetric delete)."""
    return (word[:place] + word[place + 1 :] for place in range(len(word)))

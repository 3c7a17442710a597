"""How alike two texts are: for precedents beside a decision, and for deciding several of a kind after one look."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from services.classification.domain.normalise import STOPWORDS, words

_LONGEST = 400
"""Words of a text that are compared; what a mail quotes below its answer says little about the answer."""


def likeness(text: str, others: Sequence[str]) -> list[float]:
    """Cosine of each of the others with the text, 0 to 1, over stems' words and pairs of neighbours.

    Weights are 1 + ln(count), times the inverse document frequency among all texts given (Spärck Jones 1972, smoothed): what all
    of them say tells nothing. Nothing is kept: texts are compared in the clear only while somebody is looking.
    """
    grams = [_grams(one) for one in (text, *others)]
    frequency = Counter(gram for found in grams for gram in found)
    vectors = [
        {gram: (1 + math.log(count)) * (1 + math.log(len(grams) / frequency[gram])) for gram, count in found.items()}
        for found in grams
    ]
    norms = [math.sqrt(sum(weight * weight for weight in vector.values())) for vector in vectors]
    one, own = vectors[0], norms[0]
    result = []
    for vector, norm in zip(vectors[1:], norms[1:], strict=True):
        shared = sum(weight * vector[gram] for gram, weight in one.items() if gram in vector)
        result.append(min(shared / (own * norm), 1.0) if own and norm else 0.0)
    return result


def _grams(text: str) -> Counter[str]:
    stop = STOPWORDS.get("es", frozenset()) | STOPWORDS.get("en", frozenset())
    telling = [word for word in words(text)[:_LONGEST] if word not in stop]
    return Counter([*telling, *(" ".join(pair) for pair in itertools.pairwise(telling))])

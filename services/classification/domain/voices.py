"""What learnt models say beside the rulebook's words, and how all of them become one decision.

Log-linear pooling (Genest & Zidek 1986): the log-probabilities add up, the rulebook's with weight 1, the on-line learner's
with `online_weight`, the fitted model's with `FITTED`. Measured on the generated year (a third of its texts, 300 corrections
from its first 60 days' review queue, five a day): words alone 92.4 % right, 28 % below `REVIEW_BELOW`; with the learner 99.1 %
and 0.4 %, with a fitted model as well 99.4 % and nothing. On BANKING77 as a rulebook of names alone, in which words are worth
little (32 %): 300, 1,500 and 4,000 corrections give 65, 81 and 88 %, and 84.5 % from 1,500 on with a fitted model. Weights that
were fitted on the corrections themselves lost two points on the year: corrections come from the review queue, where words are
at their worst, and say nothing about the texts on which words are right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]

_COUNTED = re.compile(r"online@\d+")

HALF = 300
"""Corrections from which on the learner weighs half of what the words do. Earlier it misleads: started from the rulebook's own
words it is right about 64 % of the year's texts, and with weight ½ takes the words' 92 % down to 89."""
FITTED = 0.5
"""With 1 a model fitted on the queue's texts alone took the year's 97.9 % down to 93.6; with ½ and sure decisions beside the
corrections (`fit.SURE`) there is no such loss."""

HEARD = 0.25
"""Weight from which on models may name a cause: a hundred corrections."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One model about one text. Log-probabilities by place: `motives` of the coder's motives with unknown last, `causes` of its
    causes; `usual`: log of how much likelier each cause is under each motive than among all (motives x causes)."""

    name: str
    weight: float
    motives: Scores
    causes: Scores | None = None
    usual: Scores | None = None


class Model(Protocol):
    """Whatever was learnt from people, asked beside the words. Pure: the same texts get the same voices."""

    @property
    def version(self) -> str: ...

    def voices(self, texts: Sequence[str]) -> Sequence[Sequence[Voice]]:
        """By text who has something to say about it; nobody where none can judge it."""


def family(model_version: str) -> str:
    """A coder's version without how much its learner had learnt: `words-3@1+online+svm@…`."""
    return _COUNTED.sub("online", model_version)


def online_weight(learnt: int) -> float:
    """The learner's weight beside the words after so many corrections."""
    return learnt / (learnt + HALF)


def pooled(words: Scores, voices: Sequence[Voice]) -> Scores:
    """The motives' shares, unknown last; `words`: their log-probabilities by the rulebook."""
    total = words.copy()
    for voice in voices:
        total += voice.weight * voice.motives
    return shares(total)


def causes_by_models(voices: Sequence[Voice], motive: int) -> Scores | None:
    """The causes' shares under a motive by the models alone; None while they weigh too little (`HEARD`) to name one.

    Words and models are not pooled here: few texts name their cause, and words that find none say nothing against one.
    """
    telling = [(voice, voice.causes) for voice in voices if voice.causes is not None]
    weight = sum(voice.weight for voice, _ in telling)
    if weight < HEARD:
        return None
    total = np.zeros(len(telling[0][1]))
    for voice, causes in telling:
        said = causes if voice.usual is None or motive < 0 else causes + voice.usual[motive]
        total += voice.weight / weight * said
    return shares(total)


def telling(voices: Sequence[Voice], chosen: int, instead: int) -> Voice:
    """Whose word counted most for the one motive against the other."""
    return max(voices, key=lambda voice: voice.weight * float(voice.motives[chosen] - voice.motives[instead]))


def shares(logs: Scores) -> Scores:
    """Softmax; what cannot be (−∞) gets nothing."""
    powers = np.exp(logs - logs.max())
    found: Scores = powers / powers.sum()
    return found

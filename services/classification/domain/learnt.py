"""A fitted classifier as the coder asks for one: motive and cause of a text, and whether it would rather be asked."""

from collections.abc import Sequence

from services.classification.domain.classifier.hierarchy import Hierarchy
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.coder import Guess
from services.classification.domain.rulebook import UNKNOWN


class Learnt:
    """`version` stands in every decision it had a hand in."""

    def __init__(self, version: str, hierarchy: Hierarchy, encoder: Encoder | None = None) -> None:
        self.version = version
        self._hierarchy, self._encoder = hierarchy, encoder

    def guess(self, texts: Sequence[str]) -> list[Guess]:
        """One guess a text, in order; none where the model says that it cannot judge the text."""
        found = []
        for coded in self._hierarchy.judge(texts, self._encoder):
            motive = coded.motive
            if motive.label == UNKNOWN or motive.problem is not None:
                found.append(Guess(None))
                continue
            cause = None if coded.cause == UNKNOWN else coded.cause
            found.append(Guess(motive.label, motive.confidence, motive.review, cause, coded.cause_confidence))
        return found

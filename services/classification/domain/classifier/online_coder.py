"""Motive and cause learnt from one correction at once: two on-line heads over one reading of the text."""

from collections.abc import Mapping, Sequence

import numpy as np

from services.classification.domain.classifier.calibrate import Doubles
from services.classification.domain.classifier.hierarchy import CAUSE_SURE, Coded
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.classifier.model import UNKNOWN
from services.classification.domain.classifier.online import OnLine, Seen, scores_of
from services.classification.domain.classifier.text import prepare


class OnLineCoder:
    """Started from a rulebook's words; not safe to share between threads."""

    def __init__(
        self, motives: Mapping[str, Sequence[str]], causes: Mapping[str, Sequence[str]], encoder: Encoder | None
    ) -> None:
        """By code its names, descriptions, terms and examples, in every language. Raises ValueError without motives."""
        self.motive = OnLine(motives, encoder)
        self.cause = OnLine(causes, encoder) if causes else None
        if self.cause is not None:
            # One table for both, so that a text's rows of it are gathered once; each head learns in its own columns.
            self._words = np.hstack([self.motive.words, self.cause.words])
            cut = len(self.motive.labels)
            self.motive.words, self.cause.words = self._words[:, :cut], self._words[:, cut:]
        self._motive_place = {code: place for place, code in enumerate(self.motive.labels)}
        self._cause_place = {code: place for place, code in enumerate(self.cause.labels)} if self.cause else {}
        self._seen = np.ones((len(self._motive_place), len(self._cause_place)))

    def learn(self, text: str, motive: str, cause: str = UNKNOWN) -> bool:
        """One correction; `unknown` teaches nothing about its half, unless it was given as a motive with no words.
        False when nothing was learnt from it.

        Codes this learner was not started with (a newer rulebook's) teach nothing: it is started again with that rulebook.
        """
        item = prepare(text)
        if item.problem is not None:
            return False
        about_motive, about_cause = motive in self._motive_place, cause in self._cause_place
        if not about_motive and not about_cause:
            return False
        seen = self.motive.features([item])[0]
        if about_motive:
            self.motive.take(seen, motive)
        if about_cause and self.cause is not None:
            self.cause.take(seen, cause)
        if about_motive and about_cause:
            self._seen[self._motive_place[motive], self._cause_place[cause]] += 1
        return True

    def usual(self) -> Doubles:
        """How much likelier each cause is under each motive than among all, by the corrections seen (motives x causes)."""
        within = self._seen / self._seen.sum(axis=1, keepdims=True)
        found: Doubles = within / (self._seen.sum(axis=0) / self._seen.sum())
        return found

    def chances(self, seen: Sequence[Seen]) -> tuple[Doubles, Doubles | None]:
        """The probabilities of motive and cause by text, as either head gives them."""
        if self.cause is None:
            return self.motive.chances(seen), None
        both, cut = scores_of(seen, self._words), len(self.motive.labels)
        return self.motive.chances(seen, both[:, :cut]), self.cause.chances(seen, both[:, cut:])

    def judge(self, texts: Sequence[str]) -> list[Coded]:
        """One coding per text, in order."""
        items = [prepare(text) for text in texts]
        if not items:
            return []
        seen = self.motive.features(items)
        said, why = self.chances(seen)
        motives = self.motive.judged(items, said)
        if self.cause is None or why is None:
            return [Coded(item, UNKNOWN, 0.0) for item in motives]
        usual = self.usual()
        found = []
        for item, chances in zip(motives, why, strict=True):
            if item.label == UNKNOWN:
                found.append(Coded(item, UNKNOWN, 0.0))
                continue
            weighed = chances * usual[self._motive_place[item.label]]
            weighed /= weighed.sum()
            best = int(weighed.argmax())
            sure = float(weighed[best])
            found.append(Coded(item, self.cause.labels[best] if sure >= CAUSE_SURE else UNKNOWN, sure))
        return found

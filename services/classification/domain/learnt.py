"""What was learnt from people, as the coder hears it: the on-line learner and the fitted model as voices over its codes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier.grams import Floats, Grams, grams
from services.classification.domain.classifier.hierarchy import Hierarchy
from services.classification.domain.classifier.linear import Linear
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.classifier.online_coder import OnLineCoder
from services.classification.domain.classifier.text import Prepared, prepare
from services.classification.domain.classifier.vocabulary import slices
from services.classification.domain.rulebook import UNKNOWN
from services.classification.domain.voices import FITTED, HEARD, Scores, Voice, online_weight

RARE = 1e-4
"""What no model can exclude further: a fitted model's scores run away on easy texts, and one voice must not silence the rest."""
AT_ONCE = 16_000
"""Characters of texts that are taken to grams together: what they need stays in the processor's cache, and no single step of
numpy's, in which no other thread gets the interpreter, takes more than a millisecond."""
BLIND = 1.0
"""A code a model has never met is as likely as what it expects of itself (its own entropy), and a little less: it may be right,
and the other voices say whether it is."""


@dataclass(frozen=True, slots=True)
class Online:
    """The learner after `number` corrections of the log, of which `taught` taught it something."""

    coder: OnLineCoder
    number: int
    taught: int

    @property
    def name(self) -> str:
        return f"online@{self.number}"


class Fitted:
    """A fitted model under a rulebook that may be newer: `motive` and `cause` say what its codes are called there, or None."""

    def __init__(
        self,
        name: str,
        hierarchy: Hierarchy,
        motives: Sequence[str],
        causes: Sequence[str],
        motive: Callable[[str], str | None],
        cause: Callable[[str], str | None],
    ) -> None:
        self.name, self.hierarchy = name, _side_by_side(hierarchy)
        self._motives = _places(hierarchy.motive.labels, (*motives, UNKNOWN), motive)
        self._causes = _places(hierarchy.cause.labels, causes, cause) if hierarchy.cause is not None else None
        self._usual: Scores | None = None
        if self._causes is not None:
            weights = self._motives[:, :-1].T @ hierarchy.usual @ self._causes
            met = self._motives[:, :-1].sum(axis=0)[:, None] @ self._causes.sum(axis=0)[None, :]
            self._usual = np.where(met > 0, np.log(np.maximum(weights / np.maximum(met, 1), 1e-6)), 0.0)

    def voices(
        self, items: Sequence[Prepared], vectors: Floats | None, encoder: Encoder | None, found: Grams | None = None
    ) -> list[Voice | None]:
        """Its voice by text; None where it cannot judge one. `found`: the texts' grams, where the learner needed them too."""
        head = self.hierarchy.motive
        reading = head.read_prepared(items, encoder, vectors, found)
        said, why = self.hierarchy.probabilities(reading)
        motives = _logs(said, self._motives)
        causes = None if why is None or self._causes is None else _logs(why, self._causes)
        return [
            None
            if prepared.problem is not None or known < head.floor
            else Voice(self.name, FITTED, motives[at], None if causes is None else causes[at], self._usual)
            for at, (prepared, known) in enumerate(zip(reading.prepared, reading.rows.known, strict=True))
        ]


class Learnt:
    """A `voices.Model`. The on-line learner changes when it learns: whoever shares it between threads guards both."""

    def __init__(
        self,
        motives: Sequence[str],
        causes: Sequence[str],
        encoder: Encoder | None,
        online: Online | None,
        fitted: Fitted | None,
    ) -> None:
        self._encoder, self._online, self._fitted = encoder, online, fitted
        self.version = "+".join(one.name for one in (online, fitted) if one is not None)
        if online is not None:
            self._order = _order(online.coder.motive.labels, (*motives, UNKNOWN))
            self._cause_order = _order(online.coder.cause.labels, causes) if online.coder.cause is not None else None

    def voices(self, texts: Sequence[str]) -> list[list[Voice]]:
        """See `voices.Model`."""
        if not texts:
            return []
        items = [prepare(text) for text in texts]
        vectors = self._encoder.encode([item.plain for item in items]) if self._encoder is not None else None
        found: list[list[Voice]] = []
        for part in slices([item.folded for item in items], AT_ONCE):
            # Each text is taken to grams once, whoever listens.
            some, seen = items[part], vectors[part] if vectors is not None else None
            found += self._said(some, seen, grams([item.folded for item in some]))
        return found

    def _said(self, items: list[Prepared], vectors: Floats | None, read: Grams) -> list[list[Voice]]:
        found: list[list[Voice]] = [[] for _ in items]
        if self._online is not None:
            self._listen(self._online, items, vectors, read, found)
        if self._fitted is not None:
            for said, voice in zip(found, self._fitted.voices(items, vectors, self._encoder, read), strict=True):
                if voice is not None:
                    said.append(voice)
        return found

    def _listen(
        self, online: Online, items: list[Prepared], vectors: Floats | None, read: Grams, found: list[list[Voice]]
    ) -> None:
        weight = online_weight(online.taught)
        what, why = online.coder.chances(online.coder.motive.features(items, vectors, read))
        motives = np.log(what[:, self._order] + 1e-12)
        causes = usual = None
        # Heard about causes once people have named as many as its voice about motives takes: started from the rulebook's words it
        # named one in 314 of 3,000 texts after 230 corrections of which 24 had a cause, and was right in 14.
        told = online.coder.cause.learnt if online.coder.cause is not None else 0
        if why is not None and self._cause_order is not None and online_weight(told) >= HEARD:
            causes = np.log(why[:, self._cause_order] + 1e-12)
            usual = np.log(online.coder.usual())[np.ix_(self._order[:-1], self._cause_order)]
        for at, (item, said) in enumerate(zip(items, found, strict=True)):
            if item.problem is None:
                said.append(Voice(online.name, weight, motives[at], None if causes is None else causes[at], usual))


def _side_by_side(hierarchy: Hierarchy) -> Hierarchy:
    """The same with both heads' weights in one table, so that a text's rows of it are gathered once for both."""
    if hierarchy.cause is None:
        return hierarchy
    motive, cause = hierarchy.motive, hierarchy.cause
    table, cut = np.hstack([motive.words.weights, cause.words.weights]), len(motive.labels)
    return replace(
        hierarchy,
        motive=replace(motive, words=Linear(table[:, :cut], motive.words.bias)),
        cause=replace(cause, words=Linear(table[:, cut:], cause.words.bias)),
        joined=table,
    )


def _order(labels: Sequence[str], wanted: Sequence[str]) -> npt.NDArray[np.int64]:
    place = {label: at for at, label in enumerate(labels)}
    return np.array([place[label] for label in wanted], dtype=np.int64)


def _places(labels: Sequence[str], wanted: Sequence[str], called: Callable[[str], str | None]) -> Scores:
    """Which of the model's labels are which of the codes: labels x codes, 0 or 1."""
    place = {code: at for at, code in enumerate(wanted)}
    found = np.zeros((len(labels), len(wanted)))
    for row, label in enumerate(labels):
        code = UNKNOWN if label == UNKNOWN else called(label)
        if code in place:
            found[row, place[code]] = 1.0
    return found


def _logs(chances: Scores, places: Scores) -> Scores:
    """The log-probabilities over the coder's codes of rows over the model's labels."""
    logs: Scores = np.log(np.maximum(chances @ places, RARE))
    blind = places.sum(axis=0) == 0
    if blind.any():
        expected = (chances * np.log(np.maximum(chances, RARE))).sum(axis=1)
        logs[:, blind] = expected[:, None] - BLIND
    return logs

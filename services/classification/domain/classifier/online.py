"""Learning from one correction at once: a softmax over the encoder's vector and hashed grams, with replay.

Started from the labels' own names, so that it answers before the first correction. Each correction is learnt together with
some that were learnt before (else the newest would push the older ones out: McCloskey & Cohen 1989), chosen by a counter
through a fixed mixing function: the same corrections in the same order give the same weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier.calibrate import Doubles
from services.classification.domain.classifier.grams import Floats, Grams, grams
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.classifier.model import UNKNOWN, Judgement
from services.classification.domain.classifier.text import Prepared, prepare
from services.classification.domain.classifier.vocabulary import counted, rows_from

BUCKETS = 1 << 15
WORD_BUCKETS = 1 << 14
"""Words and pairs fall into these, pieces of words into the rest."""
REPLAY = 12
"""With 24 the accuracies are the same within their noise and a correction takes twice as long (3.9 ms against 1.7)."""
MEMORY = 4_000
"""Corrections kept for replay and precedents; beyond them a fair sample of all (12 MB)."""
SHARP = 12.0
"""Inverse temperature of the cosines with the labels' names."""
SHARP_WORDS = 4.0
STEP_MEANING = 3.0
STEP_WORDS = 1.0
NEAR = 20.0
NEAR_SHARE = 0.4
"""What precedents weigh: the labels' shares of exp(NEAR · (cosine − 1)). Half a point of accuracy from 10 corrections a label."""
SURE = 0.8
"""Below this confidence a person is asked while nothing better has been measured."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One text as features."""

    vector: Floats
    buckets: npt.NDArray[np.int64]
    values: Floats
    label: int = -1


class OnLine:
    """The learner's state. Not safe to share between threads: one owner learns, readers ask the owner."""

    def __init__(self, names: Mapping[str, Sequence[str]], encoder: Encoder | None) -> None:
        """`names`: by label what describes it (names in every language, examples). Raises ValueError without labels."""
        if not names:
            raise ValueError("no labels")
        self.labels = tuple(sorted(names))
        self._encoder = encoder
        self._place = {label: place for place, label in enumerate(self.labels)}
        self._memory: list[Seen] = []
        self._steps = 0
        texts = [(place, text) for label, place in self._place.items() for text in names[label]]
        items = [prepare(spoken(text)) for _, text in texts]
        seen = [replace(item, label=place) for item, (place, _) in zip(self.features(items), texts, strict=True)]
        width = len(seen[0].vector) if seen else 0
        self._meaning = np.zeros((width, len(self.labels)), dtype=np.float32)
        self.words = np.zeros((BUCKETS, len(self.labels)), dtype=np.float32)
        self._slots = np.zeros(BUCKETS, dtype=np.int32)
        self._vectors = np.zeros((0, width), dtype=np.float32)
        self._answers = np.zeros((0, len(self.labels)), dtype=np.float32)
        counts = np.bincount([item.label for item in seen], minlength=len(self.labels))
        for item, prepared in zip(seen, items, strict=True):
            if prepared.problem is None:
                share = np.float32(1 / counts[item.label])
                self._meaning[:, item.label] += item.vector * share * SHARP
                self.words[item.buckets, item.label] += item.values * share * SHARP_WORDS
        norms = np.linalg.norm(self._meaning, axis=0)
        self._meaning *= np.where(norms > 0, SHARP / np.maximum(norms, 1e-9), 1.0).astype(np.float32)

    @property
    def learnt(self) -> int:
        """How many corrections were learnt."""
        return self._steps

    def learn(self, text: str, label: str) -> None:
        """One correction, in effect at once. A text nobody can judge teaches nothing. Raises KeyError for another label."""
        if label not in self._place:
            raise KeyError(label)
        prepared = prepare(text)
        if prepared.problem is None:
            self.take(self.features([prepared])[0], label)

    def take(self, seen: Seen, label: str) -> None:
        """The same for a text that was already read, by this learner or by another with the same encoder."""
        newest = replace(seen, label=self._place[label])
        pool = len(self._memory)
        picked = [self._memory[_mixed(self._steps, turn) % pool] for turn in range(min(REPLAY, pool))]
        self._step([newest, *picked])
        # Reservoir sampling (Vitter 1985) by the same counter.
        at = pool if pool < MEMORY else _mixed(self._steps, REPLAY) % (self._steps + 1)
        if at < MEMORY:
            self._remember(newest, at)
        self._steps += 1

    def judge(self, texts: Sequence[str]) -> list[Judgement]:
        """One judgement per text, in order; the confidence is the softmax's own, looked over below `SURE`."""
        items = [prepare(text) for text in texts]
        if not items:
            return []
        return self.judged(items, self.chances(self.features(items)))

    def judged(self, items: Sequence[Prepared], chances: Doubles) -> list[Judgement]:
        """Judgements of texts that were already read."""
        found = []
        for item, row in zip(items, chances, strict=True):
            if item.problem is not None:
                found.append(Judgement(UNKNOWN, 0.0, review=True, problem=item.problem))
                continue
            order = np.argsort(-row, kind="stable")[:3]
            confidence = float(row[order[0]])
            rest = tuple((self.labels[place], float(row[place])) for place in order[1:])
            problem = "long" if item.long else None
            found.append(Judgement(self.labels[order[0]], confidence, confidence < SURE or item.long, problem, rest))
        return found

    def features(
        self, items: Sequence[Prepared], vectors: Floats | None = None, found: Grams | None = None
    ) -> list[Seen]:
        """Texts as features; encoding is most of the time it takes, unless their vectors are given. `found`: their grams, where
        another model needs them too."""
        if not items:
            return []
        if self._encoder is None:
            vectors = np.zeros((len(items), 0), dtype=np.float32)
        elif vectors is None:
            vectors = self._encoder.encode([item.plain for item in items])
        if found is None:
            found = grams([item.folded for item in items])
        cut = found.words + found.pairs
        places_of = np.concatenate(
            [
                found.keys[:cut] % np.uint64(WORD_BUCKETS),
                found.keys[cut:] % np.uint64(BUCKETS - WORD_BUCKETS) + np.uint64(WORD_BUCKETS),
            ]
        ).astype(np.int64)
        pairs, counts = counted(found.rows * BUCKETS + places_of, len(items) * BUCKETS)
        rows, buckets = np.divmod(pairs, BUCKETS)
        values = 1.0 + np.log(counts)
        half = rows * 2 + (buckets >= WORD_BUCKETS)
        norms = np.sqrt(np.bincount(half, values * values, minlength=2 * len(items)))
        values = (values / norms[half]).astype(np.float32)
        bounds = np.searchsorted(rows, np.arange(len(items) + 1)).tolist()
        return [
            Seen(vector, buckets[at:to], values[at:to])
            for vector, at, to in zip(vectors, bounds, bounds[1:], strict=False)
        ]

    def _chances(self, seen: Sequence[Seen], words: Floats | None = None) -> Doubles:
        scores = scores_of(seen, self.words) if words is None else words.copy()
        if self._meaning.shape[0]:
            scores += np.stack([item.vector for item in seen]) @ self._meaning
        scores -= scores.max(axis=1, keepdims=True)
        powers = np.exp(scores.astype(np.float64))
        chances: Doubles = powers / powers.sum(axis=1, keepdims=True)
        return chances

    def chances(self, seen: Sequence[Seen], words: Floats | None = None) -> Doubles:
        """The softmax's probabilities, moved towards the labels of the corrections that mean nearly the same. `words`: the
        texts' scores by words, where they were found together with another head's."""
        chances = self._chances(seen, words)
        count = len(self._memory)
        if not count or not self._vectors.shape[1]:
            return chances
        near = np.exp(NEAR * (np.stack([item.vector for item in seen]) @ self._vectors[:count].T - 1))
        votes = near @ self._answers[:count] + np.float32(1e-3)
        moved: Doubles = chances * votes.astype(np.float64) ** NEAR_SHARE
        moved /= moved.sum(axis=1, keepdims=True)
        return moved

    def _remember(self, item: Seen, at: int) -> None:
        if at < len(self._memory):
            self._memory[at] = item
        else:
            self._memory.append(item)
        if at >= len(self._vectors):
            more = max(256, len(self._vectors))
            self._vectors = np.vstack([self._vectors, np.zeros((more, self._vectors.shape[1]), dtype=np.float32)])
            self._answers = np.vstack([self._answers, np.zeros((more, len(self.labels)), dtype=np.float32)])
        self._vectors[at] = item.vector
        self._answers[at] = 0
        self._answers[at, item.label] = 1

    def _step(self, batch: Sequence[Seen]) -> None:
        """One gradient step of the log loss over the batch, summed.

        The batch's rows of the table are taken out once, scored, moved and put back, each bucket once however many of its texts
        fall into it: text by text it took 1.6 of the 2.9 ms of a correction with motive and cause, and takes a fraction of it.
        """
        found = np.concatenate([item.buckets for item in batch])
        # The different buckets without sorting them: each is written the place where it stands last, and read back.
        last = np.arange(len(found), dtype=np.int32)
        self._slots[found] = last
        standing = self._slots[found]
        kept = standing == last
        used, place = found[kept], (np.cumsum(kept) - 1)[standing]
        owner = np.repeat(np.arange(len(batch)), [len(item.buckets) for item in batch])
        spread = np.zeros((len(used), len(batch)), dtype=np.float32)
        spread[place, owner] = np.concatenate([item.values for item in batch])
        rows = self.words[used]
        wrong = self._chances(batch, spread.T @ rows).astype(np.float32)
        wrong[np.arange(len(batch)), [item.label for item in batch]] -= 1
        self._meaning -= (np.stack([item.vector for item in batch]).T @ wrong) * np.float32(STEP_MEANING)
        rows -= spread @ (wrong * np.float32(STEP_WORDS))
        self.words[used] = rows


def scores_of(seen: Sequence[Seen], table: Floats) -> Floats:
    """What the words of each text say: its values times its rows of the table (buckets x labels)."""
    scores = np.zeros((len(seen), table.shape[1]), dtype=np.float32)
    for row, item in enumerate(seen):
        np.dot(item.values, rows_from(table, item.buckets), out=scores[row])
    return scores


def spoken(name: str) -> str:
    """A code or a name as words: `card_arrival` and `CardArrival` read as people would write them."""
    words = name.replace("_", " ").replace("/", " ").replace("?", " ").strip()
    return words.lower() if words.isupper() or "_" in name else words


def _mixed(step: int, turn: int) -> int:
    """Numbers without pattern from a counter (splitmix64)."""
    value = (step * 0x9E3779B97F4A7C15 + (turn + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)

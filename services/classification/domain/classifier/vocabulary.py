"""The grams a model knows, and texts as weighted rows of them: TF-IDF with sublinear counts (Salton & Buckley 1988)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier.grams import Floats, Grams, Ints, Keys, grams

_TOP = np.uint64(1 << 63)
BATCH_CHARACTERS = 100_000
"""Texts are read in batches of about this many characters: some 30 MB of working memory."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Sparse rows: text i has features `columns[bounds[i]:bounds[i+1]]` with `values`; `known`: share of its words known."""

    bounds: Ints
    columns: npt.NDArray[np.int32]
    values: Floats
    known: Floats

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def dot(self, weights: npt.NDArray[np.floating]) -> Floats:
        """The rows times a (features x classes) matrix."""
        result = np.zeros((len(self), weights.shape[1]), dtype=np.float32)
        for row in range(len(self)):
            at, to = self.bounds[row], self.bounds[row + 1]
            if at < to:
                result[row] = self.values[at:to] @ weights[self.columns[at:to]]
        return result


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`keys` ascending, words below 2⁶³ and pieces of words above; `idf` beside them."""

    keys: Keys
    idf: Floats

    def rows(self, folded: Sequence[str]) -> Rows:
        """Folded texts as rows; each half (words, pieces) has length 1."""
        parts = [self._rows(grams(batch)) for batch in batches(folded)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            nothing = np.zeros(0, dtype=np.float32)
            return Rows(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32), nothing, nothing)
        shifts = np.cumsum([0, *(part.bounds[-1] for part in parts[:-1])])
        bounds = [part.bounds[1:] + shift for part, shift in zip(parts, shifts, strict=True)]
        return Rows(
            np.concatenate(([0], *bounds)).astype(np.int64),
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.known for part in parts]),
        )

    def _rows(self, found: Grams) -> Rows:
        size = len(self.keys)
        place = np.searchsorted(self.keys, found.keys)
        place[place == size] = 0
        hit = self.keys[place] == found.keys if size else np.zeros(len(place), dtype=bool)
        words = np.bincount(found.rows[: found.words], minlength=found.count)
        hits = np.bincount(found.rows[: found.words][hit[: found.words]], minlength=found.count)
        pairs, counts = np.unique(found.rows[hit] * max(size, 1) + place[hit], return_counts=True)
        rows, columns = np.divmod(pairs, max(size, 1))
        values = (1.0 + np.log(counts)) * self.idf[columns]
        half = rows * 2 + (columns >= np.searchsorted(self.keys, _TOP))
        norms = np.sqrt(np.bincount(half, values * values, minlength=2 * found.count))
        values = (values / norms[half]).astype(np.float32)
        bounds = np.searchsorted(rows, np.arange(found.count + 1))
        known = (hits / np.maximum(words, 1)).astype(np.float32)
        return Rows(bounds.astype(np.int64), columns.astype(np.int32), values, known)


def learn(folded: Sequence[str], most: int) -> Vocabulary:
    """The vocabulary of texts: all words and pairs, pieces that stand in two texts at least; the `most` frequent of them."""
    seen: list[Keys] = []
    for batch in batches(folded):
        found = grams(batch)
        order = np.lexsort((found.keys, found.rows))
        keys, rows = found.keys[order], found.rows[order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = (keys[1:] != keys[:-1]) | (rows[1:] != rows[:-1])
        seen.append(keys[first])
    every = np.concatenate(seen) if seen else np.zeros(0, dtype=np.uint64)
    keys, texts = np.unique(every, return_counts=True)
    kept = np.flatnonzero((texts >= 2) | (keys < _TOP)) if len(folded) > 50 else np.arange(len(keys))
    if len(kept) > most:
        kept = np.sort(kept[np.lexsort((keys[kept], -texts[kept]))[:most]])
    idf = np.log((1.0 + len(folded)) / (1.0 + texts[kept])) + 1.0
    return Vocabulary(keys[kept], idf.astype(np.float32))


def batches(folded: Sequence[str]) -> list[Sequence[str]]:
    """The texts in their order, cut where about `BATCH_CHARACTERS` are reached."""
    found: list[Sequence[str]] = []
    start = size = 0
    for index, text in enumerate(folded):
        size += len(text) + 1
        if size >= BATCH_CHARACTERS:
            found.append(folded[start : index + 1])
            start, size = index + 1, 0
    if start < len(folded):
        found.append(folded[start:])
    return found

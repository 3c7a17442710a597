"""The grams a model knows, and texts as weighted rows of them: TF-IDF with sublinear counts (Salton & Buckley 1988)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
        bounds = self.bounds.tolist()
        for row, (at, to) in enumerate(itertools.pairwise(bounds)):
            if at < to:
                np.dot(self.values[at:to], rows_from(weights, self.columns[at:to]), out=result[row])
        return result


@dataclass(frozen=True)
class Vocabulary:
    """`keys` ascending, words below 2⁶³ and pieces of words above; `idf` beside them."""

    keys: Keys
    idf: Floats

    def rows(self, folded: Sequence[str]) -> Rows:
        """Folded texts as rows; each half (words, pieces) has length 1."""
        parts = [self.rows_of(grams(batch)) for batch in batches(folded)]
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

    @cached_property
    def _leading(self) -> tuple[np.uint64, Ints, int]:
        """How far to shift a key for its first bits, where the keys with these bits begin, and how many share them at most."""
        bits = max(1, (4 * len(self.keys)).bit_length())
        shift = np.uint64(64 - bits)
        count = np.bincount((self.keys >> shift).astype(np.int64), minlength=1 << bits)
        return shift, (np.cumsum(count) - count).astype(np.int32), int(count.max(initial=0))

    def _places(self, keys: Keys) -> Ints:
        """Where each key stands, −1 for one that is not known. Keys are spread evenly, so that the first bits lead to within a
        few places of each: a tenth of what searching in halves takes."""
        shift, begins, most = self._leading
        found = np.full(len(keys), -1, dtype=np.int64)
        left, at = np.arange(len(keys)), begins[(keys >> shift).astype(np.int64)].astype(np.int64)
        for _ in range(most):
            inside = at < len(self.keys)
            left, at = left[inside], at[inside]
            held, sought = self.keys[at], keys[left]
            same = held == sought
            found[left[same]] = at[same]
            beyond = held < sought
            left, at = left[beyond], at[beyond] + 1
        return found

    def rows_of(self, found: Grams) -> Rows:
        """The same of grams that were found already, by the learner or another model."""
        size = max(len(self.keys), 1)
        place = self._places(found.keys)
        hit = place >= 0
        words = np.bincount(found.rows[: found.words], minlength=found.count)
        hits = np.bincount(found.rows[: found.words][hit[: found.words]], minlength=found.count)
        pairs, counts = counted(found.rows[hit] * size + place[hit], found.count * size)
        rows, columns = np.divmod(pairs, size)
        values = (1.0 + np.log(counts)) * self.idf[columns]
        half = rows * 2 + (columns >= np.searchsorted(self.keys, _TOP))
        norms = np.sqrt(np.bincount(half, values * values, minlength=2 * found.count))
        values = (values / norms[half]).astype(np.float32)
        bounds = np.searchsorted(rows, np.arange(found.count + 1))
        known = (hits / np.maximum(words, 1)).astype(np.float32)
        return Rows(bounds.astype(np.int64), columns.astype(np.int32), values, known)


def rows_from(table: npt.NDArray[np.floating], places: npt.NDArray[np.integer]) -> npt.NDArray[np.floating]:
    """Rows of a table. `take` is twice as quick as an index, and copies the whole table first where it is part of another."""
    return table.take(places, axis=0) if table.flags.c_contiguous else table[places]


def counted(pairs: Ints, below: int) -> tuple[Ints, Ints]:
    """The different numbers ascending, and how often each stands there. `below`: no number reaches it; in half as many bits
    they are sorted in half the time."""
    short = pairs.astype(np.int32) if below < 1 << 31 else pairs
    different, counts = np.unique(short, return_counts=True)
    return different.astype(np.int64), counts


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
    return [folded[part] for part in slices(folded)]


def slices(folded: Sequence[str], most: int = BATCH_CHARACTERS) -> list[slice]:
    """Where texts are cut into batches of about so many characters."""
    found: list[slice] = []
    start = size = 0
    for index, text in enumerate(folded):
        size += len(text) + 1
        if size >= most:
            found.append(slice(start, index + 1))
            start, size = index + 1, 0
    if start < len(folded):
        found.append(slice(start, len(folded)))
    return found

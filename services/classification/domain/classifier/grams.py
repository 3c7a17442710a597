"""Words, pairs of words and pieces of words of many texts at once, each as a 64-bit number.

Hashing whole batches in numpy costs a tenth of slicing strings one by one, needs no table of strings in the model (64 bits:
among 10⁵ features two meet once in 10⁹), and does not depend on the process, as `hash()` does. Polynomial hashes (Karp &
Rabin 1987) finished by splitmix64 (Steele et al. 2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

SHORTEST, LONGEST = 2, 5
"""Pieces of words have two to five characters, the word's edges counted as one each."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_TOP = np.uint64(1 << 63)


@dataclass(frozen=True, slots=True)
class Grams:
    """`keys[i]` stands in text `rows[i]`. The first `words` are single words, `pairs` follow, the rest are pieces.

    `at` and `to` bound each single word in its folded text, for evidence.
    """

    count: int
    keys: Keys
    rows: Ints
    words: int
    pairs: int
    at: Ints
    to: Ints


def grams(folded: Sequence[str]) -> Grams:
    """All grams of texts as `text.prepare` folded them (single spaces, one at each end)."""
    lengths = np.fromiter((len(text) + 1 for text in folded), dtype=np.int64, count=len(folded))
    joined = "\n".join(folded) + "\n" if folded else ""
    codes = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    rows = np.repeat(np.arange(len(folded), dtype=np.int64), lengths)
    edge, space = codes == 10, codes == 32
    word_keys, word_rows, begins, ends = _words(codes, rows)
    together = word_rows[1:] == word_rows[:-1] if len(word_rows) else np.zeros(0, dtype=bool)
    pair_keys = _mixed(word_keys[:-1] * _PRIME + word_keys[1:])[together] if len(word_keys) else word_keys
    keys = [word_keys & ~_TOP, pair_keys & ~_TOP]
    places = [word_rows, word_rows[:-1][together]]
    for size_keys, size_rows in _pieces(codes, rows, edge, space):
        keys.append(size_keys | _TOP)
        places.append(size_rows)
    offset = starts[word_rows] if len(word_rows) else word_rows
    return Grams(
        len(folded),
        np.concatenate(keys),
        np.concatenate(places),
        len(word_keys),
        len(pair_keys),
        begins - offset,
        ends - offset,
    )


def _words(codes: Keys, rows: Ints) -> tuple[Keys, Ints, Ints, Ints]:
    letter = ((codes >= 97) & (codes <= 122)) | ((codes >= 48) & (codes <= 57)) | (codes > 127)
    change = np.flatnonzero(np.diff(np.concatenate(([False], letter, [False])).astype(np.int8)))
    begins, ends = change[::2].astype(np.int64), change[1::2].astype(np.int64)
    if not len(begins):
        return np.zeros(0, dtype=np.uint64), begins, begins, begins
    powers = np.multiply.accumulate(np.concatenate(([np.uint64(1)], np.full(len(codes), _PRIME))))
    undone = np.multiply.accumulate(np.concatenate(([np.uint64(1)], np.full(len(codes), _INVERSE))))
    sums = np.concatenate(([np.uint64(0)], np.cumsum(codes * powers[:-1])))
    keys = _mixed((sums[ends] - sums[begins]) * undone[begins])
    return keys, rows[begins], begins, ends


def _pieces(
    codes: Keys, rows: Ints, edge: npt.NDArray[np.bool_], space: npt.NDArray[np.bool_]
) -> list[tuple[Keys, Ints]]:
    """Runs of `SHORTEST` to `LONGEST` characters with a space at most at either end (they stay within a word)."""
    found: list[tuple[Keys, Ints]] = []
    total = len(codes)
    running, fits = codes.copy(), ~edge
    for size in range(2, LONGEST + 1):
        left = total - size + 1
        if left <= 0:
            break
        running = running[:left] * _PRIME + codes[size - 1 :]
        fits = fits[:left] & ~edge[size - 1 :]
        if size > 2:
            fits &= ~space[size - 2 : size - 2 + left]
        if size >= SHORTEST:
            at = np.flatnonzero(fits)
            found.append((_mixed(running[at] + np.uint64(size)), rows[at]))
    return found


def _mixed(keys: Keys) -> Keys:
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Keys = keys ^ (keys >> np.uint64(31))
    return mixed

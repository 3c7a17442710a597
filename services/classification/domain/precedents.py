"""Earlier interactions that read alike: the nearest decided ones beside a new decision, by id (R96).

A text is a set of stems, hashed into `WIDTH` places (Weinberger et al. 2009); likeness is the cosine. The words themselves are
not kept. Bounded: of each motive the newest `PER_MOTIVE`, a person's before the machine's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
import numpy.typing as npt

from libs.events.catalogue.classifications import Precedent
from services.classification.domain.normalise import STOPWORDS, stem

WIDTH = 1024
PER_MOTIVE = 32
AT_LEAST = 0.25
"""Cosine below which two texts share no more than chance: of 12 stems each, three alike."""

Vector = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Shelf:
    ids: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    by_person: list[bool] = field(default_factory=list)
    vectors: Vector = field(default_factory=lambda: np.zeros((0, WIDTH), dtype=np.float32))


def vector_of(read: Iterable[str], language: str | None) -> Vector | None:
    """The stems of folded words as a vector of length one; None for no telling word."""
    stop = STOPWORDS.get(language or "", STOPWORDS["es"])
    known = language if language in STOPWORDS else "es"
    found = np.zeros(WIDTH, dtype=np.float32)
    for root in {stem(word, known) for word in read if word not in stop}:
        place = crc32(root.encode())
        found[place % WIDTH] += 1.0 if place & 0x80000000 else -1.0
    length = float(np.sqrt(found @ found))
    return None if length == 0 else found / np.float32(length)


class Precedents:
    """The shelf of each motive. `add` replaces arrays and never changes one, so that a thread may read meanwhile."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = {}

    def wants(self, motive: str) -> bool:
        """Whether a machine's decision would still be kept."""
        shelf = self._shelves.get(motive)
        return shelf is None or len(shelf.ids) < PER_MOTIVE

    def add(self, interaction_id: str, customer_id: str, motive: str, vector: Vector, *, by_person: bool) -> None:
        """Keep a decided interaction; on a full shelf a person's decision takes the place of the oldest of the machine's."""
        self._drop({interaction_id})
        old = self._shelves.get(motive, _Shelf())
        keep = list(range(len(old.ids)))
        if len(keep) >= PER_MOTIVE:
            if not by_person:
                return
            keep.remove(next((place for place in keep if not old.by_person[place]), 0))
        self._shelves = {**self._shelves, motive: _Shelf(
            [*(old.ids[place] for place in keep), interaction_id],
            [*(old.people[place] for place in keep), customer_id],
            [*(old.by_person[place] for place in keep), by_person],
            np.vstack([old.vectors[keep], vector[None, :]]),
        )}  # fmt: skip

    def forget(self, customers: set[str]) -> None:
        """Drop what was derived from an erased person's words."""
        self._drop(
            {
                one
                for shelf in self._shelves.values()
                for one, who in zip(shelf.ids, shelf.people, strict=True)
                if who in customers
            }
        )

    def nearest(self, vector: Vector | None, motive: str | None, most: int = 3) -> tuple[Precedent, ...]:
        """The most alike under the motive, or under any where none was found; likest first, ids in order where equal."""
        if vector is None:
            return ()
        shelves = self._shelves
        found: list[tuple[float, str, str]] = []
        for name in sorted(shelves) if motive is None else [motive]:
            shelf = shelves.get(name)
            if shelf is None:
                continue
            likeness = shelf.vectors @ vector
            found += [
                (-float(likeness[place]), shelf.ids[place], name) for place in np.flatnonzero(likeness >= AT_LEAST)
            ]
        return tuple(
            Precedent(interaction_id=one, motive=name, similarity=round(min(1.0, -score), 3))
            for score, one, name in sorted(found)[:most]
        )

    def _drop(self, ids: set[str]) -> None:
        for motive, shelf in list(self._shelves.items()):
            keep = [place for place, one in enumerate(shelf.ids) if one not in ids]
            if len(keep) < len(shelf.ids):
                self._shelves = {**self._shelves, motive: _Shelf(
                    _at(shelf.ids, keep), _at(shelf.people, keep), [shelf.by_person[place] for place in keep], shelf.vectors[keep]
                )}  # fmt: skip


def _at(values: Sequence[str], places: Sequence[int]) -> list[str]:
    return [values[place] for place in places]

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
LEAST_ROOM = 4
"""Rows that a shelf begins with; a full one takes 128 kB."""
AT_LEAST = 0.25
"""Cosine below which two texts share no more than chance: of 12 stems each, three alike."""

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What a motive has. Rows behind the last id belong to nobody yet."""

    ids: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    by_person: tuple[bool, ...] = ()
    rows: Vector = field(default_factory=lambda: np.zeros((0, WIDTH), dtype=np.float32))

    @property
    def vectors(self) -> Vector:
        return self.rows[: len(self.ids)]

    def plus(self, interaction_id: str, customer_id: str, vector: Vector, *, by_person: bool) -> "_Shelf":
        """With one more, written behind the last row: whoever reads this shelf meanwhile does not look there. Room doubles."""
        count, rows = len(self.ids), self.rows
        if count == len(rows):
            rows = np.zeros((max(LEAST_ROOM, 2 * count), WIDTH), dtype=np.float32)
            rows[:count] = self.vectors
        rows[count] = vector
        return _Shelf((*self.ids, interaction_id), (*self.people, customer_id), (*self.by_person, by_person), rows)

    def only(self, keep: Sequence[int]) -> "_Shelf":
        """With these places alone, in rows of its own: a row that somebody reads is never written again."""
        return _Shelf(
            tuple(self.ids[place] for place in keep),
            tuple(self.people[place] for place in keep),
            tuple(self.by_person[place] for place in keep),
            self.vectors[list(keep)],
        )


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
    """The shelf of each motive. One thread changes them; others may read meanwhile, since a shelf that is there never changes
    and `add` puts another in its place."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = {}
        self._motives: dict[str, str] = {}  # of each id that is kept

    def wants(self, motive: str) -> bool:
        """Whether a machine's decision would still be kept."""
        shelf = self._shelves.get(motive)
        return shelf is None or len(shelf.ids) < PER_MOTIVE

    def add(self, interaction_id: str, customer_id: str, motive: str, vector: Vector, *, by_person: bool) -> None:
        """Keep a decided interaction; on a full shelf a person's decision takes the place of the oldest of the machine's."""
        if interaction_id in self._motives:
            self._drop({interaction_id})
        shelf = self._shelves.get(motive, _Shelf())
        if len(shelf.ids) >= PER_MOTIVE:
            if not by_person:
                return
            leaves = shelf.by_person.index(False) if False in shelf.by_person else 0
            del self._motives[shelf.ids[leaves]]
            shelf = shelf.only([place for place in range(len(shelf.ids)) if place != leaves])
        shelf = shelf.plus(interaction_id, customer_id, vector, by_person=by_person)
        self._shelves = {**self._shelves, motive: shelf}
        self._motives[interaction_id] = motive

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
        for motive in {self._motives.pop(one) for one in ids}:
            shelf = self._shelves[motive]
            keep = [place for place, one in enumerate(shelf.ids) if one not in ids]
            self._shelves = {**self._shelves, motive: shelf.only(keep)}

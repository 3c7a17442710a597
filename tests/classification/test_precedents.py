"""The shelves of earlier interactions: the same whatever room they stand in, and others read while one thread changes them."""

from dataclasses import dataclass, field
from random import Random

import numpy as np

from services.classification.domain.precedents import PER_MOTIVE, WIDTH, Precedents, Vector


@dataclass
class Plain:
    """The same rules in lists: what the shelves must hold."""

    shelves: dict[str, list[tuple[str, str, bool, bytes]]] = field(default_factory=dict)

    def add(self, one: str, who: str, motive: str, vector: Vector, *, by_person: bool) -> None:
        self._keep(lambda row: row[0] != one)
        shelf = self.shelves.setdefault(motive, [])
        if len(shelf) >= PER_MOTIVE:
            if not by_person:
                return
            del shelf[next((place for place, row in enumerate(shelf) if not row[2]), 0)]
        shelf.append((one, who, by_person, vector.tobytes()))

    def forget(self, customers: set[str]) -> None:
        self._keep(lambda row: row[1] not in customers)

    def _keep(self, wanted: object) -> None:
        assert callable(wanted)
        self.shelves = {motive: [row for row in shelf if wanted(row)] for motive, shelf in self.shelves.items()}


def held(known: Precedents) -> dict[str, list[tuple[str, str, bool, bytes]]]:
    return {
        motive: [
            (one, who, by_person, row.tobytes())
            for one, who, by_person, row in zip(shelf.ids, shelf.people, shelf.by_person, shelf.vectors, strict=True)
        ]
        for motive, shelf in known._shelves.items()
    }


def vectors(count: int, seed: int = 3) -> list[Vector]:
    return list(np.random.default_rng(seed).random((count, WIDTH), dtype=np.float32))


def test_the_shelves_hold_the_same_bytes_as_lists_would_after_any_adding_moving_and_forgetting() -> None:
    random, known, plain = Random(5), Precedents(), Plain()
    for number, vector in enumerate(vectors(1_500)):
        one, who = f"i-{random.randrange(300)}", f"c-{random.randrange(60)}"
        motive, by_person = random.choice("abc"), random.random() < 0.2
        known.add(one, who, motive, vector, by_person=by_person)
        plain.add(one, who, motive, vector, by_person=by_person)
        if number % 97 == 0:
            gone = {f"c-{random.randrange(60)}"}
            known.forget(gone)
            plain.forget(gone)
        if number % 50 == 0:
            assert held(known) == plain.shelves
    assert held(known) == plain.shelves
    assert any(len(shelf) == PER_MOTIVE for shelf in plain.shelves.values())


def test_a_shelf_that_grows_is_not_copied_for_each_row() -> None:
    """Each contact learnt copied its motive's whole matrix: 25-53 ms of the event loop for a batch of 500."""
    known = Precedents()
    rooms: list[Vector] = []
    for number, vector in enumerate(vectors(PER_MOTIVE)):
        known.add(f"i-{number}", "c", "cut", vector, by_person=False)
        rows = known._shelves["cut"].rows
        if not rooms or rooms[-1] is not rows:
            rooms.append(rows)
    assert [len(rows) for rows in rooms] == [4, 8, 16, 32]


def test_who_reads_a_shelf_sees_it_as_it_was_whatever_is_learnt_meanwhile() -> None:
    known, every = Precedents(), vectors(3 * PER_MOTIVE)
    for number, vector in enumerate(every[:20]):
        known.add(f"i-{number}", f"c-{number}", "cut", vector, by_person=False)
    read = known._shelves["cut"]
    before = read.ids, read.vectors.tobytes()
    for number, vector in enumerate(every[20:]):
        known.add(f"j-{number}", "c-x", "cut", vector, by_person=True)
    known.forget({"c-3"})
    assert (read.ids, read.vectors.tobytes()) == before

"""G6: whoever alters, removes, reorders or inserts a record is found, and the place is named."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.chain import GENESIS, Break, Walk, canonical, chained, link
from libs.events.log import Outgoing, Record


def partition(length: int) -> list[Record]:
    previous, records = GENESIS, []
    for n in range(length):
        outgoing = Outgoing("t", 0, b"k", b"%d" % n, (("ce_id", b"%d" % n), ("content-type", b"json")), 1000 + n)
        sealed, previous = chained(outgoing, previous)
        key, value, headers, stamp = sealed.key, sealed.value, sealed.headers, sealed.timestamp_ms
        records.append(Record("t", 0, n * 2, key, value, headers, stamp))
    return records


def walked(records: list[Record]) -> list[tuple[str, int]]:
    walk = Walk()
    found: list[Break] = []
    for record in records:
        found += walk.feed(record)
    found += walk.end()
    return [(b.kind, b.offset) for b in found]


@pytest.mark.parametrize("length", [0, 1, 2, 10])
def test_an_untouched_partition_holds(length: int) -> None:
    assert walked(partition(length)) == []


ALTERATIONS: dict[str, Callable[[Record], Record]] = {
    "value": lambda r: replace(r, value=r.value + b"x"),
    "key": lambda r: replace(r, key=b"other"),
    "no key": lambda r: replace(r, key=None),
    "timestamp": lambda r: replace(r, timestamp_ms=r.timestamp_ms + 1),
    "a header's value": lambda r: replace(r, headers=(("ce_id", b"999"), *r.headers[1:])),
    "a header's name": lambda r: replace(r, headers=(("ce_ie", r.headers[0][1]), *r.headers[1:])),
    "a header removed": lambda r: replace(r, headers=r.headers[1:]),
    "a header added": lambda r: replace(r, headers=(*r.headers, ("x", b"y"))),
    "bytes moved between key and value": lambda r: replace(r, key=(r.key or b"") + r.value[:1], value=r.value[1:]),
    "its chain text": lambda r: replace(r, headers=(*r.headers[:-1], ("ce_chainhash", b"5." + b"0" * 64))),
    "its chain text to rubbish": lambda r: replace(r, headers=(*r.headers[:-1], ("ce_chainhash", b"\xff\xfe"))),
    "its chain text removed": lambda r: replace(r, headers=r.headers[:-1]),
}


@pytest.mark.parametrize("at", [0, 4, 9], ids=["first", "middle", "last"])
@pytest.mark.parametrize("what", ALTERATIONS)
def test_an_altered_record_is_named_once_and_nothing_else_is(what: str, at: int) -> None:
    records = partition(10)
    records[at] = ALTERATIONS[what](records[at])
    if what == "its chain text" and at != 4:
        records[at] = replace(
            records[at], headers=(*records[at].headers[:-1], ("ce_chainhash", b"%d." % (at + 1) + b"0" * 64))
        )
    assert walked(records) == [("altered", records[at].offset)]


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 3), (4, 1), (4, 5)])
def test_missing_records_are_counted_before_the_first_that_is_left(first: int, count: int) -> None:
    records = partition(10)
    del records[first : first + count]
    walk = Walk()
    found = [b for record in records for b in walk.feed(record)] + list(walk.end())
    assert [(b.kind, b.offset, b.missing) for b in found] == [("missing", (first + count) * 2, count)]


@pytest.mark.parametrize("at", [0, 4, 8])
def test_two_records_in_each_others_place_are_one_break(at: int) -> None:
    records = partition(10)
    records[at], records[at + 1] = records[at + 1], records[at]
    assert walked(records) == [("reordered", records[at].offset)]


@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_record_that_was_never_published_is_named(at: int) -> None:
    records = partition(10)
    foreign = Record("t", 0, 99, b"k", b"foreign", (("ce_id", b"f"),), 0)
    records.insert(at, foreign)
    assert walked(records) == [("inserted", 99)]


def test_a_copy_of_an_earlier_record_is_named() -> None:
    records = partition(10)
    records.insert(7, replace(records[3], offset=99))
    assert walked(records) == [("inserted", 99)]


def test_a_record_moved_far_away_is_found_where_it_left_and_where_it_came() -> None:
    records = partition(10)
    records.insert(7, records.pop(2))
    kinds = walked(records)
    assert kinds[0] == ("missing", 6)
    assert ("inserted", 4) in kinds


def test_several_alterations_are_several_breaks() -> None:
    records = partition(20)
    for at in (3, 9, 15):
        records[at] = replace(records[at], value=b"x")
    assert walked(records) == [("altered", 6), ("altered", 18), ("altered", 30)]


def test_neighbours_altered_together_are_named_each() -> None:
    records = partition(10)
    records[4], records[5] = replace(records[4], value=b"x"), replace(records[5], value=b"y")
    assert walked(records) == [("altered", 8), ("altered", 10)]


def test_a_record_taken_to_another_partition_does_not_fit_there() -> None:
    record = partition(1)[0]
    assert walked([replace(record, partition=1)]) == [("altered", 0)]


def test_a_copy_on_another_broker_with_other_offsets_keeps_its_chain() -> None:
    assert walked([replace(record, offset=record.offset * 3 + 100) for record in partition(10)]) == []


@given(st.data())
def test_any_single_bit_flipped_anywhere_is_found(data: st.DataObject) -> None:
    records = partition(6)
    at = data.draw(st.integers(0, 5))
    record = records[at]
    parts = [record.key or b"", record.value, *(value for _, value in record.headers)]
    which = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, len(parts[which]) * 8 - 1))
    flipped = bytearray(parts[which])
    flipped[bit // 8] ^= 1 << (bit % 8)
    parts[which] = bytes(flipped)
    headers = tuple((name, parts[2 + i]) for i, (name, _) in enumerate(record.headers))
    records[at] = replace(record, key=parts[0], value=parts[1], headers=headers)
    found = walked(records)
    assert len(found) >= 1
    assert found[0][1] in {record.offset, record.offset + 2}


def test_the_canonical_bytes_of_different_records_differ() -> None:
    one = Outgoing("t", 0, b"ab", b"c", (("h", b"1"),), 0)
    others = [
        replace(one, key=b"a", value=b"bc"),
        replace(one, headers=(("h1", b""),)),
        replace(one, headers=(("h", b"1"), ("", b""))),
        replace(one, topic="t\x00"),
        replace(one, partition=1),
    ]
    assert len({canonical(one), *map(canonical, others)}) == 6


def test_the_chain_is_made_the_same_for_ever() -> None:
    """Stored logs depend on it."""
    content = canonical(Outgoing("lazo.feedback", 1, b"cus_1", b"{}", (("ce_id", b"i"),), 1_700_000_000_000))
    assert link(GENESIS, content) == "1.1c848893e6a16b3ac689c1845ad05ae5c8c140cbfb907569823a5097f3ad6db9"

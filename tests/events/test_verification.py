"""`lazo verify` finds what somebody did to a log or a store, and says where (G6, G7)."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from libs.events.catalogue.topics import FEEDBACK, INTERACTIONS
from libs.events.chain import GENESIS, chained
from libs.events.envelope import chainhash_of, from_record, unchained
from libs.events.log import Outgoing, Record, TopicPartition
from libs.events.log_kafka import KafkaLog
from libs.events.store import Store
from libs.events.verification import Report, verify
from services.verifying import MESSAGES, as_dict, lines, summary
from tests.events.world import World

COUNT = 40

FIELD = r"{(\w+)}"


async def filled(world: World, count: int = COUNT) -> Store:
    """So many complaints on their way round, then everything at rest."""
    intake, feedback = await world.intake(), await world.feedback()
    async with intake.store.unit() as unit:
        for number in range(count):
            unit.emit(world.draft(number), expected=0)
    await world.settle()
    await intake.stop()
    await feedback.stop()
    world.alive.clear()
    return intake.store


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path, None) as made:
        await filled(made)
        yield made


async def verified(world: World) -> Report:
    return await verify(world.log, {name: world.engine(name) for name in ("intake", "feedback")})


def kinds(report: Report) -> list[tuple[str, str]]:
    return [(found.where, found.kind) for found in report.breaks]


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            assert db.execute(statement).rowcount != 0, statement
    db.close()


async def partition_with(
    world: World, topic: str = INTERACTIONS, least: int = 6
) -> tuple[TopicPartition, list[Record]]:
    for number in range(2):
        tp = TopicPartition(topic, number)
        records = await world.log.read(tp, 0, 1000)
        if len(records) >= least:
            return tp, records
    raise AssertionError("no partition holds enough")


async def test_what_nobody_touched_holds(world: World) -> None:
    report = await verified(world)
    assert kinds(report) == []
    assert report.records == report.events == 2 * COUNT
    assert (report.stores, report.partitions) == (2, 10)


async def test_it_runs_beside_a_living_lazo(world: World) -> None:
    intake, feedback = await world.intake(), await world.feedback()
    for number in range(COUNT, 3 * COUNT):
        async with intake.store.unit() as unit:
            unit.emit(world.draft(number), expected=0)
        if number % 10 == 0:
            assert kinds(await verified(world)) == []
    await world.settle()
    assert (await verified(world)).records == 6 * COUNT
    await intake.stop()
    await feedback.stop()


async def test_what_waits_in_the_outbox_is_no_break(world: World) -> None:
    intake = await world.intake(start=False)
    await intake._learn_partitions()
    async with intake.store.unit() as unit:
        unit.emit(world.draft(1000), expected=0)
    report = await verified(world)
    assert kinds(report) == []
    assert report.events == report.records + 1


@pytest.mark.parametrize("column", ["value", "key", "headers", "timestamp_ms"])
async def test_one_altered_byte_in_the_log_is_named(world: World, column: str, tmp_path: Path) -> None:
    tp, records = await partition_with(world)
    victim = records[3]
    change_to = {
        "value": "value = replace(value, 'complaint', 'compliant')",
        "key": "key = 'x' || key",
        "headers": "headers = replace(headers, 'intake', 'intakf')",
        "timestamp_ms": "timestamp_ms = timestamp_ms + 1",
    }[column]
    where = f"topic = '{tp.topic}' AND partition = {tp.partition} AND \"offset\" = {victim.offset}"
    change(tmp_path / "log.db", f"UPDATE records SET {change_to} WHERE {where}")
    report = await verified(world)
    assert {place for place, _ in kinds(report)} - {f"{tp}/{victim.offset}"} <= {store_place(victim)}
    assert (f"{tp}/{victim.offset}", "chain-altered") in kinds(report)


def store_place(record: Record) -> str:
    event = from_record(record)
    return f"intake/{event.subject}/{event.streamversion}"


async def test_one_bit_flipped_in_the_file_itself_is_named(world: World, tmp_path: Path) -> None:
    tp, records = await partition_with(world)
    await world.log.stop()
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    raw = bytearray((tmp_path / "log.db").read_bytes())
    at = raw.index(from_record(records[2]).json()["interaction_id"].encode(), raw.index(records[2].value))
    raw[at] ^= 1
    (tmp_path / "log.db").write_bytes(raw)
    world.log = type(world.log)(tmp_path / "log.db")  # type: ignore[call-arg]  # SqliteLog
    await world.log.start()
    assert (f"{tp}/{records[2].offset}", "chain-altered") in kinds(await verified(world))


async def test_headers_that_are_no_json_any_more_stop_nobody(world: World, tmp_path: Path) -> None:
    tp, records = await partition_with(world)
    where = f"topic = '{tp.topic}' AND partition = {tp.partition} AND \"offset\" = {records[3].offset}"
    change(tmp_path / "log.db", f"UPDATE records SET headers = X'FF00' WHERE {where}")
    assert (f"{tp}/{records[3].offset}", "chain-altered") in kinds(await verified(world))


async def test_a_record_taken_out_of_the_log_is_named_on_both_sides(world: World, tmp_path: Path) -> None:
    tp, records = await partition_with(world)
    where = f"topic = '{tp.topic}' AND partition = {tp.partition} AND \"offset\" = {records[3].offset}"
    change(tmp_path / "log.db", f"DELETE FROM records WHERE {where}")
    assert kinds(await verified(world)) == [
        (f"{tp}/{records[4].offset}", "chain-missing"),
        (store_place(records[3]), "not-published"),
    ]


async def test_a_log_cut_off_at_its_end_is_named_though_its_chain_holds(world: World, tmp_path: Path) -> None:
    tp, records = await partition_with(world)
    last = records[-2:]
    where = f"topic = '{tp.topic}' AND partition = {tp.partition} AND \"offset\" >= {last[0].offset}"
    change(
        tmp_path / "log.db",
        f"DELETE FROM records WHERE {where}",
        f"UPDATE partitions SET next = {last[0].offset} WHERE topic = '{tp.topic}' AND partition = {tp.partition}",
    )
    found = kinds(await verified(world))
    assert (f"{tp}/{records[-1].offset}", "end-missing") in found
    assert {(store_place(record), "not-published") for record in last} <= set(found)
    assert (f"feedback/feedback/{tp}", "offset-ahead") in found


async def test_a_log_written_anew_from_an_alteration_on_is_told_by_the_store_and_the_relay(
    world: World, tmp_path: Path
) -> None:
    """Whoever knows the format can make the chain hold again; the stores and the noted chain still disagree."""
    tp, records = await partition_with(world)
    previous = chainhash_of(records[2]) or GENESIS
    db = sqlite3.connect(tmp_path / "log.db")
    for record in records[3:]:
        value = record.value.replace(b"complaint", b"inquiry") if record is records[3] else record.value
        bare = Outgoing(*tp_of(record), record.key or b"", value, record.headers[:-1], record.timestamp_ms)
        sealed, previous = chained(bare, previous)
        from libs.events.log_sqlite import _packed

        db.execute(
            'UPDATE records SET value = ?, headers = ? WHERE topic = ? AND partition = ? AND "offset" = ?',
            (value, _packed(sealed.headers), *tp_of(record), record.offset),
        )
    db.commit()
    db.close()
    assert kinds(await verified(world)) == [
        (f"{tp}/{records[3].offset}", "differs-from-store"),
        (f"{tp}/{records[-1].offset}", "chain-not-noted"),
    ]


def tp_of(record: Record) -> tuple[str, int]:
    return record.topic, record.partition


@pytest.mark.parametrize("version", [1, 2])
async def test_one_deleted_row_in_a_store_is_named(world: World, tmp_path: Path, version: int) -> None:
    """By stream and version, though nobody but the log knows them any more."""
    world.clock.advance(world.clock.now().replace(day=5))
    feedback = await world.feedback()
    await world.settle()
    await feedback.stop()
    world.alive.clear()
    _, records = await partition_with(world, FEEDBACK)
    event = next(e for e in map(from_record, records) if e.streamversion == version)
    change(tmp_path / "feedback.db", f"DELETE FROM events WHERE position = {event.sequence}")
    assert kinds(await verified(world)) == [(f"feedback/{event.subject}/{version}", "not-stored")]


async def test_a_row_that_was_deleted_before_it_was_published_is_named_by_its_number(
    world: World, tmp_path: Path
) -> None:
    intake = await world.intake(start=False)
    await intake._learn_partitions()
    for number in (1000, 1001, 1002):
        async with intake.store.unit() as unit:
            unit.emit(world.draft(number), expected=0)
    change(tmp_path / "intake.db", f"DELETE FROM events WHERE position = {COUNT + 2}")
    assert kinds(await verified(world)) == [
        (f"intake/{COUNT + 2}", "outbox-of-nothing"),
        (f"intake/{COUNT + 2}", "position-missing"),
    ]


async def test_a_missing_version_that_was_never_published_is_named(world: World, tmp_path: Path) -> None:
    change(tmp_path / "feedback.db", "UPDATE events SET version = 3 WHERE position = 5")
    found = kinds(await verified(world))
    assert [kind for _, kind in found if kind == "version-missing"] == ["version-missing"] * 2
    assert "differs-from-store" in {kind for _, kind in found}


ALTERED_ROWS = {
    "data": "data = CAST(replace(data, 'complaint', 'inquiry') AS BLOB)",
    "time": "time = '2020-01-01 00:00:00.000000'",
    "recordedtime": "recordedtime = '2020-01-01 00:00:00.000000'",
    "type": "type = 'lazo.interaction.classified.v1'",
    "causation": "causationid = 'other'",
    "id": "id = 'other'",
    "key": "key = 'other'",
}


@pytest.mark.parametrize("column", ALTERED_ROWS)
async def test_an_altered_row_in_a_store_is_named_by_its_record(world: World, tmp_path: Path, column: str) -> None:
    tp, records = await partition_with(world)
    event = from_record(records[3])
    change(tmp_path / "intake.db", f"UPDATE events SET {ALTERED_ROWS[column]} WHERE position = {event.sequence}")
    assert kinds(await verified(world)) == [(f"{tp}/{records[3].offset}", "differs-from-store")]


async def test_an_event_published_twice_is_named(world: World) -> None:
    tp, records = await partition_with(world)
    again = unchained(from_record(records[1]), tp.topic, tp.partition)
    sealed, _ = chained(again, chainhash_of(records[-1]) or "")
    await world.republish([sealed])
    end = (await world.log.ends(tp.topic))[tp.partition] - 1
    found = kinds(await verified(world))
    assert (f"{tp}/{end}", "published-twice") in found
    assert (f"{tp}/{end}", "out-of-order") in found


async def test_a_record_somebody_else_put_in_is_named(world: World) -> None:
    tp, records = await partition_with(world)
    event = replace(from_record(records[0]), id="forged", source="/lazo/mallory", sequence=9999)
    await world.republish(
        [unchained(event, tp.topic, tp.partition), Outgoing(tp.topic, tp.partition, b"k", b"", (), 1)]
    )
    end = (await world.log.ends(tp.topic))[tp.partition]
    found = kinds(await verified(world))
    assert {(f"{tp}/{end - 2}", "foreign"), (f"{tp}/{end - 1}", "not-an-event")} <= set(found)
    assert any(where == f"{tp}/{end - 2}" and kind.startswith("chain-") for where, kind in found)


async def test_a_forged_event_of_the_right_owner_is_in_no_store(world: World) -> None:
    tp, records = await partition_with(world)
    event = replace(from_record(records[0]), id="forged", subject="interaction/forged", sequence=9999)
    sealed, _ = chained(unchained(event, tp.topic, tp.partition), chainhash_of(records[-1]) or "")
    await world.republish([sealed])
    assert ("intake/interaction/forged/1", "not-stored") in kinds(await verified(world))


async def test_a_record_in_the_wrong_partition_or_under_another_key_is_named(world: World) -> None:
    tp, records = await partition_with(world)
    event = replace(from_record(records[0]), subject="interaction/y", sequence=9998)
    other = TopicPartition(tp.topic, 1 - tp.partition)
    first = unchained(event, other.topic, other.partition)
    second = replace(
        unchained(replace(event, subject="interaction/z", sequence=9999), *tp_of(records[0])), key=b"other"
    )
    await world.republish([first, second])
    found = {kind for _, kind in kinds(await verified(world))}
    assert {"wrong-partition", "wrong-key"} <= found


async def test_a_consumer_beyond_the_end_is_named(world: World, tmp_path: Path) -> None:
    change(tmp_path / "feedback.db", f"UPDATE offsets SET next = 999 WHERE topic = '{FEEDBACK}' AND partition = 1")
    assert kinds(await verified(world)) == [(f"feedback/feedback/{FEEDBACK}/1", "offset-ahead")]


async def test_a_damaged_file_is_said_to_be_damaged(world: World, tmp_path: Path) -> None:
    for engine in world.engines:
        await engine.dispose()
    with sqlite3.connect(tmp_path / "intake.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [root] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events_stream_version' OR"
                            " name LIKE 'sqlite_autoindex_events%' LIMIT 1").fetchone()  # fmt: skip
        size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    raw = bytearray((tmp_path / "intake.db").read_bytes())
    raw[(root - 1) * size : (root - 1) * size + 64] = bytes(64)
    (tmp_path / "intake.db").write_bytes(raw)
    found = kinds(await verified(world))
    assert any(where == "intake" and kind in {"damaged", "unreadable"} for where, kind in found)


async def test_every_break_has_words_in_both_languages_and_one_line(world: World, tmp_path: Path) -> None:
    tp, records = await partition_with(world)
    where = f"topic = '{tp.topic}' AND partition = {tp.partition} AND \"offset\" = {records[3].offset}"
    change(tmp_path / "log.db", f"UPDATE records SET value = replace(value, 'complaint', 'inquiry') WHERE {where}")
    report = await verified(world)
    [line] = lines(report, "es")
    assert line.startswith(f"{tp}/{records[3].offset}: ")
    assert "el registro fue alterado" in line
    assert "difiere de lo que intake guarda" in line
    assert "1 lugares" in summary(report, "es") or "1 " in summary(report, "es")
    answer = as_dict(report, "en")
    assert answer["ok"] is False
    assert {found["kind"] for found in answer["breaks"]} == {"chain-altered", "differs-from-store"}


def test_no_message_lacks_a_language_or_a_value() -> None:
    import inspect
    import re

    from libs.events import verification

    source = inspect.getsource(verification)
    used = set(re.findall(r'"([a-z]+(?:-[a-z]+)+|foreign|damaged|unreadable)"', source)) | {
        f"chain-{kind}" for kind in ("altered", "missing", "reordered", "inserted")
    }
    assert used - set(MESSAGES) == set()
    for kind, words in MESSAGES.items():
        assert set(words) == {"en", "es"}
        assert set(re.findall(FIELD, words["en"])) == set(re.findall(FIELD, words["es"])), kind


@pytest.mark.slow
async def test_the_same_walk_holds_on_kafka_and_postgresql(
    tmp_path: Path, kafka_bootstrap: str, topic_prefix: str, postgres_url: str
) -> None:
    log = KafkaLog(kafka_bootstrap, prefix=topic_prefix)
    async with World(tmp_path, postgres_url, log) as world:
        store = await filled(world, 15)
        report = await verified(world)
        assert kinds(report) == []
        assert report.records == report.events == 30
        tp, records = await partition_with(world)
        event: Any = from_record(records[3])
        async with store.writing() as connection:
            await connection.execute(text("DELETE FROM events WHERE position = :p"), {"p": event.sequence})
        assert kinds(await verified(world)) == [(store_place(records[3]), "not-stored")]
        again = unchained(from_record(records[1]), tp.topic, tp.partition)
        await world.republish([again])
        assert "published-twice" in {kind for _, kind in kinds(await verified(world))}

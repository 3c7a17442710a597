"""Apache Kafka keeps every promise of the port; and what only a broker can do to us."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.events.log import Log, LogError, LogUnavailable, Outgoing, PublisherSpent, TopicPartition, UnknownOutcome
from libs.events.log_kafka import KafkaLog
from tests.engines.kafka import KafkaServer
from tests.events.log.behaviour import LogBehaviour
from tests.events.log.tools import Opener, all_of, drain, numbers, outgoing, settled

T0, T1 = TopicPartition("facts", 0), TopicPartition("facts", 1)


class TestKafkaLog(LogBehaviour):
    @pytest.fixture
    async def log(self, kafka_bootstrap: str, topic_prefix: str) -> AsyncIterator[Log]:
        log = KafkaLog(kafka_bootstrap, prefix=topic_prefix)
        await log.start()
        await log.ensure_topics({"facts": 2, "other": 1})
        yield log
        await log.stop()

    @pytest.fixture
    def another(self, kafka_bootstrap: str, topic_prefix: str) -> Opener:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Log]:
            log = KafkaLog(kafka_bootstrap, prefix=topic_prefix)
            await log.start()
            yield log
            await log.stop()

        return opened


@pytest.fixture
async def log(kafka_bootstrap: str, topic_prefix: str) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(kafka_bootstrap, prefix=topic_prefix)
    await log.ensure_topics({"facts": 2})
    yield log
    await log.stop()


async def test_topics_are_archives(log: KafkaLog, kafka_bootstrap: str, topic_prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, f"{topic_prefix}facts")])
    found = {entry[0]: entry[1] for entry in response.resources[0][4]}
    assert found["retention.ms"] == "-1"
    assert found["message.timestamp.type"] == "CreateTime"
    assert found["cleanup.policy"] == "delete"
    await admin.close()


async def test_a_time_far_ahead_is_taken(log: KafkaLog) -> None:
    """Simulated clocks live in other years; a broker's default refuses times more than an hour ahead."""
    publisher = log.publisher("intake")
    await publisher.start()
    for stamp in (0, 7_258_118_400_000):  # 1970 and 2200
        await publisher.publish([Outgoing("facts", 0, b"k", b"1", (), stamp)])
    assert [record.timestamp_ms for record in await all_of(log, T0)] == [0, 7_258_118_400_000]
    await publisher.close()


async def test_offsets_have_gaps_where_transactions_end(log: KafkaLog) -> None:
    publisher = log.publisher("intake")
    await publisher.start()
    assert [(await publisher.publish([outgoing(n)]))[0] for n in range(3)] == [0, 2, 4]
    assert (await log.ends("facts"))[0] == 6
    await publisher.close()


async def test_records_of_an_aborted_publish_are_never_seen(log: KafkaLog) -> None:
    """Sent, acknowledged, never committed: whoever starts next aborts them."""
    dying = log.new_producer("intake")
    await dying.start()
    await dying.begin_transaction()
    await dying.send_and_wait(f"{log.prefix}facts", b"99", key=b"k", partition=0)
    member = log.member("g", ["facts"])
    await member.start()
    await settled(member)
    await member.seek({T0: 0, T1: 0})
    assert await member.poll(10, 1.0) == {}
    assert await all_of(log, T0) == []
    successor = log.publisher("intake")
    await successor.start()
    await successor.publish([outgoing(1)])
    assert numbers((await drain(member, 1))[T0]) == [1]
    assert numbers(await all_of(log, T0)) == [1]
    await member.stop()
    await successor.close()
    await log.publisher("unused")._discard(dying)  # without a flush, which would wait for ever


async def test_members_of_a_group_share_partitions_and_take_over(log: KafkaLog) -> None:
    publisher = log.publisher("intake")
    await publisher.start()
    await publisher.publish([outgoing(n, n % 2) for n in range(10)])
    first, second = log.member("g", ["facts"]), log.member("g", ["facts"])
    await first.start()
    await settled(first)
    await first.seek({T0: 0, T1: 0})
    assert sum(map(len, (await drain(first, 10)).values())) == 10
    await second.start()

    async def until_shared() -> None:
        while len(first.assigned()) != 1 or len(second.assigned()) != 1:
            for member in (first, second):
                for records in (await member.poll(10, 0.1)).values():
                    pytest.fail(f"{len(records)} records from a partition that nobody positioned")

    await asyncio.wait_for(until_shared(), 40)
    # Everything was handed out anew, so even what stayed with the first must be positioned from the database again.
    assert first.unpositioned() == first.assigned()
    assert first.assigned() | second.assigned() == {T0, T1}
    await second.seek(dict.fromkeys(second.assigned(), 0))
    assert sum(map(len, (await drain(second, 5)).values())) == 5
    await second.stop()

    async def until_alone() -> None:
        while first.assigned() != {T0, T1}:
            await first.poll(10, 0.1)

    await asyncio.wait_for(until_alone(), 40)
    await first.stop()
    await publisher.close()


async def test_what_arrives_meanwhile_is_polled_at_once_from_all_partitions(log: KafkaLog) -> None:
    """A batch costs its transaction, however many partitions it is from (M5)."""
    publisher = log.publisher("intake")
    await publisher.start()
    member = log.member("group", ["facts"])
    await member.start()
    await member.seek(dict.fromkeys(await settled(member), 0))
    await publisher.publish([outgoing(1)])
    assert numbers((await member.poll(100, 5.0))[T0]) == [1]
    for number, partition in ((2, 1), (3, 0)):
        await publisher.publish([outgoing(number, partition)])
        await asyncio.sleep(0.2)  # the handling of the first one: the broker would have answered with either of them
    found = await member.poll(100, 5.0)
    assert {tp: numbers(records) for tp, records in found.items()} == {T0: [3], T1: [2]}
    await member.pause([T0])  # whoever pauses a partition between two polls is obeyed
    for number, partition in ((4, 0), (5, 1)):
        await publisher.publish([outgoing(number, partition)])
    found = await member.poll(100, 5.0)
    assert {tp: numbers(records) for tp, records in found.items()} == {T1: [5]}
    await member.resume([T0])
    found = await member.poll(100, 5.0)
    assert {tp: numbers(records) for tp, records in found.items()} == {T0: [4]}
    await member.stop()
    await publisher.close()


async def test_an_error_in_a_rebalance_reaches_the_loop(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka only logs what goes wrong in its callbacks."""
    member = log.member("g", ["facts"])
    await member.start()
    consumer = member._consumer
    monkeypatch.setattr(consumer, "pause", lambda *_: 1 / 0)

    async def poll_on() -> None:
        while True:
            await member.poll(10, 0.1)

    with pytest.raises(LogUnavailable, match="rebalance failed"):
        await asyncio.wait_for(poll_on(), 30)
    await settled(member)  # built itself anew
    await member.stop()


async def test_nothing_waits_for_ever_for_a_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")
    log = KafkaLog("127.0.0.1:1", deadline=1.0)  # nobody listens on port 1
    await log.start()
    publisher = log.publisher("intake")
    member = log.member("g", ["facts"])
    for call in (
        publisher.start(),
        member.start(),
        member.poll(10, 0.2),
        log.ends("facts"),
        log.read(T0, 0, 1),
        log.ensure_topics({"facts": 1}),
    ):
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(call, 8)
    with pytest.raises(PublisherSpent):
        await publisher.publish([outgoing(1)])
    await asyncio.wait_for(publisher.close(), 8)
    await asyncio.wait_for(member.stop(), 8)
    await asyncio.wait_for(log.stop(), 8)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    own_kafka: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    """G7: any failure is followed by a new publisher and a look at the tail, as the relay does."""
    caplog.set_level(logging.CRITICAL, "aiokafka")
    log = KafkaLog(own_kafka.bootstrap, deadline=4.0)
    await log.ensure_topics({"facts": 1})
    member = log.member("g", ["facts"])
    await member.start()
    publisher = log.publisher("intake")
    await publisher.start()
    await publisher.publish([outgoing(0)])
    sent = 1

    async def away() -> None:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(own_kafka.kill)
        await asyncio.sleep(5)
        await asyncio.to_thread(own_kafka.start)

    outage = asyncio.create_task(away())
    failures: list[LogError] = []
    fresh = True
    while sent < 60 or not outage.done():
        try:
            if not fresh:
                await publisher.start()
                sent = int((await all_of(log, T0))[-1].value) + 1
                fresh = True
            await publisher.publish([outgoing(sent)])
            sent += 1
        except (LogUnavailable, UnknownOutcome) as error:
            failures.append(error)
            fresh = False
        await asyncio.sleep(0.02)
    await outage
    assert failures
    await start_again(publisher)
    assert numbers(await all_of(log, T0)) == list(range(sent))

    received: list[int] = []
    position = 0
    deadline = asyncio.get_running_loop().time() + 60
    while len(received) < sent:
        assert asyncio.get_running_loop().time() < deadline
        try:
            await member.seek(dict.fromkeys(member.unpositioned(), position))
            for records in (await member.poll(100, 1.0)).values():
                received += numbers(records)
                position = records[-1].offset + 1
        except LogError:
            await asyncio.sleep(0.2)
    assert received == list(range(sent))
    await member.stop()
    await publisher.close()
    await log.stop()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_commit_that_is_not_acknowledged_is_an_unknown_outcome(
    own_kafka: KafkaServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")
    log = KafkaLog(own_kafka.bootstrap, deadline=3.0)
    await log.ensure_topics({"facts": 1})
    publisher = log.publisher("intake")
    await publisher.start()
    producer = publisher._producer
    assert producer is not None
    commit = producer.commit_transaction

    async def broker_stops_first() -> None:
        own_kafka.pause()
        await commit()

    monkeypatch.setattr(producer, "commit_transaction", broker_stops_first)
    with pytest.raises(UnknownOutcome):
        await publisher.publish([outgoing(1)])
    own_kafka.resume()
    await asyncio.wait_for(start_again(publisher), 60)
    found = numbers(await all_of(log, T0))
    assert found in ([], [1])
    await publisher.publish([outgoing(2)])
    assert numbers(await all_of(log, T0)) == [*found, 2]
    await publisher.close()
    await log.stop()


async def start_again(publisher: object) -> None:
    while True:
        try:
            await publisher.start()  # type: ignore[attr-defined]  # any publisher
            return
        except LogUnavailable:
            await asyncio.sleep(0.2)


async def test_every_client_gets_the_security_settings_as_they_are() -> None:
    context = ssl.create_default_context()
    given = {
        "security_protocol": "SASL_SSL",
        "ssl_context": context,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "lazo",
        "sasl_plain_password": "secret",
    }
    log = KafkaLog("broker:9093", **given)  # type: ignore[arg-type]  # a dict of several types
    producer, consumer = log.new_producer("p"), log.new_consumer("g")
    for client in (producer.client, consumer._client):
        assert {name: getattr(client, f"_{name}") for name in given} == given
    await producer.stop()
    await consumer.stop()

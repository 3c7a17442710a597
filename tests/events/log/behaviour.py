"""What every adapter of the log promises. A configuration class (`test_*.py` beside this file) gives it a log to run on."""

import asyncio
import time

import pytest

from libs.events.log import (
    FencedError,
    Log,
    Member,
    Outgoing,
    OutOfRange,
    PublisherSpent,
    Record,
    TopicPartition,
    UnknownTopic,
)
from tests.events.log.tools import T0, T1, Opener, all_of, drain, numbers, outgoing, settled


class LogBehaviour:
    """Inherit, and provide the fixtures `log` (started, empty, topic `facts` with 2 partitions, `other` with 1) and `another`."""

    # Publishing -------------------------------------------------------------------------------------------------------

    async def test_what_is_published_is_read_back_byte_for_byte(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        sent = [outgoing(n, n % 2) for n in range(10)]
        offsets = await publisher.publish(sent)
        for tp in (T0, T1):
            expected = [
                Record(o.topic, o.partition, offset, o.key, o.value, o.headers, o.timestamp_ms)
                for o, offset in zip(sent, offsets, strict=True)
                if o.partition == tp.partition
            ]
            assert await all_of(log, tp) == expected
        await publisher.close()

    async def test_what_publish_returned_for_can_be_read_at_once(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        position = 0
        for n in range(30):
            [offset] = await publisher.publish([outgoing(n)])
            if n % 2:
                assert (await log.ends("facts"))[0] > offset
            assert numbers(await log.read(T0, position, 10)) == [n]
            position = offset + 1
        await publisher.close()

    async def test_order_within_a_partition_is_the_order_of_publishing(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        offsets = []
        for start in range(0, 300, 50):
            offsets += await publisher.publish([outgoing(n) for n in range(start, start + 50)])
        records = await all_of(log, T0, limit=7)
        assert numbers(records) == list(range(300))
        assert [record.offset for record in records] == offsets == sorted(set(offsets))
        await publisher.close()

    async def test_more_than_one_wire_batch_goes_out_whole_and_in_order(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        sent = [outgoing(n, n % 2, size=20_000) for n in range(60)]  # 1.2 MB, past every batch and fetch size
        offsets = await publisher.publish(sent)
        zero, one = await all_of(log, T0), await all_of(log, T1)
        assert numbers(zero) == list(range(0, 60, 2))
        assert numbers(one) == list(range(1, 60, 2))
        assert [record.offset for record in zero] == offsets[0::2]
        assert [record.offset for record in one] == offsets[1::2]
        await publisher.close()

    async def test_a_record_of_three_megabytes_passes(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        value = bytes(range(256)) * 12_000
        await publisher.publish([Outgoing("facts", 0, b"k", value, (), 1)])
        assert [record.value for record in await all_of(log, T0)] == [value]
        member = log.member("large", ["facts"])
        await member.start()
        await settled(member)
        await member.seek({T0: 0, T1: 0})
        assert [record.value for record in (await drain(member, 1))[T0]] == [value]
        await member.stop()
        await publisher.close()

    async def test_a_publish_that_fails_in_its_middle_leaves_nothing(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        with pytest.raises(UnknownTopic):
            await publisher.publish([outgoing(1, 0), outgoing(2, 1), outgoing(3, 9)])
        await publisher.start()
        await publisher.publish([outgoing(4)])
        assert numbers(await all_of(log, T0)) == [4]
        assert await all_of(log, T1) == []
        await publisher.close()

    async def test_nothing_to_publish_is_no_error(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        assert await publisher.publish([]) == []
        await publisher.close()

    async def test_a_publisher_that_was_not_started_or_was_closed_refuses(self, log: Log) -> None:
        publisher = log.publisher("intake")
        with pytest.raises(PublisherSpent):
            await publisher.publish([outgoing(1)])
        await publisher.start()
        await publisher.close()
        with pytest.raises(PublisherSpent):
            await publisher.publish([outgoing(1)])
        assert await all_of(log, T0) == []

    async def test_the_publisher_started_last_fences_the_one_before(self, log: Log, another: Opener) -> None:
        """G7: a zombie publishes nothing."""
        zombie = log.publisher("intake")
        await zombie.start()
        await zombie.publish([outgoing(1)])
        async with another() as elsewhere:
            successor = elsewhere.publisher("intake")
            await successor.start()
            with pytest.raises(FencedError):
                await zombie.publish([outgoing(2)])
            await successor.publish([outgoing(3)])
            with pytest.raises(PublisherSpent):
                await zombie.publish([outgoing(4)])
            assert numbers(await all_of(log, T0)) == [1, 3]
            await zombie.start()  # takes the name back
            with pytest.raises(FencedError):
                await successor.publish([outgoing(5)])
            await zombie.publish([outgoing(6)])
            assert numbers(await all_of(log, T0)) == [1, 3, 6]
            await successor.close()
        await zombie.close()

    async def test_publishers_of_different_names_do_not_disturb_each_other(self, log: Log) -> None:
        first, second = log.publisher("intake"), log.publisher("feedback")
        await first.start()
        await second.start()

        async def send(publisher_index: int) -> None:
            publisher = (first, second)[publisher_index]
            for n in range(20):
                await publisher.publish([outgoing(n * 2 + publisher_index)])

        await asyncio.gather(send(0), send(1))
        found = numbers(await all_of(log, T0))
        assert sorted(found) == list(range(40))
        assert [n for n in found if n % 2] == list(range(1, 40, 2))
        await first.close()
        await second.close()

    # Reading ----------------------------------------------------------------------------------------------------------

    async def test_ends_are_past_the_last_record_and_empty_partitions_end_at_zero(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        offsets = await publisher.publish([outgoing(n, 1) for n in range(5)])
        ends = await log.ends("facts")
        assert set(ends) == {0, 1}
        assert ends[0] == 0
        assert ends[1] > offsets[-1]
        assert await log.read(T1, ends[1], 10) == []
        await publisher.close()

    async def test_reading_starts_anywhere_and_is_bounded(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        offsets = await publisher.publish([outgoing(n) for n in range(20)])
        assert numbers(await log.read(T0, offsets[5], 3)) == [5, 6, 7]
        assert numbers(await log.read(T0, offsets[2], 1)) == [2]
        assert numbers(await log.read(T0, offsets[3], 1)) == [3]
        assert await log.read(T0, offsets[-1] + 1, 5) == []
        await publisher.publish([outgoing(20)])
        assert numbers(await log.read(T0, offsets[-1] + 1, 5)) == [20]
        await publisher.close()

    async def test_what_does_not_exist_is_named(self, log: Log) -> None:
        assert await log.partitions("facts") == 2
        with pytest.raises(UnknownTopic, match="misspelt"):
            await log.partitions("misspelt")
        with pytest.raises(UnknownTopic):
            await log.ends("misspelt")
        with pytest.raises(UnknownTopic):
            await log.read(TopicPartition("facts", 2), 0, 1)
        with pytest.raises(UnknownTopic):
            await log.member("g", ["misspelt"]).start()

    async def test_topics_that_exist_stay_as_they_are(self, log: Log) -> None:
        await log.ensure_topics({"facts": 5, "fresh": 3})
        assert await log.partitions("facts") == 2
        assert await log.partitions("fresh") == 3

    # Members ----------------------------------------------------------------------------------------------------------

    async def test_a_new_member_delivers_nothing_until_it_is_positioned(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        await publisher.publish([outgoing(n, n % 2) for n in range(10)])
        member = log.member("g", ["facts"])
        await member.start()
        assert await settled(member) == {T0, T1} == member.assigned()
        assert await member.poll(100, 0.5) == {}
        await member.seek({T0: 0})
        assert member.unpositioned() == {T1}
        assert numbers((await drain(member, 5))[T0]) == [0, 2, 4, 6, 8]
        await member.resume([T1])  # is not a way around
        assert await member.poll(100, 0.3) == {}
        await member.seek({T1: 0})
        assert numbers((await drain(member, 5))[T1]) == [1, 3, 5, 7, 9]
        assert member.unpositioned() == set()
        await member.stop()
        await publisher.close()

    async def test_a_hint_is_no_position(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        offsets = await publisher.publish([outgoing(n) for n in range(10)])
        first = log.member("g", ["facts"])
        await first.start()
        await settled(first)
        await first.seek({T0: 0, T1: 0})
        await drain(first, 10)
        await first.hint({T0: offsets[5], T1: 0})
        await asyncio.sleep(0.3)
        await first.stop()
        second = log.member("g", ["facts"])
        await second.start()
        await settled(second)
        assert await second.poll(100, 0.5) == {}
        await second.seek({T0: offsets[2]})
        assert numbers((await drain(second, 8))[T0]) == list(range(2, 10))
        await second.stop()
        await publisher.close()

    async def test_seek_goes_back_and_forth_at_any_time(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        offsets = await publisher.publish([outgoing(n) for n in range(10)])
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        await member.seek({T0: offsets[7]})
        assert numbers((await drain(member, 3))[T0]) == [7, 8, 9]
        await member.seek({T0: offsets[0]})
        assert numbers((await member.poll(2, 5.0))[T0]) == [0, 1]
        await member.seek({T0: offsets[1]})  # what a rolled-back batch does
        assert numbers((await member.poll(3, 5.0))[T0]) == [1, 2, 3]
        await member.stop()
        await publisher.close()

    async def test_the_position_after_a_batch_is_one_past_the_last_record_returned(self, log: Log) -> None:
        """Offsets have gaps on Kafka (a marker after each transaction), so `expected + count` would be wrong."""
        publisher = log.publisher("intake")
        await publisher.start()
        for n in range(6):
            await publisher.publish([outgoing(n)])
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        position = 0
        found: list[int] = []
        while len(found) < 6:
            await member.seek({T0: position})
            records = (await member.poll(2, 5.0))[T0]
            found += numbers(records)
            position = records[-1].offset + 1
        assert found == list(range(6))
        await member.stop()
        await publisher.close()

    async def test_a_paused_partition_is_silent_and_loses_nothing(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        await publisher.publish([outgoing(n, n % 2) for n in range(4)])
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        await member.seek({T0: 0, T1: 0})
        await drain(member, 4)
        await member.pause([T0])
        await publisher.publish([outgoing(n, n % 2) for n in range(4, 8)])
        assert numbers((await drain(member, 2))[T1]) == [5, 7]
        await member.resume([T0])
        assert numbers((await drain(member, 2))[T0]) == [4, 6]
        await member.stop()
        await publisher.close()

    async def test_poll_gives_at_most_what_was_asked_for_and_starves_no_partition(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        await publisher.publish([outgoing(n, n % 2) for n in range(400)])
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        await member.seek({T0: 0, T1: 0})
        counts = {T0: 0, T1: 0}
        for _ in range(8):
            batch = await member.poll(20, 5.0)
            assert 0 < sum(map(len, batch.values())) <= 20
            for tp, records in batch.items():
                counts[tp] += len(records)
        assert min(counts.values()) > 0 or await self.eventually_served(member, counts)
        await member.stop()
        await publisher.close()

    async def eventually_served(self, member: Member, counts: dict[TopicPartition, int]) -> bool:
        """Kafka's client empties one fetched chunk before the next; the other's turn comes with it."""
        while min(counts.values()) == 0 and sum(counts.values()) < 400:
            for tp, records in (await member.poll(20, 5.0)).items():
                counts[tp] += len(records)
        return sum(counts.values()) <= 400 and min(counts.values()) > 0

    async def test_a_waiting_member_is_woken_by_a_publish(self, log: Log, another: Opener) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        await member.seek({T0: 0, T1: 0})
        delays = []

        async def publish(n: int) -> None:
            await asyncio.sleep(0.1)
            await publisher.publish([outgoing(n)])
            delays.append(-time.monotonic())

        for n in range(5):
            task = asyncio.create_task(publish(n))
            assert numbers((await member.poll(10, 10.0))[T0]) == [n]
            arrived = time.monotonic()
            await task
            delays[-1] += arrived
        assert sorted(delays)[2] < 0.25, delays
        async with another() as elsewhere:  # another process publishes
            other = elsewhere.publisher("feedback")
            await other.start()
            publishing = asyncio.create_task(other.publish([outgoing(9)]))
            assert numbers((await member.poll(10, 10.0))[T0]) == [9]
            await publishing
            await other.close()
        await member.stop()
        await publisher.close()

    async def test_poll_without_news_returns_when_its_time_is_up(self, log: Log) -> None:
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        await member.seek({T0: 0, T1: 0})
        started = time.monotonic()
        assert await member.poll(10, 0.4) == {}
        assert 0.3 < time.monotonic() - started < 1.5
        await member.stop()

    async def test_two_groups_each_get_everything(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        await publisher.publish([outgoing(n, n % 2) for n in range(10)])
        await publisher.publish([outgoing(n, 0, "other") for n in range(3)])
        for group in ("classification", "indicators"):
            member = log.member(group, ["facts", "other"])
            await member.start()
            tps = await settled(member)
            assert tps == {T0, T1, TopicPartition("other", 0)}
            await member.seek(dict.fromkeys(tps, 0))
            assert sum(map(len, (await drain(member, 13)).values())) == 13
            await member.stop()
        await publisher.close()

    async def test_a_position_the_log_does_not_hold_is_an_incident(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        await publisher.publish([outgoing(1)])
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        await member.seek({T0: 1000, T1: 0})
        with pytest.raises(OutOfRange, match="facts/0"):
            await self.poll_until_error(member)
        assert T0 in member.unpositioned()
        await member.seek({T0: 0})
        assert numbers((await drain(member, 1))[T0]) == [1]
        await member.stop()
        await publisher.close()

    async def poll_until_error(self, member: Member) -> None:
        for _ in range(20):
            assert await member.poll(10, 0.5) == {}

    async def test_lag_is_zero_exactly_when_everything_was_delivered(self, log: Log) -> None:
        publisher = log.publisher("intake")
        await publisher.start()
        offsets = await publisher.publish([outgoing(n) for n in range(5)])
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        ends = await member.ends([T0, T1])
        assert ends[T0] > offsets[-1]
        assert ends[T1] == 0
        await member.seek({T0: 0, T1: 0})
        await drain(member, 5)
        assert await member.ends([T0, T1]) == {T0: offsets[-1] + 1, T1: 0}
        offset = 0
        for n in range(20):
            [offset] = await publisher.publish([outgoing(n)])
            assert (await member.ends([T0]))[T0] > offset  # at once, visible or not
        await drain(member, 20)
        assert await member.ends([T0, T1]) == {T0: offset + 1, T1: 0}
        await member.stop()
        await publisher.close()

    async def test_a_stopped_member_owns_nothing(self, log: Log) -> None:
        member = log.member("g", ["facts"])
        await member.start()
        await settled(member)
        await member.stop()
        assert member.assigned() == set()
        await member.stop()

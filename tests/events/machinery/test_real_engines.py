"""The same promises on Apache Kafka and PostgreSQL."""

import asyncio
from datetime import timedelta

from libs.events.log import TopicPartition
from tests.events.world import World


async def test_the_flow_holds_on_kafka_and_postgresql_through_kills_and_copies(real_world: World) -> None:
    """I1, I4, I5, I6: services die between commits; records are published again behind everybody's back."""
    world = real_world
    intake, feedback = await world.intake(), await world.feedback()
    accepted: dict[str, int] = {}
    for round_ in range(6):
        answers = await intake.group_commit.submit([world.draft(round_ * 20 + number) for number in range(25)])
        accepted |= {answer.id: 1 for answer in answers}
        await asyncio.sleep(0.1)
        if round_ % 2:
            await world.kill(intake)
            intake = await world.intake()
        else:
            await world.kill(feedback)
            feedback = await world.feedback()
    await world.settle(60)
    world.clock.advance(timedelta(days=2))
    await world.settle(60)
    await world.check(accepted, acknowledged=True)
    status = await feedback.status()
    assert (status.behind, status.pending, status.parked, status.idle) == (0, 0, 0, True)


async def test_transaction_markers_at_the_end_of_a_partition_are_not_taken_for_events(real_world: World) -> None:
    world = real_world
    intake, feedback = await world.intake(), await world.feedback()
    await intake.group_commit.submit([world.draft(number) for number in range(5)])
    await world.settle(60)
    ends = await world.log.ends("lazo.interactions")
    last = [(await world.log.read(TopicPartition("lazo.interactions", number), 0, 100))[-1:] for number in ends]
    assert any(records and ends[records[0].partition] > records[0].offset + 1 for records in last), (
        "no marker was there"
    )
    assert (await feedback.status()).behind == 0

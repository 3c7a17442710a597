"""Coding shares the loop with everybody who waits for an answer."""

import asyncio
import gc
import time

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification.app import build as classification
from services.intake.app import build as intake
from tests.classification.test_service import START, contact, publish, send, source


async def test_a_batch_of_contacts_lets_others_have_the_loop_while_it_is_coded() -> None:
    """Time of the loop's own thread between two looks: what others do with the machine, and threads of ours, do not count.
    A batch of 300 took 25-33 ms of it in one go, and takes 11; a full collection of garbage, which a running server is spared,
    takes 100. The better of two batches: a processor may be slow for a moment."""
    longest: list[float] = []

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            longest[-1] = max(longest[-1], time.thread_time() - began)

    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        await publish(run)
        await send(run, [contact(0, "No tengo internet")])
        await run.settle()
        gc.collect()
        gc.freeze()
        gc.disable()
        for batch in (1, 2):
            longest.append(0.0)
            watching = asyncio.create_task(watch())
            some = range(300 * batch, 300 * batch + 300)
            await send(run, [contact(number, f"No tengo internet desde ayer, caso {number}") for number in some])
            await run.settle()
            watching.cancel()
        gc.enable()
        gc.unfreeze()
    assert min(longest) < 0.02

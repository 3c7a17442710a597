"""What every Kafka client here shares: patience with closing, and looking into causes."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0


def text_of(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def patiently(closing: Awaitable[Any]) -> None:
    """Close something that may hang or fail; it is given up after CLOSE_SECONDS."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
    except (KafkaError, TimeoutError, OSError) as error:
        logger.warning("a Kafka client did not close: %s", text_of(error))


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    await patiently(consumer.stop())
    await patiently(consumer._client.close())  # noqa: SLF001 - `stop()` may have been given up before its last step


def retrieved(future: asyncio.Future[Any]) -> None:
    # The first failure was raised; the others of the same transaction say the same and must not be reported as forgotten.
    if not future.cancelled():
        future.exception()


def among_causes(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> bool:
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False

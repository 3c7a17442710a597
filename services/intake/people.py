"""Finding the people of concurrent requests together: the vault is asked once for all who wait."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from libs.events.errors import StoreUnavailable, is_transient

MOST = 2_000  # maps per call: one write transaction of the vault for all new people among them


class Finds(Protocol):
    """What is needed of the vault."""

    async def resolve(self, people: Sequence[Mapping[str, str]]) -> list[str]: ...

    def recall(self, people: Sequence[Mapping[str, str]]) -> list[str] | None: ...


class People:
    """Resolves identifiers to pseudonyms. While one call is under way, those who come queue up for the next.

    Without this, 64 requests about 64 new customers would be 64 transactions of the vault one after the other, each with
    its own fsync; together they are one or two.
    """

    def __init__(self, vault: Finds) -> None:
        self._vault = vault
        self._queue: list[tuple[Sequence[Mapping[str, str]], asyncio.Future[list[str]]]] = []
        self._loop: asyncio.Task[None] | None = None

    async def resolve(self, people: Sequence[Mapping[str, str]]) -> list[str]:
        """The person id of each map, in order. Raises StoreUnavailable when the vault cannot answer."""
        if not people:
            return []
        known = self._vault.recall(people)  # most customers who complain today wrote a minute ago
        if known is not None:
            return known
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._queue.append((people, answer))
        if self._loop is None:
            self._loop = asyncio.create_task(self._run(), name="intake-people")
        return await answer

    async def close(self) -> None:
        """Wait until everybody is answered."""
        while self._loop is not None:
            await asyncio.wait([self._loop])

    async def _run(self) -> None:
        # No await stands between the last look at the queue and `_loop = None`, so that nobody is left behind.
        try:
            while self._queue:
                group = self._take()
                wanted = [person for people, _ in group for person in people]
                try:
                    found = await self._vault.resolve(wanted)
                except Exception as error:  # noqa: BLE001 - it goes to those who asked
                    for _, answer in group:
                        if not answer.done():
                            answer.set_exception(_for_caller(error))
                    continue
                start = 0
                for people, answer in group:
                    if not answer.done():
                        answer.set_result(found[start : start + len(people)])
                    start += len(people)
        finally:
            self._loop = None
            for _, answer in self._queue:  # only when cancelled
                if not answer.done():
                    answer.set_exception(StoreUnavailable("the service is closing"))
            self._queue.clear()

    def _take(self) -> list[tuple[Sequence[Mapping[str, str]], "asyncio.Future[list[str]]"]]:
        group: list[tuple[Sequence[Mapping[str, str]], asyncio.Future[list[str]]]] = []
        size = 0
        while self._queue and (not group or size + len(self._queue[0][0]) <= MOST):
            people, answer = self._queue.pop(0)
            if not answer.cancelled():
                group.append((people, answer))
                size += len(people)
        return group


def _for_caller(error: Exception) -> Exception:
    if not is_transient(error):
        return error
    wrapped = StoreUnavailable(f"the vault did not answer: {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped

"""What a test may break, to see which invariant notices."""

from dataclasses import dataclass

from libs.events.consumer import Discipline
from libs.events.relay import Relay


class Unlocked(Relay):
    """A relay that believes to be alone: the lock keeps peace between relays, nothing that is promised hangs on it. So
    zombies are as frequent here as the schedule wants them."""

    def _alone(self):  # type: ignore[no-untyped-def]  # as untyped as the one it stands for
        return _yes()


class _yes:  # noqa: N801 - a context manager in two methods
    async def __aenter__(self) -> bool:
        return True

    async def __aexit__(self, *error: object) -> None:
        return None


@dataclass(frozen=True)
class Variant:
    """The machinery under test. The defaults are the real thing."""

    name: str = "real"
    discipline: type[Discipline] = Discipline
    relay: type[Relay] = Unlocked
    fences: bool = True  # whether the log minds its fence
    begin: str = "BEGIN IMMEDIATE"  # "": as the driver has it by default, before the first write


REAL = Variant()

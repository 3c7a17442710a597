"""A Kafka broker for tests: the one of deploy/kafka-local on a temporary directory, or one that LAZO_TEST_KAFKA names."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "deploy" / "kafka-local"))  # plain scripts, usable before the environment exists: no package

from kafka_local import KafkaLocal, KafkaUnavailable, fetch, find_java  # noqa: E402 - after the path is known

__all__ = ["KafkaServer", "KafkaUnavailable", "find_java", "kafka_missing"]


class KafkaServer(KafkaLocal):
    """A broker on a directory of its own, removed at `close`. `start`, `stop`, `kill` (SIGKILL), `pause`, `resume`, `bootstrap`."""

    def __init__(self, data: Path | None = None, *, heap: str = "384m") -> None:
        self._directory = tempfile.mkdtemp(prefix="lazo-kafka-") if data is None else None
        super().__init__(Path(self._directory) if self._directory else data or Path(), heap=heap)

    def close(self) -> None:
        """Stop at once and remove the directory, unless it was handed in."""
        self.kill()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        atexit.register(self.close)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        atexit.unregister(self.close)


def kafka_missing() -> str | None:
    """Why no broker can be started here, or None. The jars are fetched if they are not there yet."""
    try:
        find_java()
        fetch()
    except KafkaUnavailable as problem:
        return str(problem)
    return None

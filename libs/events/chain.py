"""The chain: every record carries a hash of itself and of the record before it in its partition.

The text in `ce_chainhash` is `<place>.<hash>`: the place counts the partition's records from 1, and
`hash = SHA-256(previous text || canonical bytes)` in hex. The place is covered by the hash and lets the walk tell a missing
record from an altered one. Offsets are left out: a log copied to another broker keeps its chain.
"""

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from libs.events.envelope import chainhash_of
from libs.events.log import Outgoing, Record

GENESIS = "0." + "0" * 64
"""What stands before the first record of every partition."""

_HEADER = "ce_chainhash"
_TEXT = re.compile(r"(0|[1-9][0-9]{0,17})\.[0-9a-f]{64}")


def canonical(record: Record | Outgoing) -> bytes:
    """Everything of a record but its offset and its chain text. The lengths of all parts come first, so that no two
    different records have the same bytes."""
    parts = [record.topic.encode(), record.key or b"", record.value]
    for name, value in record.headers:
        if name != _HEADER:
            parts.append(name.encode())
            parts.append(value)
    count = len(parts)
    lengths = struct.pack(f">IqI{count}I", record.partition, record.timestamp_ms, count, *map(len, parts))
    return lengths + b"".join(parts)


def link(previous: str, content: bytes) -> str:
    """The chain text of the record with this canonical content that follows `previous`. Raises ValueError."""
    return f"{_place(previous) + 1}.{hashlib.sha256(previous.encode() + content).hexdigest()}"


def chained(record: Outgoing, previous: str) -> tuple[Outgoing, str]:
    """The record with its chain text as the last header, and that text, which the next record follows."""
    text = link(previous, canonical(record))
    headers = (*record.headers, (_HEADER, text.encode()))
    out = Outgoing(record.topic, record.partition, record.key, record.value, headers, record.timestamp_ms)
    return out, text


Kind = Literal["altered", "missing", "reordered", "inserted"]


@dataclass(frozen=True, slots=True)
class Break:
    """One place where the chain does not hold. `missing`: so many records are gone before `offset`."""

    topic: str
    partition: int
    offset: int
    kind: Kind
    missing: int = 0


class Walk:
    """Walks one partition from its first record. Feed the records in order, then `end`. After a break it goes on from what
    stands there, so that one altered record is one break and later ones are found too.

    What it cannot see: records missing at the very end, and a partition rewritten to its end with new hashes. The stores
    know better (`lazo verify` compares), and so will a signed root.
    """

    def __init__(self, previous: str = GENESIS) -> None:
        self._previous: str | None = (
            previous  # None: the chain text before was destroyed, the next is taken at its word
        )
        self._held: Record | None = None  # a record that does not fit, until its follower says why

    @property
    def last(self) -> str | None:
        """The chain text of the last record that counts; None where it was destroyed."""
        return self._previous

    def feed(self, record: Record) -> Iterator[Break]:
        """Breaks that this record proves."""
        if self._held is not None:
            held, self._held = self._held, None
            found, taken = self._judge(held, record)
            yield found
            if taken:
                return
        text = _text(record)
        if text is not None and (self._previous is None or text == link(self._previous, canonical(record))):
            self._previous = text
        else:
            self._held = record

    def end(self) -> Iterator[Break]:
        """The break of the last record, if it does not fit."""
        if self._held is not None:
            held, self._held = self._held, None
            yield self._by_place(held)

    def _judge(self, record: Record, follower: Record) -> tuple[Break, bool]:
        """Why `record` does not fit, and whether `follower` is dealt with too."""
        previous, text, following = self._previous, _text(record), _text(follower)
        content = canonical(follower)
        if previous is not None and following is not None:
            if following == link(previous, content):  # fits without this one
                if text == link(following, canonical(record)):
                    self._previous = text
                    return _break(record, "reordered"), True
                return _break(record, "inserted"), False
            if following == link(link(previous, canonical(record)), content):  # only its chain text was touched
                self._previous = link(previous, canonical(record))
                return _break(record, "altered"), False
        return self._by_place(record), False

    def _by_place(self, record: Record) -> Break:
        text = _text(record)
        if text is None:
            self._previous = None
            return _break(record, "altered")
        if self._previous is not None:
            ahead = _place(text) - _place(self._previous) - 1
            if ahead < 0:
                return _break(record, "reordered")  # from further up, or a copy: the chain goes on without it
            if ahead > 0:
                self._previous = text
                return _break(record, "missing", ahead)
        self._previous = text
        return _break(record, "altered")


def _break(record: Record, kind: Kind, missing: int = 0) -> Break:
    return Break(record.topic, record.partition, record.offset, kind, missing)


def _text(record: Record) -> str | None:
    text = chainhash_of(record)
    return text if text is not None and _TEXT.fullmatch(text) else None


def _place(text: str) -> int:
    return int(text.partition(".")[0])

"""How far the log goes, as far as this process knows: kept per log, so that services in one process see each other's records
the moment they are published, without asking the log."""

from weakref import WeakKeyDictionary

from libs.events.log import Log, TopicPartition

_ends: WeakKeyDictionary[Log, dict[TopicPartition, int]] = WeakKeyDictionary()


def horizon(log: Log) -> dict[TopicPartition, int]:
    """Next offset by partition. Complete for the embedded log, whose only publishers are in this process; of others, what
    this process published itself."""
    return _ends.setdefault(log, {})


def seen(log: Log, tp: TopicPartition, end: int) -> None:
    """The partition goes at least up to `end`."""
    ends = horizon(log)
    if ends.get(tp, -1) < end:
        ends[tp] = end

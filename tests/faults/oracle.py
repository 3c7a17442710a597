"""After the faults: what the topics hold against what the writer was told, recomputed without the services' code."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from libs.events.catalogue import topics
from libs.events.envelope import Event, from_record
from libs.events.ids import natural_id
from libs.events.log import Log, TopicPartition
from tests.faults.writer import SOURCE, History

CASES = {"complaint", "claim", "request"}


@dataclass
class Witness:
    """All topics, read committed and from the beginning."""

    events: dict[TopicPartition, list[Event]]

    @classmethod
    async def of(cls, log: Log) -> Witness:
        found: dict[TopicPartition, list[Event]] = {}
        for topic in topics.ALL:
            for partition, end in (await log.ends(topic)).items():
                tp, at = TopicPartition(topic, partition), 0
                found[tp] = []
                while at < end:
                    page = await log.read(tp, at, 2000)
                    if not page:
                        break
                    found[tp] += [from_record(record) for record in page]
                    at = page[-1].offset + 1
        return cls(found)

    def every(self) -> list[Event]:
        return [event for events in self.events.values() for event in events]


def check(history: History, witness: Witness) -> dict[str, int]:
    """Raise AssertionError naming the first invariant that does not hold; else some counts to be shown."""
    events = witness.every()
    ids = Counter(event.id for event in events)
    doubled = [event_id for event_id, times in ids.items() if times > 1]
    assert not doubled, f"I1: {len(doubled)} events stand on a topic more than once: {doubled[:5]}"

    recorded = {event.id: event for event in events if event.type == "lazo.interaction.recorded.v1"}
    lost = [external for external, told in history.told.items() if told not in recorded]
    assert not lost, f"I1: {len(lost)} accepted interactions are not on the topic: {lost[:5]}"

    known = set(history.told) | set(history.kinds)
    invented = [event.id for event in recorded.values() if event.json()["external_id"] not in known]
    assert not invented, f"I2: {invented[:5]} were never sent"
    reachable = set(ids)
    orphans = [event.type for event in events if event.causationid and event.causationid not in reachable]
    orphans = [name for name in orphans if not name.startswith("lazo.feedback.")]  # timers are causes off the topics
    assert not [n for n in orphans if n in {"lazo.interaction.classified.v1", "lazo.case.opened.v1"}], (
        f"I2: {orphans[:5]}"
    )

    assert not history.differing, f"I3: another id for the same fact: {history.differing[:5]}"

    first = Counter(
        event.json()["interaction_id"]
        for event in events
        if event.type == "lazo.interaction.classified.v1" and event.json()["revision"] == 1
    )
    wrong = [i for i in recorded if first[i] != 1]
    assert not wrong, f"I4: {len(wrong)} interactions were not coded exactly once: {wrong[:5]}"
    opened = Counter(event.json()["case_id"] for event in events if event.type == "lazo.case.opened.v1")
    due = {natural_id("case", e.id) for e in recorded.values() if e.json()["kind"] in CASES}
    assert set(opened) == due, f"I4: {len(due - set(opened))} cases are missing, {len(set(opened) - due)} are nobody's"
    assert set(opened.values()) <= {1}, f"I4: opened twice: {[case for case, times in opened.items() if times > 1][:5]}"
    asked = Counter(
        (event.json()["case_id"], event.json()["purpose"])
        for event in events
        if event.type == "lazo.feedback.requested.v1"
    )
    twice = [key for key, times in asked.items() if times > 1]
    assert not twice, f"I4: customers are asked twice: {twice[:5]}"

    for tp, held in witness.events.items():
        versions: dict[str, int] = defaultdict(int)
        for event in held:
            assert event.streamversion == versions[event.subject] + 1, (
                f"I5: {tp} has version {event.streamversion} of {event.subject} after {versions[event.subject]}"
            )
            versions[event.subject] = event.streamversion

    for external, told in history.told.items():
        expected = natural_id("interaction", SOURCE, external)
        assert told == expected, f"I4: {external} was answered with {told}, the rule gives {expected}"
    return {
        "recorded": len(recorded),
        "cases": len(opened),
        "events": len(events),
        "sent": history.sent,
        "unknown": history.unknown,
        "refused": history.refused,
    }

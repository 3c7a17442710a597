"""The invariants, each a function with its number, and the oracle: a plain fold over what was accepted."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from libs.events.catalogue import decode
from libs.events.catalogue.feedback import CaseOverdue
from libs.events.catalogue.topics import FEEDBACK, INTERACTIONS
from libs.events.envelope import derived_id
from libs.events.simulation import model
from libs.events.simulation.witness import Place
from libs.events.store import Appended
from libs.events.timers import timer_id

if TYPE_CHECKING:
    from libs.events.simulation.simulation import Simulation


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


class Trace:
    """A digest of everything that was decided."""

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, *what: object) -> None:
        self._hash.update(repr(what).encode())

    def text(self) -> str:
        return self._hash.hexdigest()


def require(invariant: str, holds: bool, text: str) -> None:
    if not holds:
        raise Violation(invariant, text)


# During the run.


def positions_rise(simulation: "Simulation", service: str, before: dict[Any, int]) -> dict[Any, int]:
    """I7: positions only rise, and none is beyond the log's end."""
    now = simulation.witness.offsets(service)
    if now == before:
        return now
    ends = {(tp.topic, tp.partition): end for tp, end in simulation.witness.ends().items()}
    for place, at in now.items():
        was = before.get(place, 0)
        require("I7", at >= was, f"{service}: the position {place} fell from {was} to {at}")
        require(
            "I7", at <= ends[place[1:]], f"{service}: the position {place} is {at}, the log ends at {ends[place[1:]]}"
        )
    return now


def answers_agree(simulation: "Simulation", numbers: Sequence[int], answers: Sequence[Appended]) -> None:
    """I3: whoever asks again with the same key gets the same answer."""
    for number, answer in zip(numbers, answers, strict=True):
        event_id = model.fact_id(number)
        require("I3", answer.id == event_id and answer.same_content, f"fact {number} was answered with {answer}")
        recorded = answer.recordedtime.isoformat()
        first = simulation.answers.told.setdefault(event_id, recorded)
        require("I3", first == recorded, f"fact {number} was recorded at {first}, then at {recorded}")


def may_differ(simulation: "Simulation", error: Exception) -> None:
    """I8: a rebuild gives equal digests, unless something of either slot is parked."""
    parked = [item for item in simulation.witness.quarantine("parked", "waiting") if item.handler == model.FOLD]
    require("I8", bool(parked), str(error))


# What there is left to do.


def unrest(simulation: "Simulation", about: str = "") -> list[str]:
    """I13: what is not done yet, as far as it says `about`. Empty when everything has come right."""
    witness = simulation.witness
    found = []
    if pending := witness.pending():
        found.append(f"{pending} events not published")
    ends = witness.ends()
    for service, group, topics in (
        ("feedback", "feedback", (INTERACTIONS,)),
        ("indicators", witness.live_group(), model.TOPICS),
    ):
        offsets = witness.offsets(service)
        for tp, end in ends.items():
            at = offsets.get((group or "", tp.topic, tp.partition), 0)
            if tp.topic in topics and at < end:
                found.append(f"{service} is at {at} of {end} in {tp}")
    for service in model.SERVICES:
        [process] = simulation.alive(service)
        if process.runtime is None:
            found.append(f"{service} is not up")
            continue
        ended = [name for name, task in process.runtime._tasks.items() if task.done()]  # noqa: SLF001 - its life
        require("I13", not ended, f"{process}: {ended} ended")
        if service == "feedback":
            now = process.runtime.clock.now().replace(tzinfo=None).isoformat(" ", "microseconds")
            found += [f"a timer is due at {due}" for due in witness.timers() if due <= now]
    return [text for text in found if about in text]


# In the end.


async def settle_unknown(simulation: "Simulation") -> None:
    """I3: half of the clients that were left without an answer ask again; for all others the fact is there once or never."""
    answers = simulation.answers
    unknown = [
        number
        for number, event_id in sorted(answers.asked.items())
        if event_id not in answers.told and event_id not in answers.refused
    ]
    for number in unknown[::2]:
        await simulation.ask_again(number)


def while_parked(simulation: "Simulation") -> None:
    """I9, before the repair: what is parked is what was poisoned, and its followers wait."""
    items = simulation.witness.quarantine("parked", "waiting")
    for item in items:
        if item.state == "parked":
            known = (item.handler, item.event_id) in simulation.poisoned
            # A record in whose middle processes ended is parked too. A zombie beside them may look like one of them.
            killed = 0 < simulation.deaths[item.group, item.topic, item.offset] >= _claimed(item.error) - 1
            require("I9", known or killed, f"{item} is parked, and nobody poisoned it")
    open_ = {(item.group, item.event_id) for item in items}
    in_order = [*simulation.witness.places(INTERACTIONS), *simulation.witness.places(FEEDBACK)]
    heads = {(item.group, item.handler, item.key) for item in items if item.state == "parked"}
    for item in items:
        head = (item.group, item.handler, item.key)
        require("I9", item.state == "parked" or head in heads, f"{item} waits for nobody")
    groups = {model.ASSIGN: "feedback", model.FOLD: simulation.witness.live_group() or ""}
    there = {place.event.id for place in in_order}
    for handler, event_id in simulation.handlers.poison:
        if event_id in there:
            require("I9", (groups[handler], event_id) in open_, f"{event_id} cannot have been handled by {handler}")
    blocked: set[tuple[str, str, str]] = set()
    for place in in_order:
        for group in groups.values():
            if group == "feedback" and place.tp.topic != INTERACTIONS:
                continue
            follows = (group, place.tp.topic, place.event.partitionkey)
            if (group, place.event.id) in open_:
                blocked.add(follows)
            else:
                require("I9", follows not in blocked, f"{place.event.id} overtook an event of its key in {group}")


def _claimed(error: str) -> int:
    found = re.fullmatch(r"the process ended while handling it, (\d+) times", error)
    return int(found[1]) if found else 1_000_000


def at_rest(simulation: "Simulation") -> None:
    """Everything that must hold once everything has come right."""
    interactions = simulation.witness.places(INTERACTIONS)
    feedback = simulation.witness.places(FEEDBACK)
    durability(simulation, interactions)
    no_invention(simulation, interactions, feedback)
    unknown_settled(interactions)
    order(simulation, interactions, feedback)
    effect_once(simulation, interactions, feedback)
    quarantine_empty(simulation)
    state_is_fold(simulation, interactions, feedback)


def durability(simulation: "Simulation", interactions: Sequence[Place]) -> None:
    """I1: what was answered for is on the topic exactly once, and so is everything that a store holds."""
    there = Counter(place.event.id for place in interactions)
    for event_id in simulation.answers.told:
        require("I1", there[event_id] == 1, f"{event_id} was accepted and is in the log {there[event_id]} times")
    for service, topic in (("intake", INTERACTIONS), ("feedback", FEEDBACK)):
        kept = Counter(row[0] for row in simulation.witness.rows(service, "SELECT id FROM events"))
        published = Counter(place.event.id for place in simulation.witness.places(topic))
        difference = (kept - published) + (published - kept)
        require("I1", not difference, f"{service}'s store and {topic} differ: {dict(list(difference.items())[:5])}")


def no_invention(simulation: "Simulation", interactions: Sequence[Place], feedback: Sequence[Place]) -> None:
    """I2: everything leads back to a fact that somebody asked for and that was not refused."""
    asked = set(simulation.answers.asked.values()) - simulation.answers.refused
    known = {place.event.id for place in interactions}
    require("I2", known <= asked, f"nobody asked for {sorted(known - asked)[:5]}")
    for place in feedback:
        cause = place.event.causationid
        require("I2", cause in known, f"{place.event.id} is caused by {cause}, which is nowhere")
        require("I2", place.event.correlationid in known, f"{place.event.id} belongs to no accepted fact")


def unknown_settled(interactions: Sequence[Place]) -> None:
    """I3: a request without an answer has taken effect once or not at all."""
    several = {
        event_id: count for event_id, count in Counter(place.event.id for place in interactions).items() if count > 1
    }
    require("I3", not several, f"more than once in the log: {several}")


def order(simulation: "Simulation", *topics: Sequence[Place]) -> None:
    """I5: per stream the log follows the store's versions without a gap or a repeat; a key has one partition."""
    versions: dict[str, int] = {}
    homes: dict[tuple[str, str], int] = {}
    for places in topics:
        for place in places:
            event = place.event
            following = versions.get(event.subject, 0) + 1
            require(
                "I5",
                event.streamversion == following,
                f"{event.subject}: {event.streamversion} where {following} belongs",
            )
            versions[event.subject] = following
            home = homes.setdefault((place.tp.topic, event.partitionkey), place.tp.partition)
            require("I5", home == place.tp.partition, f"{event.partitionkey} is in two partitions")


def desks_of(interactions: Sequence[Place]) -> tuple[dict[str, model.Desk], dict[str, Any]]:
    """The oracle for feedback: its rows, and every event it must have published, by id."""
    desks: dict[str, model.Desk] = {}
    said: dict[str, Any] = {}
    for place in interactions:
        event, key = place.event, place.event.partitionkey
        desk, items, due = model.take_update(desks.get(key, model.Desk(key)), event.id, event.recordedtime)
        for index, data in enumerate(items):
            said[derived_id(event.id, model.ASSIGN, index)] = data
        if due is not None:
            timer = timer_id(model.REMIND, f"{key}/{desk.seen}", due)
            said[derived_id(timer, model.REMIND, 0)] = CaseOverdue(
                case_id=key, customer_id=key, at=due, by="timer", due_at=due
            )
            desk = model.remind(desk)
        desks[key] = desk
    return desks, said


def effect_once(simulation: "Simulation", interactions: Sequence[Place], feedback: Sequence[Place]) -> None:
    """I4: for each cause and handler each effect once, under the id that the rule gives it, and with its content."""
    _, said = desks_of(interactions)
    there = Counter(place.event.id for place in feedback)
    doubled = {event_id: count for event_id, count in there.items() if count > 1}
    require("I4", not doubled, f"effects more than once: {doubled}")
    extra, missing = there.keys() - said.keys(), said.keys() - there.keys()
    require("I4", not extra, f"effects that no rule gives: {[p.event for p in feedback if p.event.id in extra][:2]}")
    require("I4", not missing, f"effects that are missing: {[said[event_id] for event_id in sorted(missing)][:2]}")
    for place in feedback:
        expected = said[place.event.id]
        require("I4", decode(place.event) == expected, f"{place.event} should say {expected}")


def quarantine_empty(simulation: "Simulation") -> None:
    """I9, after the repair: nothing is parked, nothing waits."""
    left = simulation.witness.quarantine("parked", "waiting")
    require("I9", not left, f"left in quarantine: {left[:3]}")


def rows_of(*topics: Sequence[Place]) -> dict[str, model.Row]:
    """The oracle for indicators."""
    found: dict[str, model.Row] = {}
    for places in topics:
        for place in places:
            key = place.event.partitionkey
            found[key] = model.fold(found.get(key, model.Row(key)), place.event.id, decode(place.event))
    return found


def state_is_fold(simulation: "Simulation", interactions: Sequence[Place], feedback: Sequence[Place]) -> None:
    """I6: every row equals the oracle's, and the stored position is the log's end."""
    desks, _ = desks_of(interactions)
    _equal("feedback", _stored(simulation, "feedback", "desks"), {key: asdict(desk) for key, desk in desks.items()})
    expected = {key: asdict(row) for key, row in rows_of(interactions, feedback).items()}
    _equal("indicators", _stored(simulation, "indicators", f"cases_{_slot(simulation)}"), expected)
    left = unrest(simulation)
    require("I6", not left, f"the state is not at the log's end: {left}")


def _slot(simulation: "Simulation") -> str:
    return (simulation.witness.live_group() or "").rpartition(".")[2]


def _stored(simulation: "Simulation", service: str, table: str) -> dict[str, dict[str, Any]]:
    names = [row[1] for row in simulation.witness.rows(service, f"PRAGMA table_info({table})")]
    rows = simulation.witness.rows(service, f"SELECT * FROM {table}")  # noqa: S608 - our own names
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def _equal(what: str, stored: dict[str, Any], expected: dict[str, Any], invariant: str = "I6") -> None:
    for key in sorted(stored.keys() | expected.keys()):
        require(
            invariant, stored.get(key) == expected.get(key), f"{what}: {stored.get(key)} should be {expected.get(key)}"
        )


def rebuilt_is_fold(simulation: "Simulation", invariant: str = "I8") -> None:
    """I8: the projection that was built again has the oracle's rows."""
    expected = rows_of(simulation.witness.places(INTERACTIONS), simulation.witness.places(FEEDBACK))
    stored = _stored(simulation, "indicators", f"cases_{_slot(simulation)}")
    _equal("rebuilt", stored, {key: asdict(row) for key, row in expected.items()}, invariant)


async def commutes(simulation: "Simulation") -> None:
    """I11: whichever topic is read first, the projection is the same."""
    for topics in (model.TOPICS, model.TOPICS[::-1]):
        await simulation.fold_in_order(topics)
        rebuilt_is_fold(simulation, "I11")

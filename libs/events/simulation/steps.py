"""What a schedule may do to a run: one function for each kind of step. The number chooses among what there is at the time."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from libs.events.log import TopicPartition
from libs.events.simulation import model

if TYPE_CHECKING:
    from libs.events.simulation.simulation import Simulation

SECONDS = (0.05, 0.6, 1.1, 5.5, 11.0, 21.0, 65.0)
CRASHES = (
    "intake.committed",
    "relay.claimed",
    "relay.acked",
    "relay.marked",
    "consumer.polled",
    "consumer.claimed",
    "consumer.inbox",
    "consumer.handled",
    "consumer.committed",
    "consumer.hinted",
    "rebalance.assigned",
    "rebalance.sought",
    "quarantine.attempted",
    "quarantine.parked",
    "timer.claimed",
    "timer.handled",
    "timer.committed",
    "projection.built",
    "projection.flipped",
)


def item_service(group: str) -> str:
    """Whose quarantine a group's items are in."""
    return "indicators" if group.startswith("indicators") else "feedback"


def go(run: "Simulation", number: int) -> None:
    free = run.free()
    if free:
        run.loop.release(free[number % len(free)])
    else:
        run.pass_time()


def time(run: "Simulation", number: int) -> None:
    run.loop.advance(SECONDS[number % len(SECONDS)])


def append(run: "Simulation", number: int) -> None:
    several = run.alive("intake")
    if not several:
        return
    again = [fact for fact, event_id in run.answers.asked.items() if event_id not in run.answers.refused]
    if number % 4 == 0 and again:
        numbers = [again[number * 7 % len(again)]]
    else:
        numbers = [run.fact() for _ in range(1 + number % 3)]
    process = several[number % len(several)]
    process.spawn(run.client(process, numbers))


def twice(run: "Simulation", number: int) -> None:
    several = run.alive("intake")
    if several:
        fact = run.fact()
        for process in (several[0], several[-1]):
            process.spawn(run.client(process, [fact]))


def refuse(run: "Simulation", number: int) -> None:
    for process in run.alive("intake")[:1]:
        process.spawn(run.client(process, [run.fact()], refuse=True))


def late(run: "Simulation", number: int) -> None:
    if number % 2 == 0:
        run.positions.skip = 1 + number // 2 % 3
    else:
        run.positions.fill = True


def hold(run: "Simulation", number: int) -> None:
    free = run.free()
    if free:
        free[number % len(free)].held = 5 + number % 60


def start(run: "Simulation", number: int) -> None:
    service = model.SERVICES[number % 3]
    if len(run.alive(service)) < 2:
        run.start(service)


def zombie(run: "Simulation", number: int) -> None:
    several = run.alive(model.SERVICES[number % 3])
    several.sort(key=lambda process: not process.in_hand)  # the middle of a batch is where waking up late is worst
    if several:
        several[0].asleep = 60 + 2 * number
        if len(several) == 1:
            run.start(several[0].service)


def kill(run: "Simulation", number: int) -> None:
    alive = run.alive()
    if alive:
        process = alive[number % len(alive)]
        run.note(f"{process} is killed")
        process.end()


def crash(run: "Simulation", number: int) -> None:
    alive = run.alive()
    if alive:
        alive[number // len(CRASHES) % len(alive)].crash_at = CRASHES[number % len(CRASHES)]


def commit(run: "Simulation", number: int) -> None:
    alive = run.alive()
    if alive:
        several = 1 + number // 64  # a sick disk is sick for a while
        alive[number // 2 % len(alive)].faults["commit"] = ["lost" if number % 2 else "unknown"] * several


def begin(run: "Simulation", number: int) -> None:
    alive = run.alive()
    if alive:
        several = 1 + number // 64
        alive[number % len(alive)].faults["begin"] = ["failed"] * several


def publish(run: "Simulation", number: int) -> None:
    alive = [process for process in run.alive() if process.service != "indicators"]
    if alive:
        alive[number // 3 % len(alive)].faults["publish"] = ["unknown" if number % 3 else "lost"]


def clock(run: "Simulation", number: int) -> None:
    run.skew[model.SERVICES[number % 3]] = (number // 3 % 25 - 12) * 3600.0


def poison(run: "Simulation", number: int) -> None:
    several = run.alive("intake")
    if several and len(run.handlers.poison) < 4:
        fact = run.fact()
        place = ((model.ASSIGN, model.FOLD)[number % 2], model.fact_id(fact))
        run.handlers.poison.add(place)
        run.poisoned.add(place)
        several[0].spawn(run.client(several[0], [fact]))


def fix(run: "Simulation", number: int) -> None:
    ill = sorted(run.handlers.poison)
    if ill:
        handler, event_id = ill[number % len(ill)]
        run.handlers.poison.discard((handler, event_id))
        for item in run.witness.quarantine("parked"):
            if item.handler == handler and item.event_id == event_id:
                _replay_somewhere(run, item.id, item_service(item.group))


def replay(run: "Simulation", number: int) -> None:
    parked = run.witness.quarantine("parked")
    if parked:
        item = parked[number % len(parked)]
        _replay_somewhere(run, item.id, item_service(item.group))


def _replay_somewhere(run: "Simulation", item_id: str, service: str) -> None:
    for process in run.alive(service)[-1:]:
        process.spawn(run.replay(item_id))


def rebuild(run: "Simulation", number: int) -> None:
    for process in run.alive("indicators")[-1:]:
        process.spawn(run.rebuild())


def copy(run: "Simulation", number: int) -> None:
    tps = [tp for tp, end in sorted(run.witness.ends().items(), key=str) if end]
    if tps:
        tp = tps[number % len(tps)]
        run.witness.copy(tp, number * 5 % run.witness.ends()[tp])
        run.broker.ring()


def again(run: "Simulation", number: int) -> None:
    members = [member for log in run.broker.logs for member in log.members]
    if members:
        members[number % len(members)].rewind(1 + number % 5)


def slow(run: "Simulation", number: int) -> None:
    tps = [TopicPartition(topic, partition) for topic in model.TOPICS for partition in range(model.PARTITIONS)]
    run.broker.slow[tps[number % len(tps)]] = 20 + number


STEPS: Mapping[str, Callable[["Simulation", int], None]] = {
    "go": go,
    "time": time,
    "append": append,
    "twice": twice,
    "refuse": refuse,
    "late": late,
    "hold": hold,
    "start": start,
    "zombie": zombie,
    "kill": kill,
    "crash": crash,
    "commit": commit,
    "begin": begin,
    "publish": publish,
    "clock": clock,
    "poison": poison,
    "fix": fix,
    "replay": replay,
    "rebuild": rebuild,
    "copy": copy,
    "again": again,
    "slow": slow,
}

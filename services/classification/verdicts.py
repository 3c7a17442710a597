"""What the monitor publishes: verdicts with their numbers, revisions when facts came late, findings for what is systemic."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select, update

from libs.events.catalogue.findings import Evaluation, FindingOpened, Verdict, VerdictReached
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.offload import in_turns
from libs.events.store import Cause, Draft, Unit
from services.classification import tables
from services.classification.books import Books
from services.classification.counting import PEERS, WATCHED
from services.classification.desk import open_finding
from services.classification.domain import chronic
from services.classification.domain.episodes import Episode
from services.classification.domain.monitor import Rules
from services.classification.domain.natures import METHOD as NATURE_METHOD
from services.classification.domain.natures import read
from services.classification.domain.peers import Peers
from services.classification.domain.slices import PEERED, by_name, series_at, stored
from services.classification.domain.slices import named as named_by
from services.classification.domain.watch import Key, Watch, numbers_of
from services.classification.evidence import Window, collect
from services.classification.locating import Locating, Moved, is_member, read_before
from services.classification.peer_verdicts import evaluation as chronic_evaluation
from services.classification.peer_verdicts import give_back, standing, take_back, to_look_at
from services.classification.sweeping import SWEPT, Sweeping
from services.classification.teaching import Lesson, held_back, lesson_of
from services.classification.titles import title
from services.classification.verdict_numbers import evaluation_of
from services.classification.verdict_rows import contacts_of, keep_row, rows_of, verdict_row
from services.classification.waiting import Waiting

Step = list[Any]  # verdict, decided, window's end, window, count: JSON


@dataclass(slots=True)
class _Judged:
    """A verdict about to be published."""

    verdict_id: str
    finding_id: str
    series: str
    motive: str
    place: str
    start: date
    verdict: Verdict
    evaluation: Evaluation
    first: date  # of the window
    last: date
    revision: int
    step: Step


@dataclass(frozen=True, slots=True)
class _News:
    """A verdict to be said, and the day it was reached on."""

    day: date
    judged: _Judged
    ended: date | None
    steps: Sequence[Step]


class Publisher:
    def __init__(self, books: Books, rules: Rules, waiting: Waiting) -> None:
        self._books, self._rules, self._waiting = books, rules, waiting
        self._locating = Locating(waiting)
        self._sweep = Sweeping(books, waiting, rules.minimum_customers)

    async def publish(
        self,
        unit: Unit,
        watch: Watch,
        keys: Sequence[Key],
        peers: Peers,
        places: Sequence[tuple[str, str]],
        cause: Event | Cause,
        enough: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Say what is new about these slices' episodes and of places that stand out, in the order of the days they were judged
        on: whether an open finding explains a slice must not depend on how many days are judged at once. `enough`, asked between
        two verdicts, ends it early (False): called again it goes on from there."""
        news = [one for key in keys for one in await self._slice(unit, watch, key, cause)]
        looked = await to_look_at(unit.connection, peers, places)
        news += [one for place in looked for one in await self._chronic(unit, peers, place, cause)]
        for number, one in enumerate(
            sorted(
                news,
                key=lambda each: (
                    each.day,
                    each.judged.series != WATCHED,
                    each.judged.series,
                    each.judged.motive,
                    each.judged.place,
                    each.judged.revision,
                ),
            )
        ):
            if number and enough():
                return False
            await self._sweep.until(unit, one.day, cause)
            await self._say(unit, one.judged, one.ended, one.steps, cause)
        if watch.through is not None:
            await self._sweep.until(unit, watch.through + timedelta(days=1), cause)
        await self._held(unit, watch, cause)
        return True

    async def _held(self, unit: Unit, watch: Watch, cause: Event | Cause) -> None:
        """What a lesson holds back is looked at again each judged day: once it reaches the taught limit it is systemic after all."""
        table = tables.verdicts
        query = select(table).where(
            table.c.series.not_in([PEERS, SWEPT]), table.c.ended.is_(None), table.c.withdrawn.is_(False), table.c.verdict == Verdict.NOT_ENOUGH_EVIDENCE.value
        )  # fmt: skip
        rows = [row for row in await unit.connection.execute(query) if row.data.get("taught_by")]
        if not rows or watch.origin is None or watch.through is None:
            return
        day = (watch.through - watch.origin).days
        alive, fresh, _ = watch.lanes(day)
        for row in rows:
            series = by_name(row.series)
            key = None if series is None else series.slice_of(row.motive, row.place)
            place = None if key is None else watch.index.get(key)
            if key is None or place is None or place not in alive:
                continue
            number = alive.index(place)
            lesson = await self._lesson(unit, row.data["slice"], row.data.get("located") or row.data["slice"])
            short = fresh.going_on[number] > fresh.level[number] * lesson.factor
            if short or fresh.observed[number] < self._rules.minimum_customers:
                continue
            numbers = numbers_of(fresh, number, day, "customers", len(alive))
            episode = Episode((row.start - watch.origin).days, Verdict.SYSTEMIC, day, day, numbers)
            judged = _Judged(
                verdict_id=row.verdict_id,
                finding_id=row.finding_id,
                series=row.series,
                motive=row.motive,
                place=row.place,
                start=row.start,
                verdict=Verdict.SYSTEMIC,
                evaluation=evaluation_of(watch, key, episode, self._rules, self._waiting),
                first=watch.day_of(day - numbers.window + 1),
                last=watch.through,
                revision=row.revision + 1,
                step=[],
            )
            await self._say(unit, judged, None, row.steps, cause)

    async def _slice(self, unit: Unit, watch: Watch, key: Key, cause: Event | Cause) -> list["_News"]:
        rows = await rows_of(unit.connection, series_at(key).name, *stored(key))
        by_start = {row["start"]: row for row in rows}
        trails = watch.trails(key)
        matched: set[str] = set()
        pairs: list[tuple[list[Episode], dict[str, Any] | None]] = []
        for trail in trails:
            row = by_start.get(watch.day_of(trail[0].start))
            pairs.append((trail, row))
            if row is not None:
                matched.add(row["verdict_id"])
        for index, (trail, row) in enumerate(pairs):
            if row is None:
                # A late fact may move an episode's first day: what overlaps is the same episode.
                row = next(
                    (held for held in rows if held["verdict_id"] not in matched and _overlaps(held, trail, watch)), None
                )
                if row is not None:
                    matched.add(row["verdict_id"])
                    pairs[index] = (trail, row)
        for row in rows:
            held = watch.complete_from is None or row["start"] >= watch.complete_from
            if held and row["verdict_id"] not in matched and not row["withdrawn"]:
                await self._withdraw(unit, row, cause)
        return [one for trail, row in pairs for one in await self._episode(unit, watch, key, trail, row)]

    async def _episode(
        self, unit: Unit, watch: Watch, key: Key, trail: list[Episode], row: dict[str, Any] | None
    ) -> list["_News"]:
        series, (motive, place) = series_at(key).name, stored(key)
        start = watch.day_of(trail[0].start)
        steps = [_step(watch, episode) for episode in trail]
        said: list[Step] = [] if row is None else list(row["steps"])
        if row is not None and row["withdrawn"]:
            todo = [(trail[-1], steps[-1])]
        elif steps[: len(said)] == said:
            todo = list(zip(trail, steps, strict=True))[len(said) :]
        else:  # corrected by a late fact: the newest stands for all
            todo = [(trail[-1], steps[-1])] if said[-1] != steps[-1] else []
        ended = watch.day_of(trail[-1].ended) if trail[-1].ended is not None else None
        if row is not None and not todo and row["ended"] != ended:
            table = tables.verdicts
            await unit.connection.execute(
                update(table).where(table.c.verdict_id == row["verdict_id"]).values(ended=ended)
            )
        if row is None:
            row = {
                "verdict_id": natural_id("verdict", series, motive, place, start.isoformat()),
                "finding_id": natural_id("finding", series, motive, place, start.isoformat()),
                "revision": 0,
            }
        news: list[_News] = []
        # Milliseconds for the limits of each.
        async for number, (episode, step) in in_turns(enumerate(todo, start=1), every=1):
            first, last = (
                watch.day_of(episode.numbers.day - episode.numbers.window + 1),
                watch.day_of(episode.numbers.day),
            )
            judged = _Judged(
                verdict_id=row["verdict_id"],
                finding_id=row["finding_id"],
                series=series,
                motive=motive,
                place=place,
                start=start,
                verdict=episode.verdict,
                evaluation=evaluation_of(watch, key, episode, self._rules, self._waiting),
                first=first,
                last=last,
                revision=row["revision"] + number,
                step=step,
            )
            news.append(_News(watch.day_of(episode.decided), judged, ended, steps[: len(steps) - len(todo) + number]))
        return news

    async def _chronic(self, unit: Unit, peers: Peers, of: tuple[str, str], cause: Event | Cause) -> list["_News"]:
        """A place that stands out among its peers, or does not any more since a figure or a fact was corrected."""
        held = await standing(unit.connection, peers, of, self._waiting)
        if held is None:
            return []
        (motive, place), row, found = of, held.row, held.found
        if found is None:
            assert row is not None
            numbers = None if held.numbers is None else chronic_evaluation(held.numbers, self._waiting)
            await self._withdraw(unit, row, cause, numbers)
            await take_back(unit, row, self._waiting, cause)
            return []
        first, last = found.day - timedelta(days=chronic.WINDOW_DAYS), found.day - timedelta(days=1)
        step = [Verdict.SYSTEMIC.value, found.day.isoformat(), last.isoformat(), chronic.WINDOW_DAYS, found.observed]
        finding = natural_id("finding", PEERS, motive, place, found.day.isoformat())
        judged = _Judged(
            verdict_id=natural_id("verdict", PEERS, motive, place) if row is None else row["verdict_id"],
            finding_id=finding if row is None else row["finding_id"],
            series=PEERS,
            motive=motive,
            place=place,
            start=found.day,
            verdict=Verdict.SYSTEMIC,
            evaluation=chronic_evaluation(found, self._waiting),
            first=first,
            last=last,
            revision=1 if row is None else row["revision"] + 1,
            step=step,
        )
        if row is not None and row["withdrawn"]:
            await give_back(unit, row, self._waiting, cause)
        return [_News(found.day, judged, None, [step])]

    async def _say(
        self, unit: Unit, judged: _Judged, ended: date | None, steps: Sequence[Step], cause: Event | Cause
    ) -> None:
        series = by_name(judged.series)
        wide = series is not None and not series.base
        # Beside the first series a slice speaks once of a failure; what is known of it goes on there.
        if (
            wide
            and judged.revision == 1
            and await is_member(
                unit.connection, judged.series, judged.motive, judged.place, self._waiting.midnight(judged.last)
            )
        ):
            return
        version = await self._books.version(unit.connection)
        book = await self._books.book(unit.connection, version) if version else None
        contacts = await contacts_of(
            unit.connection, judged.series, judged.motive, judged.place, judged.first, judged.last
        )
        where = named_by((series or PEERED).slice_of(judged.motive, judged.place))
        home = None
        if judged.verdict is Verdict.SYSTEMIC:
            which, chronic_ = (judged.series, judged.motive, judged.place), judged.series == PEERS
            moved = Moved(*which, where, judged.first, judged.last, chronic_, wide)
            home = await self._locating.home(unit.connection, moved, judged.finding_id)
        named = where if home is None else home.where
        window = Window(named, judged.first, judged.last, chronic=judged.series == PEERS)
        reading = None
        if wide and home is not None and home.known:
            reading = await read_before(unit.connection, home.finding_id)
        if reading is None:
            reading = read(await collect(unit.connection, window, book, self._waiting, unit.now))
        evaluation = judged.evaluation.model_copy(
            update={"customers": contacts.customers, "contacts": contacts.contacts}
        )
        verdict, taught_by = judged.verdict, tuple[str, ...]()
        if verdict is Verdict.SYSTEMIC:
            lesson = await self._lesson(unit, where, named)
            short = held_back(evaluation, lesson)
            if short is not None:
                verdict, evaluation, taught_by = Verdict.NOT_ENOUGH_EVIDENCE, short, lesson.taught_by
                home = None
        since = contacts.since or evaluation.window_start
        finding_id = judged.finding_id if home is None else home.finding_id
        data = VerdictReached(
            verdict_id=judged.verdict_id,
            finding_id=finding_id,
            slice=where,
            located=dict(named) if named != where else None,
            verdict=verdict,
            nature=reading.nature,
            evaluation=evaluation,
            since=since,
            interaction_ids=contacts.newest,
            rulebook_version=version,
            revision=judged.revision,
            reasons=list(reading.terms),
            natures=dict(reading.natures),
            nature_method=NATURE_METHOD if reading.terms else None,
            taught_by=list(taught_by),
        )
        unit.emit(
            Draft(
                stream=f"verdict/{judged.verdict_id}",
                data=data,
                key=finding_id,
                time=evaluation.window_end,
                id=natural_id("verdict-reached", judged.verdict_id, str(judged.revision)),
                cause=cause,
            )
        )
        await keep_row(unit.connection, verdict_row(data, judged.series, judged.place, judged.start, ended, steps))
        if home is not None and not home.known:
            opened = FindingOpened(
                finding_id=finding_id,
                slice=dict(named),
                nature=reading.nature,
                verdict_id=judged.verdict_id,
                opened_at=unit.now,
                since=since,
                title=title(named, book, judged.series == PEERS),
            )
            await open_finding(unit, opened, cause)

    @staticmethod
    async def _lesson(unit: Unit, where: Mapping[str, str], named: Mapping[str, str]) -> Lesson:
        """What people taught about the slice or about what it was located to, the stricter."""
        taught = [await lesson_of(unit.connection, one) for one in (where, named)]
        return min(taught, key=lambda lesson: lesson.factor)

    async def _withdraw(
        self, unit: Unit, row: Mapping[str, Any], cause: Event | Cause, numbers: Evaluation | None = None
    ) -> None:
        """A correction took the ground away: what was said is taken back by a revision, the finding is left to people."""
        last = VerdictReached.model_validate(row["data"])
        if numbers is not None:
            counted = {"customers": last.evaluation.customers, "contacts": last.evaluation.contacts}
            last = last.model_copy(update={"evaluation": numbers.model_copy(update=counted)})
        parameters = {**last.evaluation.parameters, "withdrawn": 1.0}
        data = last.model_copy(
            update={
                "verdict": Verdict.NOT_ENOUGH_EVIDENCE,
                "revision": last.revision + 1,
                "evaluation": last.evaluation.model_copy(update={"parameters": parameters}),
            }
        )
        unit.emit(
            Draft(
                stream=f"verdict/{data.verdict_id}",
                data=data,
                key=data.finding_id,
                time=last.evaluation.window_end,
                id=natural_id("verdict-reached", data.verdict_id, str(data.revision)),
                cause=cause,
            )
        )
        kept = verdict_row(data, row["series"], row["place"], row["start"], row["ended"], row["steps"])
        await keep_row(unit.connection, {**kept, "withdrawn": True})


def _step(watch: Watch, episode: Episode) -> Step:
    numbers = episode.numbers
    return [
        episode.verdict.value,
        watch.day_of(episode.decided).isoformat(),
        watch.day_of(numbers.day).isoformat(),
        numbers.window,
        numbers.observed,
    ]


def _overlaps(row: Mapping[str, Any], trail: Sequence[Episode], watch: Watch) -> bool:
    start, end = watch.day_of(trail[0].start), watch.day_of(trail[-1].last_alarm)
    row_end = row["ended"] or row["start"] + timedelta(days=14)
    return bool(row["start"] <= end + timedelta(days=7) and start <= row_end)

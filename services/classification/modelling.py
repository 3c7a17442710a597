"""Models put in force, taken back, and run in the shadow: commands on one stream, so that of two at once one is refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select, update

from libs.events.catalogue import decode
from libs.events.catalogue.base import EventData
from libs.events.catalogue.coding import Move
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.models import ModelPromoted, ModelRolledBack, ModelShadowEnded, ModelShadowStarted
from libs.events.offload import offload
from libs.events.store import Draft, Unit
from services.classification import tables
from services.classification.domain.classifier.hierarchy import differences
from services.classification.domain.classifier.model import Judgement
from services.classification.domain.coder import Coder, Contact, Decision
from services.classification.keeping_models import KEY, STREAM, Standing, evolve, fold, opened_model, show_standing
from services.classification.keeping_models import shadow_model as shadow_of
from services.classification.learner import Lessons
from services.classification.model_files import Unreadable

EXAMPLES = 50


class ModelRefused(Exception):
    """A command at the wrong moment or about the wrong model: `unknown`, `live`, `not_live`, `unreadable`, `shadowed`,
    `no_shadow`."""

    def __init__(self, code: str, value: str = "") -> None:
        super().__init__(code)
        self.code, self.value = code, value


class Modelling:
    """The commands, and the shadow's counting."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons

    async def promote(
        self,
        unit: Unit,
        model_id: str,
        by: str | None,
        *,
        because: str = "asked",
        measures: Mapping[str, float] | None = None,
    ) -> None:
        """Let the model decide from the next contact on. Raises ModelRefused, ConcurrencyConflict."""
        state, version = await _standing(unit)
        if model_id not in state.fitted:
            raise ModelRefused("unknown")
        if state.live == model_id:
            raise ModelRefused("live")
        await _readable(unit, model_id)
        events: list[EventData] = []
        if state.shadow == model_id:
            events.append(await _ended(unit, model_id, by or KEY, "promoted"))
        events.append(
            ModelPromoted(
                model_id=model_id,
                at=unit.now,
                by=by,
                because=because,
                before=state.live,
                measures=dict(measures or {}),
            )
        )
        await _append(unit, state, version, events)

    async def rollback(self, unit: Unit, model_id: str, by: str) -> None:
        """Let the model before decide again. Raises ModelRefused, ConcurrencyConflict."""
        state, version = await _standing(unit)
        if model_id not in state.fitted:
            raise ModelRefused("unknown")
        if state.live != model_id:
            raise ModelRefused("not_live")
        to = state.before[-1]
        if to is not None:
            await _readable(unit, to)
        await _append(unit, state, version, [ModelRolledBack(model_id=model_id, at=unit.now, by=by, to=to)])

    async def shadow(self, unit: Unit, model_id: str, by: str) -> None:
        """Run the model beside the one in force; another shadow ends. Raises ModelRefused, ConcurrencyConflict."""
        state, version = await _standing(unit)
        if model_id not in state.fitted:
            raise ModelRefused("unknown")
        if state.live == model_id:
            raise ModelRefused("live")
        if state.shadow == model_id:
            raise ModelRefused("shadowed")
        await _readable(unit, model_id)
        events: list[EventData] = []
        if state.shadow is not None:
            events.append(await _ended(unit, state.shadow, by, "replaced"))
        events.append(ModelShadowStarted(model_id=model_id, at=unit.now, by=by))
        await _append(unit, state, version, events)
        table = tables.shadows
        await unit.connection.execute(delete(table).where(table.c.model_id == model_id))
        row = {
            "model_id": model_id,
            "started_at": unit.now,
            "started_by": by,
            "texts": 0,
            "same": 0,
            "review_live": 0,
            "review_shadow": 0,
            "moved": [],
            "examples": [],
        }
        await unit.connection.execute(insert(table), [row])

    async def end_shadow(self, unit: Unit, model_id: str, by: str) -> None:
        """Stop asking the shadow; its report stays. Raises ModelRefused, ConcurrencyConflict."""
        state, version = await _standing(unit)
        if model_id not in state.fitted:
            raise ModelRefused("unknown")
        if state.shadow != model_id:
            raise ModelRefused("no_shadow")
        await _append(unit, state, version, [await _ended(unit, model_id, by, "asked")])

    async def compare(
        self,
        unit: Unit,
        coder: Coder,
        contacts: Sequence[InteractionRecorded],
        asked: Sequence[Contact],
        decided: Sequence[Decision],
    ) -> None:
        """Ask the shadow about the same contacts and count where it differs. It emits nothing and changes no decision."""
        model_id = await shadow_of(unit.connection)
        if model_id is None:
            return
        table = tables.shadows
        row = (
            await unit.connection.execute(select(table).where(table.c.model_id == model_id).with_for_update())
        ).one_or_none()
        if row is None:
            return
        other = await self._lessons.listening_with(unit, coder, model_id)
        said = await offload(other.code_many, asked)
        found = differences([_judged(one) for one in decided], [_judged(one) for one in said])
        moved = Counter({(before, after): count for before, after, count in row.moved}) + Counter(dict(found.moved))
        examples = [
            [contacts[place].interaction_id, decided[place].motive, said[place].motive] for place in found.places
        ]
        await unit.connection.execute(
            update(table)
            .where(table.c.model_id == model_id)
            .values(
                texts=row.texts + found.texts,
                same=row.same + found.same,
                review_live=row.review_live + found.review_live,
                review_shadow=row.review_shadow + found.review_shadow,
                moved=[[*pair, count] for pair, count in sorted(moved.items(), key=lambda item: (-item[1], item[0]))],
                examples=(row.examples + examples)[-EXAMPLES:],
            )
        )


def _judged(decision: Decision) -> Judgement:
    return Judgement(decision.motive, decision.confidence, decision.review)


async def history(unit: Unit) -> list[EventData]:
    """Everything that was done with models, oldest first."""
    return [decode(event) for event in await unit.stream(STREAM)]


async def _standing(unit: Unit) -> tuple[Standing, int]:
    events = await unit.stream(STREAM)
    return fold([decode(event) for event in events]), events[-1].streamversion if events else 0


async def _append(unit: Unit, state: Standing, version: int, events: Sequence[EventData]) -> None:
    for data in events:
        unit.emit(Draft(stream=STREAM, data=data, key=KEY, time=unit.now), expected=version)
        version, state = version + 1, evolve(state, data)
    await unit.flush()
    await show_standing(unit.connection, state)


async def _readable(unit: Unit, model_id: str) -> None:
    try:
        await opened_model(unit.connection, model_id)
    except Unreadable as problem:
        raise ModelRefused("unreadable", f"{problem.code}: {problem.values.get('file', model_id)}") from None


async def _ended(unit: Unit, model_id: str, by: str, because: str) -> ModelShadowEnded:
    table = tables.shadows
    query = select(table).where(table.c.model_id == model_id).with_for_update()
    row: Any = (await unit.connection.execute(query)).one()
    await unit.connection.execute(update(table).where(table.c.model_id == model_id).values(ended_at=unit.now))
    return ModelShadowEnded(
        model_id=model_id,
        at=unit.now,
        by=by,
        because=because,
        texts=row.texts,
        same=row.same,
        review_live=row.review_live,
        review_shadow=row.review_shadow,
        moved=[Move(before=before, after=after, count=count) for before, after, count in row.moved],
    )

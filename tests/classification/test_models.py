"""Models fitted from what people said: kept as checked files, compared, promoted, rolled back, shadowed, and fitted again alike."""

import asyncio
import json
import shutil
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.models import ModelFitted
from libs.events.catalogue.topics import CLASSIFICATIONS, INTERACTIONS
from libs.events.clock import SimulatedClock
from libs.events.engines import make_engine
from libs.events.envelope import Event, from_record
from libs.events.log import TopicPartition
from libs.events.store import Store
from libs.service.testing import Running, running
from services.classification import archive, tables
from services.classification.app import build as classification
from services.classification.coding import decision_row, keep
from services.classification.domain.rulebook import document_of
from services.classification.fit_worker import work
from services.classification.keeping_models import STREAM, Standing, fold, live_model, model_files, shadow_model
from services.classification.learner import correction_row
from services.classification.model_files import Unreadable, read
from services.classification.refitting import held_back, training
from services.demo.year import generate
from services.intake.app import build as intake
from tests.classification.prepared import prepared
from tests.classification.test_learning import book, correct
from tests.classification.test_service import START, contact, publish, send, source

MODELS = "/classification/v1/models"
CORRECTED, LEFT = 230, 40


@pytest.fixture(autouse=True)
def _words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZO_CLASSIFICATION_ENCODER", "false")
    monkeypatch.setenv("LAZO_CLASSIFICATION_FIT_AFTER", "0")
    monkeypatch.setenv("LAZO_CLASSIFICATION_PROMOTE", "false")


def office(data: Path) -> AbstractAsyncContextManager[Running]:
    return running(intake, classification, clock=SimulatedClock(START), data=data)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which people have corrected, and one model was fitted."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ENCODER", "FIT_AFTER", "PROMOTE"):
            patch.setenv(f"LAZO_CLASSIFICATION_{name}", "0")
        return prepared(tmp_path_factory, "models", _prepared)[0]


async def _prepared(folder: Path) -> None:
    year = generate(7, datetime(2025, 11, 24, tzinfo=UTC), 8)
    sent = [one for day in year.days for one in day][: CORRECTED + LEFT]
    async with office(folder) as run:
        await source(run)
        await publish(run)
        bodies = [
            contact(number, one.body["text"], kind=one.body["kind"], language=one.body["language"])
            for number, one in enumerate(sent)
        ]
        ids = [*await send(run, bodies[:200]), *await send(run, bodies[200:])]
        await run.settle()
        by_motive: dict[str, list[str]] = {}
        for identity, one in zip(ids[:CORRECTED], sent, strict=False):
            by_motive.setdefault(one.motive, []).append(identity)
        for motive, some in by_motive.items():
            await correct(run, some, motive, "unknown")
        await fit(run)


async def fit(run: Running, by: str = "ana") -> dict[str, Any]:
    assert (await run.client.post(f"{MODELS}/fit", json={"by": by})).status_code == 202
    return await fit_done(run)


async def fit_done(run: Running) -> dict[str, Any]:
    end = time.monotonic() + 60
    while (found := (await run.client.get(MODELS)).json())["fit"]["state"] != "done":
        assert time.monotonic() < end, found["fit"]
        await asyncio.sleep(0.05)
    assert found["fit"]["outcome"] in {"fitted", "promoted", "same"}, found["fit"]
    shown: dict[str, Any] = found
    return shown


@pytest.fixture
def data(fitted: Path, tmp_path: Path) -> Path:
    shutil.copytree(fitted, tmp_path / "data")
    return tmp_path / "data"


async def standing(run: Running) -> Standing:
    """The fold of the stream, which the rows must agree with."""
    async with run.services["classification"].runtime.store.unit() as unit:
        state = fold([decode(event) for event in await unit.stream(STREAM)])
        assert state.live == await live_model(unit.connection)
        assert state.shadow == await shadow_model(unit.connection)
    return state


async def count(run: Running) -> int:
    async with run.services["classification"].runtime.store.reading() as connection:
        table = tables.MACHINERY.events
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


def refused(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["errors"][0]["code"] if "errors" in answer.json() else ""


async def test_a_fitted_model_is_kept_with_its_measures_and_decides_nothing_until_it_is_promoted(data: Path) -> None:
    async with office(data) as run:
        found = (await run.client.get(MODELS)).json()
        (model,) = found["models"]
        assert (found["promoted"], found["shadow"]) == (None, None)
        assert (model["live"], model["by"], model["rulebook_version"]) == (False, "ana", 1)
        assert (model["state"], model["held_back"] > 30) == ("candidate", True)
        assert {"ece", "coverage_at_95", "precision"} <= model["measures"].keys()
        assert model["corrections"] + model["held_back"] == CORRECTED
        assert 0 < model["sure"] <= LEFT
        assert model["measures"]["held_back"] == model["held_back"] > 30
        assert model["measures"]["accuracy"] > 0.8
        assert {"numpy", "scikit-learn", "scipy"} <= model["libraries"].keys()
        path = f"{MODELS}/{model['model_id']}"
        before = (await send(run, [contact(9_001, "no tengo internet")]))[0]
        await run.settle()
        assert (await run.client.post(f"{path}/promote", json={"by": "ana"})).status_code == 200
        after = (await send(run, [contact(9_002, "no tengo internet")]))[0]
        await run.settle()
        for identity, named in ((before, False), (after, True)):
            decision = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
            assert (f"svm@{model['model_id'][:12]}" in decision["model_version"]) is named
            assert decision["motive"] == "service.no_internet"
        shown = (await run.client.get(path)).json()
        assert [one["what"] for one in shown["history"]] == ["fitted", "promoted"]
        assert (shown["state"], shown["back_to"]) == ("live", None)
        assert (shown["history"][1]["by"], shown["history"][1]["because"]) == ("ana", "asked")
        assert (await standing(run)).live == model["model_id"]
        assert refused(await run.client.post(f"{path}/promote", json={})) == (409, "model-live")
    async with office(data) as run:  # another process, the same model
        late = (await send(run, [contact(9_003, "no tengo internet")]))[0]
        await run.settle()
        decision = (await run.client.get(f"/classification/v1/interactions/{late}")).json()
        assert f"svm@{model['model_id'][:12]}" in decision["model_version"]


async def test_of_two_people_who_promote_at_once_one_is_told_and_a_rollback_undoes_one_step(data: Path) -> None:
    async with office(data) as run:
        model = (await run.client.get(MODELS)).json()["models"][0]["model_id"]
        path = f"{MODELS}/{model}"
        assert refused(await run.client.post(f"{path}/rollback", json={})) == (409, "model-not-live")
        answers = await asyncio.gather(
            *(run.client.post(f"{path}/promote", json={"by": who}) for who in ("ana", "ben"))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert (await run.client.post(f"{path}/rollback", json={"by": "ben"})).status_code == 200
        state = await standing(run)
        assert (state.live, state.before) == (None, ())
        assert (await run.client.get(path)).json()["state"] == "retired"
        assert refused(await run.client.post(f"{path}/rollback", json={"by": "ana"})) == (409, "model-not-live")
        spanish = await run.client.post(f"{path}/rollback", json={}, headers={"accept-language": "es"})
        assert "no decide ahora" in spanish.json()["detail"]
        missing = await run.client.post(f"{MODELS}/{'0' * 64}/promote", json={})
        assert (missing.status_code, missing.json()["code"]) == (404, "not-found")
        assert (await run.client.get(f"{MODELS}/nothing")).status_code == 404


@pytest.mark.parametrize("how", ["a byte changed", "half written", "another's file", "another model's files"])
async def test_a_model_that_is_not_what_was_written_is_never_put_in_force(data: Path, how: str) -> None:
    async with office(data) as run:
        model = (await run.client.get(MODELS)).json()["models"][0]["model_id"]
        table = tables.model_files
        async with run.services["classification"].runtime.store.unit() as unit:
            files = await model_files(unit.connection, model)
            one = update(table).where(table.c.model_id == model)
            if how == "a byte changed":
                content = bytearray(files["motive-weights.npy"])
                content[-1] ^= 1
                await unit.connection.execute(
                    one.where(table.c.name == "motive-weights.npy").values(content=bytes(content))
                )
            elif how == "half written":
                await unit.connection.execute(table.delete().where(table.c.name == "motive-bias.npy"))
            elif how == "another's file":
                row = {"model_id": model, "name": "hook.py", "content": b"import os"}
                await unit.connection.execute(table.insert(), [row])
            else:
                manifest = json.loads(files["manifest.json"]) | {"rulebook_version": 7}
                await unit.connection.execute(
                    one.where(table.c.name == "manifest.json").values(content=json.dumps(manifest).encode())
                )
        for command in ("promote", "shadow"):
            answer = await run.client.post(f"{MODELS}/{model}/{command}", json={"by": "ana"})
            assert refused(answer) == (409, "model-unreadable"), answer.text
        assert (await standing(run)).live is None


async def test_a_live_model_whose_files_were_tampered_with_is_left_out_and_the_decisions_say_so(data: Path) -> None:
    async with office(data) as run:
        model = (await run.client.get(MODELS)).json()["models"][0]["model_id"]
        assert (await run.client.post(f"{MODELS}/{model}/promote", json={})).status_code == 200
        async with run.services["classification"].runtime.store.unit() as unit:
            await unit.connection.execute(
                update(tables.model_files).where(tables.model_files.c.name == "usual.npy").values(content=b"")
            )
            await unit.connection.execute(
                update(tables.model_files).where(tables.model_files.c.name == "motive-bias.npy").values(content=b"")
            )
    async with office(data) as run:
        sent = (await send(run, [contact(9_001, "no tengo internet")]))[0]
        await run.settle()
        decision = (await run.client.get(f"/classification/v1/interactions/{sent}")).json()
        assert (decision["motive"], "svm" in decision["model_version"]) == ("service.no_internet", False)
        assert "lazo_coder_unreadable_models_total 1.0" in (await run.client.get("/classification/metrics")).text


async def test_a_shadow_is_asked_about_every_contact_and_nothing_comes_of_it_G11(data: Path) -> None:
    async with office(data) as run:
        model = (await run.client.get(MODELS)).json()["models"][0]["model_id"]
        path = f"{MODELS}/{model}"
        assert (await run.client.get(f"{path}/shadow")).status_code == 404
        assert (await run.client.post(f"{path}/shadow", json={"by": "ana"})).status_code == 200
        assert refused(await run.client.post(f"{path}/shadow", json={"by": "ben"})) == (409, "model-shadowed")
        await run.settle()
        before = await count(run)
        texts = ["no tengo internet", "me cobraron de más en la factura", "hola", "el técnico no llegó"]
        ids = await send(run, [contact(8_000 + number, text) for number, text in enumerate(texts * 3)])
        await run.settle()
        assert await count(run) - before == len(ids), "one decision each, as without a shadow"
        assert (await run.client.get(path)).json()["state"] == "shadow"
        report = (await run.client.get(f"{path}/shadow")).json()
        assert (report["texts"], report["ended_at"]) == (len(ids), None)
        assert report["same"] + sum(one["count"] for one in report["moved"]) == len(ids)
        assert len(report["examples"]) == len(ids) - report["same"]
        for identity in ids:
            decision = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
            assert "svm" not in decision["model_version"]
            assert len(decision["history"]) == 1
        assert (await run.client.post(f"{path}/shadow/end", json={"by": "ana"})).status_code == 200
        await send(run, [contact(8_900, "no tengo internet")])
        await run.settle()
        ended = (await run.client.get(f"{path}/shadow")).json()
        assert ended["texts"] == len(ids)
        assert ended["ended_at"] is not None
        what = [one["what"] for one in (await run.client.get(path)).json()["history"]]
        assert what == ["fitted", "shadow_started", "shadow_ended"]
        await standing(run)


async def test_a_model_is_fitted_by_itself_when_enough_corrections_came_and_promoted_only_when_it_is_better(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAZO_CLASSIFICATION_FIT_AFTER", "2")
    monkeypatch.setenv("LAZO_CLASSIFICATION_PROMOTE", "true")
    async with office(data) as run:
        sent = await send(run, [contact(7_000 + number, f"el zumbador nuevo chilla {number}") for number in range(4)])
        await run.settle()
        await correct(run, sent, "device.fault", "unknown")
        await run.settle()
        found = await fit_done(run)
        assert len(found["models"]) == 2
        newest = next(one for one in found["models"] if one["by"] is None)
        measures = newest["measures"]
        better = measures["accuracy"] > measures["live_accuracy"] and measures["kept"] >= measures["live_kept"] - 0.01
        assert (found["promoted"] == newest["model_id"]) is better
        assert found["fit"]["outcome"] == ("promoted" if better else "fitted")
        again = await fit(run)
        assert again["fit"]["outcome"] == "same", "nothing was said since"
        assert len(again["models"]) == 2
        await standing(run)


async def test_the_same_log_gives_the_same_model_to_the_last_byte(data: Path, tmp_path: Path) -> None:
    """The events of the log, folded into an empty database and fitted again there, give the model that was kept."""
    async with office(data) as run:
        store = run.services["classification"].runtime.store
        log = run.environment.log
        fresh = make_engine(str(tmp_path / "again.db"), service="classification")
        async with fresh.begin() as connection:
            await connection.run_sync(tables.metadata.create_all)
        again = Store(fresh, "classification", run.environment.clock, run.environment.vault, lambda _: 1)
        events: list[Event] = []
        for topic in (INTERACTIONS, CLASSIFICATIONS):
            for partition, end in (await log.ends(topic)).items():
                at = 0
                while at < end:
                    records = await log.read(TopicPartition(topic, partition), at, 500)
                    at = records[-1].offset + 1
                    events += [from_record(record) for record in records]
        made: ModelFitted | None = None
        async with again.unit() as unit:
            for event in sorted(events, key=lambda event: (event.recordedtime, event.source, event.sequence)):
                data_ = decode(event)
                if isinstance(data_, InteractionRecorded):
                    await archive.store(unit.connection, [event], [data_])
                elif isinstance(data_, InteractionClassified):
                    await keep(unit.connection, [decision_row(data_, event.time)])
                    if data_.by is not None:
                        await unit.connection.execute(tables.corrections.insert(), [correction_row(data_, unit)])
                elif isinstance(data_, ModelFitted):
                    made = data_
            rows, order, _ = await training(unit, book(), 1)
        await fresh.dispose()
        assert made is not None
        job = {"rulebook": document_of(book()), "version": 1, "encoder": False, "order": order, "live": {}}
        answer = await asyncio.to_thread(work, json.loads(json.dumps(job | {"rows": rows}, default=str)), None)
        assert (answer["model_id"], answer["data"]) == (made.model_id, made.data)
        async with store.unit() as unit:
            kept = await model_files(unit.connection, made.model_id)
        assert read(kept, made.model_id).digest == made.model_id
        with pytest.raises(Unreadable):
            read({name: content for name, content in kept.items() if name != "motive-keys.npy"}, made.model_id)


async def test_who_may_only_read_sees_models_and_changes_nothing(data: Path) -> None:
    async with office(data) as run:
        reader, nobody = await run.key_for("classification:read"), await run.key_for("intake:read")
        found = (await run.client.get(MODELS, headers=reader)).json()
        path = f"{MODELS}/{found['models'][0]['model_id']}"
        assert (await run.client.get(path, headers=reader)).status_code == 200
        assert (await run.client.get(MODELS, headers=nobody)).status_code == 403
        for command in (
            f"{MODELS}/fit",
            *(f"{path}/{name}" for name in ("promote", "rollback", "shadow", "shadow/end")),
        ):
            answer = await run.client.post(command, json={}, headers=reader)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), command
        assert [one["what"] for one in (await run.client.get(path)).json()["history"]] == ["fitted"]


def test_every_fifth_contact_is_held_back_for_good_whatever_is_asked() -> None:
    found = Counter(held_back(f"interaction-{number}") for number in range(10_000))
    assert found[True] == pytest.approx(2_000, abs=150)


async def test_a_fit_without_rulebook_or_beside_another_is_refused_and_one_of_one_motive_says_why(
    tmp_path: Path,
) -> None:
    async with office(tmp_path / "new") as run:
        assert (await run.client.post(f"{MODELS}/fit", json={})).json()["code"] == "no-rulebook"
        await source(run)
        await publish(run)
        sent = await send(run, [contact(number, f"algo raro {number}") for number in range(3)])
        await run.settle()
        await correct(run, sent, "care.wait", "unknown")
        asked = await asyncio.gather(*(run.client.post(f"{MODELS}/fit", json={"by": "ana"}) for _ in range(2)))
        assert sorted(answer.status_code for answer in asked) == [202, 409]
        end = time.monotonic() + 60
        while (found := (await run.client.get(MODELS)).json())["fit"]["state"] != "done":
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert (found["fit"]["outcome"], found["models"]) == ("one_label", [])

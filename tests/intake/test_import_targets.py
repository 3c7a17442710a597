"""`lazo import` against a running server, on real engines, and beside somebody who has the directory open."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from libs.events.clock import SimulatedClock
from libs.service.keys import listed
from libs.service.lock import serving
from libs.service.run import listen
from libs.service.testing import MASTER_KEY, Running, running
from services.intake.app import build
from services.intake.cli import _import, _main
from services.intake.importing.target import ImportStopped
from tests.intake.test_api_interactions import published

MAPPING = """
constants: {kind: claim, channel: phone}
source: {name: Archivo, region: CO, defaults: {team: archivo}}
fields: {external_id: ID, text: TEXTO, customer.id: CLIENTE, case_ref: ID}
missing: {occurred_at: {from: 2024-01-01, to: 2024-12-31}}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    path, mapping = tmp_path / "a.csv", tmp_path / "m.yaml"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["ID", "TEXTO", "CLIENTE"], *([n, f"línea {n}", n % 50] for n in range(1_300))])
    mapping.write_text(MAPPING)
    return path, mapping


@asynccontextmanager
async def served(world: Running) -> AsyncIterator[str]:
    """The service behind a real listener."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(world.services["intake"].app, lifespan="off", log_config=None, access_log=False)
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


async def bring(files: tuple[Path, Path], **options: Any) -> int:
    path, mapping = files
    given: dict[str, Any] = {"effects": "history", "url": None, "key": None, "data": None, "as_json": True} | options
    return await _import([path], "files", mapping, **given)


async def test_a_running_server_takes_a_file_over_its_public_api(
    clock: SimulatedClock, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(build, clock=clock) as world, served(world) as url:
        assert await bring(files, url=url, key=world.key) == 0
        found = await published(world)
        assert len(found) == 1_300
        assert {data.effects for data in found} == {"history"}
        assert {data.team for data in found} == {"archivo"}
        assert await bring(files, url=url, key=world.key) == 0
        assert len(await published(world)) == 1_300
    assert '"duplicates": 1300' in capsys.readouterr().out


async def test_a_key_that_may_not_register_says_what_is_needed(clock: SimulatedClock, files: tuple[Path, Path]) -> None:
    async with running(build, clock=clock) as world, served(world) as url:
        reader = (await world.key_for("intake:read", "intake:write"))["Authorization"].removeprefix("Bearer ")
        with pytest.raises(ImportStopped, match="intake:admin"):
            await bring(files, url=url, key=reader)
        with pytest.raises(ImportStopped, match="401"):
            await bring(files, url=url, key="lz_wrong")


async def test_a_file_enters_once_on_both_pairs_of_engines(
    engines: Any, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAZO_MASTER_KEY", MASTER_KEY)
    for name, value in (
        ("LAZO_KAFKA", engines.kafka),
        ("LAZO_DATABASE", engines.database),
        ("LAZO_KAFKA_PREFIX", engines.topic_prefix),
    ):
        monkeypatch.setenv(name, value or "")
    assert await bring(files, data=engines.data / "data") == 0
    assert '"accepted": 1300' in capsys.readouterr().out
    assert await bring(files, data=engines.data / "data") == 0
    assert '"duplicates": 1300' in capsys.readouterr().out


async def test_a_directory_that_is_open_elsewhere_is_refused_with_the_remedy(
    clock: SimulatedClock, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(build, clock=clock, data=tmp_path / "data"):
        path, mapping = files
        code = await asyncio.to_thread(_main, [path], "files", mapping, "history", None, None, tmp_path / "data", False)
    assert code == 1
    assert "--url" in capsys.readouterr().err


async def test_beside_a_running_lazo_the_directory_alone_is_enough_and_leaves_no_key_behind(
    clock: SimulatedClock, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of the directory notes where it serves; there are never two writers."""
    monkeypatch.setenv("LAZO_MASTER_KEY", MASTER_KEY)
    async with running(build, clock=clock, data=tmp_path / "data") as world, served(world) as url:
        world.environment.announce(url)
        before = len(await listed(world.environment.vault))
        assert await bring(files, data=tmp_path / "data") == 0
        assert len(await published(world)) == 1_300
        assert len(await listed(world.environment.vault)) == before
    assert serving(tmp_path / "data") is None  # who has let go serves no more

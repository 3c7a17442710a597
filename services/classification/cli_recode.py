"""`lazo recode`: the past coded again under the rulebook and model in force, after a preview that a person has seen."""

import asyncio
import sys
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.classification.cli import Data, Json, Key, Url, _served
from services.classification.cli_talk import call, carried_out, in_words

TEXTS: dict[str, tuple[str, str]] = {
    # key: (es, en)
    "previewing": ("vista previa", "preview"),
    "running": ("recodificando", "coding again"),
    "seen": (
        "{looked_at} contactos: {changed} cambiarían, {by_people} los decidió una persona y no se tocan, {erased} ya no tienen texto",
        "{looked_at} contacts: {changed} would change, {by_people} were decided by people and stay, {erased} have no words any more",
    ),
    "done": (
        "{looked_at} contactos: {appended} decisiones nuevas, {changed} distintas; a nadie se le escribió por ello",
        "{looked_at} contacts: {appended} new decisions, {changed} of them different; nobody was written to about it",
    ),
    "ask": ("¿Recodificar?", "Code them again?"),
    "only-preview": (
        "solo se ha mostrado; para hacerlo: --yes, o inicie {id}",
        "only shown; to do it: --yes, or start {id}",
    ),
    "ended": ("terminó así: {state}", "it ended so: {state}"),
}
MOST = 20
"""Moves that are printed; --json has them all."""


def register(app: typer.Typer) -> None:
    """Add the command to `lazo`."""

    @app.command("recode")
    def recode(
        since: Annotated[datetime | None, typer.Option(help="contacts from then on (UTC)")] = None,
        until: Annotated[datetime | None, typer.Option(help="contacts before then (UTC)")] = None,
        motive: Annotated[str | None, typer.Option(help="only contacts coded so")] = None,
        per_second: Annotated[int | None, typer.Option(min=1, max=100_000, help="contacts a second at most")] = None,
        yes: Annotated[bool, typer.Option("--yes", help="do it after the preview, without asking")] = False,
        url: Url = None,
        key: Key = None,
        data: Data = None,
        json: Json = False,
    ) -> None:
        """Code the past again under the rulebook in force: a preview, then a job that can be stopped at any time."""
        wanted = {
            "since": None if since is None else since.isoformat() + "Z",
            "until": None if until is None else until.isoformat() + "Z",
            "motive": motive,
            "per_second": per_second,
        }
        raise typer.Exit(carried_out(lambda: _work(wanted, yes, url, key, data, json), url, key))


def _say(name: str, **values: Any) -> str:
    return in_words(TEXTS, name, **values)


async def _work(
    wanted: dict[str, Any], yes: bool, url: str | None, key: str | None, data: Path | None, json: bool
) -> int:
    async with _served(url, key, data) as (client, pending):
        job = await call(
            client, "POST", "/recodings", {name: value for name, value in wanted.items() if value is not None}
        )
        job = await _watch(client, job, "previewing", json)
        if not json:
            sys.stdout.write(_say("seen", **job) + "\n")
            for move in job["moves"][:MOST]:
                sys.stdout.write(f"{move['count']:>8}  {move['before']} → {move['after']}\n")
        go = yes or (not json and sys.stdin.isatty() and await asyncio.to_thread(typer.confirm, _say("ask")))
        if go:
            job = await call(client, "POST", f"/recodings/{job['recoding_id']}/start", {})
            job = await _watch(client, job, "running", json)
            await pending()
            if not json:
                sys.stdout.write(_say("done", **job) + "\n")
        elif not json:
            sys.stdout.write(_say("only-preview", id=job["recoding_id"]) + "\n")
    if json:
        sys.stdout.write(orjson.dumps(job, option=orjson.OPT_INDENT_2).decode() + "\n")
    if job["state"] not in {"previewed", "done"}:
        sys.stderr.write(_say("ended", state=job["state"]) + "\n")
        return 1
    return 0


async def _watch(client: Any, job: dict[str, Any], state: str, json: bool) -> dict[str, Any]:
    """Ask until the job leaves the state: a bar on a terminal, a line every ten seconds elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True) if sys.stderr.isatty() and not json else None
    told = asyncio.get_running_loop().time()
    with bar or nullcontext():
        task = bar.add_task(_say(state), total=job["total"]) if bar is not None else None
        while job["state"] == state:
            await asyncio.sleep(0.2)
            job = await call(client, "GET", f"/recodings/{job['recoding_id']}")
            if bar is not None and task is not None:
                bar.update(task, completed=job["looked_at"])
            elif not json and asyncio.get_running_loop().time() - told > 10:
                told = asyncio.get_running_loop().time()
                sys.stderr.write(f"{_say(state)}: {job['looked_at']}/{job['total']}\n")
    return job

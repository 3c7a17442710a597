"""`lazo demo`: everything in one process, with a rulebook and a year of complaints that goes on living."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

SEED = 7
RULEBOOK = Path(__file__).parents[2] / "deploy" / "rulebooks" / "operator.yaml"


def register(app: typer.Typer) -> None:
    """Add `demo` to the `lazo` command."""
    app.command("demo")(demo)


def demo(
    data: Annotated[Path | None, typer.Option(help="Directory to keep it in; one of its own by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (LAZO_PORT).", show_default="8000")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same year.")] = SEED,
    days: Annotated[int, typer.Option(min=1, max=365, help="How many days of the year to play.")] = 365,
    end: Annotated[str | None, typer.Option(help="Last day of the year, YYYY-MM-DD; today by default.")] = None,
    stay: Annotated[bool, typer.Option(help="Go on living in real time when the year is over.")] = True,
) -> None:
    """A generated year at an operator, played through the real flow; then it goes on living slowly."""
    from libs.service.run import refuse, run
    from libs.service.settings import SERVICES, BadSettings, Settings, load

    folder = data or Path(os.environ.get("LAZO_DATA") or "lazo-demo")
    try:
        settings = load(Settings, data=folder, port=port, host=host, log_level="warning", access_log=False)
        state = _state(folder, seed, days, end)
    except (BadSettings, ValueError) as error:
        raise typer.Exit(refuse(str(error), 2)) from None
    import importlib

    # A Colombian operator: its terms count working days with the country's holidays.
    os.environ.setdefault("LAZO_FEEDBACK_REGIME", "co")
    os.environ.setdefault("LAZO_FEEDBACK_ORGANISATION", "Operador de ejemplo")

    from libs.events.clock import SimulatedClock

    clock = SimulatedClock(_resume_at(state))
    builders = {name: importlib.import_module(f"services.{name}.app").build for name in SERVICES}

    async def beside(environment: Any, services: Mapping[str, Any], address: str) -> None:
        await _play(environment, services, address, clock, folder, state, stay)

    raise typer.Exit(run(settings, builders, clock=clock, beside=beside))


def _state(folder: Path, seed: int, days: int, end: str | None) -> dict[str, Any]:
    """What an earlier run in the same folder noted, or a new start."""
    path = folder / "demo.json"
    if path.exists():
        state: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if state["seed"] != seed:
            raise ValueError(f"{folder} holds the year of seed {state['seed']}; choose another directory with --data")
        return state
    from libs.events.clock import SystemClock

    last = datetime.fromisoformat(end).replace(tzinfo=UTC) if end else SystemClock().now()
    start = last.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
    return {"seed": seed, "start": start.isoformat(), "days": days, "played": 0, "clock": start.isoformat()}


def _resume_at(state: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(state["clock"])


async def _play(
    environment: Any,
    services: Mapping[str, Any],
    address: str,
    clock: Any,
    folder: Path,
    state: dict[str, Any],
    stay: bool,
) -> None:
    import httpx

    from libs.service import keys
    from libs.service.testing import settle
    from services.demo.driver import Operation
    from services.demo.year import SOURCE, generate

    began = time.monotonic()
    year = generate(state["seed"], datetime.fromisoformat(state["start"]), state["days"])
    (folder / "truth.json").write_text(json.dumps(year.truth()), "utf-8")
    key = await keys.create(environment.vault, "demo", ["*:admin"])
    spanish = environment.settings.language == "es"
    _say(f"Consola: {address}   llave: {key}" if spanish else f"Console: {address}   key: {key}")

    async with httpx.AsyncClient(
        base_url=address,
        headers={"Authorization": f"Bearer {key}"},
        timeout=120,
        limits=httpx.Limits(max_connections=8),
    ) as client:
        await _prepare(client, SOURCE)
        operation = Operation(client, clock, year, lambda: settle(services, 300))
        shown = _progress(len(year.days), spanish)

        def progress(day: int, sent: int) -> None:
            state["played"], state["clock"] = day, clock.now().isoformat()
            (folder / "demo.json").write_text(json.dumps(state), "utf-8")
            shown(day, sent)

        await operation.play(state["played"], progress)
        seconds = time.monotonic() - began
        done = (
            f"{operation.sent} contactos, {seconds:.0f} s" if spanish else f"{operation.sent} contacts, {seconds:.0f} s"
        )
        if stay:
            rest = "Sigue en tiempo real" if spanish else "It goes on in real time"
        else:
            rest = "La consola queda abierta" if spanish else "The console stays open"
        ended = "El año está completo" if spanish else "The year is complete"
        _say(f"{ended} ({done}). {rest}; Ctrl-C {'para terminar' if spanish else 'to stop'}.")
        if not stay:
            return
        number = 0
        while True:  # one generated day after another, under external ids of their own
            number += 1
            fresh = generate(state["seed"] + 1000 + number, clock.now(), 1)
            stamp = f"{clock.now():%Y%m%d%H%M}"
            contacts = [contact for day in fresh.days for contact in day]
            for contact in contacts:
                contact.body["external_id"] = f"L-{stamp}-{contact.body['external_id']}"
                if "case_ref" in contact.body:
                    contact.body["case_ref"] = f"L-{stamp}-{contact.body['case_ref']}"
            await operation.live(contacts)


async def _prepare(client: Any, source: str) -> None:
    """The source and the rulebook, unless an earlier run brought them."""
    from services.demo.driver import Refused

    answer = await client.post("/intake/v1/sources", json={"id": source, "name": "CRM (demo)", "form": "interactions"})
    if answer.status_code not in {200, 201, 409}:
        raise Refused(f"source: {answer.status_code} {answer.text}")
    headers = {"Content-Type": "application/yaml"}
    answer = await client.post("/classification/v1/rulebook/publish", content=RULEBOOK.read_bytes(), headers=headers)
    if answer.status_code >= 400 and answer.status_code != 409:
        raise Refused(f"rulebook: {answer.status_code} {answer.text}")


def _progress(days: int, spanish: bool) -> Callable[[int, int], None]:
    """A bar on a terminal, a line a month elsewhere."""
    day_word, contacts_word = ("día", "contactos") if spanish else ("day", "contacts")
    if sys.stderr.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), transient=True)
        task = bar.add_task("", total=days)
        bar.start()

        def draw(day: int, sent: int) -> None:
            bar.update(task, completed=day, description=f"{day_word} {day}/{days}  {sent} {contacts_word}")
            if day == days:
                bar.stop()

        return draw

    def line(day: int, sent: int) -> None:
        if day % 30 == 0 or day == days:
            _say(f"{day_word} {day}/{days}: {sent} {contacts_word}")

    return line


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()

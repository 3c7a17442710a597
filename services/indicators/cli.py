"""`lazo rebuild indicators`."""

import asyncio
import json as json_
import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

TEXTS: dict[str, tuple[str, str]] = {
    "what": ("Solo se pueden reconstruir: indicators.", "Only these can be rebuilt: indicators."),
    "time": (
        "--as-of {value}: escriba una fecha (2026-03-01) o un instante con su zona (2026-03-01T00:00:00-05:00).",
        "--as-of {value}: write a date (2026-03-01) or an instant with its offset (2026-03-01T00:00:00-05:00).",
    ),
    "in-use": (
        "{reason}. Detenga «lazo up» antes de reconstruir.",
        "{reason}. Stop `lazo up` before rebuilding.",
    ),
    "differs": (
        "No coincide con lo que está en uso, que sigue en uso: {reason}. Vea «lazo verify»; --accept-difference lo cambia.",
        "It does not agree with what is in use, which stays in use: {reason}. See `lazo verify`; --accept-difference switches.",
    ),
    "agrees": ("coincide con lo anterior", "it agrees with what was there"),
    "new": ("no había con qué comparar", "there was nothing to compare with"),
    "other": ("difiere de lo anterior", "it differs from what was there"),
    "done": ("{events} eventos leídos de nuevo; {how}; en uso: {slot}.", "{events} events read again; {how}; in use: {slot}."),
    "at": ("Huella de lo sabido el {at}: {digest}", "Digest of what was known at {at}: {digest}"),
    "reading": ("Leyendo el registro", "Reading the log"),
}  # fmt: skip


def _say(name: str, **values: Any) -> str:
    column = 0 if os.environ.get("LAZO_LANGUAGE", os.environ.get("LANG", "es")).lower().startswith("es") else 1
    return TEXTS[name][column].format(**values)


def _note(text: str) -> None:
    sys.stderr.write(f"lazo: {text}\n")


def register(app: typer.Typer) -> None:
    """Add the command to `lazo`."""

    @app.command("rebuild")
    def rebuild(
        what: Annotated[str, typer.Argument(help="indicators")],
        as_of: Annotated[
            str | None, typer.Option("--as-of", help="compare only what was known then, and print its digest")
        ] = None,
        accept: Annotated[bool, typer.Option("--accept-difference", help="switch even where the two differ")] = False,
        data: Annotated[Path | None, typer.Option(envvar="LAZO_DATA", help="data directory (embedded)")] = None,
        json: Annotated[bool, typer.Option("--json", help="answer as JSON")] = False,
    ) -> None:
        """Project the read models again from the log, beside the live ones, compare, and switch."""
        if what != "indicators":
            _note(_say("what"))
            raise typer.Exit(2)
        try:
            moment = None if as_of is None else _moment(as_of)
        except ValueError:
            _note(_say("time", value=as_of))
            raise typer.Exit(2) from None
        raise typer.Exit(_main(data, moment, accept=accept, as_json=json))


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        if "T" in text or " " in text:
            raise ValueError(text)
        found = found.replace(tzinfo=UTC)
    return found


def _main(data: Path | None, as_of: datetime | None, *, accept: bool, as_json: bool) -> int:
    from libs.events.rebuild import Differs
    from libs.service.run import REFUSALS
    from libs.service.settings import BadSettings, Settings, load

    try:
        settings = load(Settings, data=data)
    except BadSettings as error:
        _note(str(error))
        return 2
    try:
        found = asyncio.run(_rebuild(settings, as_of, accept=accept))
    except Differs as error:
        _note(_say("differs", reason=str(error)))
        return 1
    except REFUSALS as error:
        _note(_say("in-use", reason=str(error)))
        return 1
    if as_json:
        sys.stdout.write(json_.dumps(found) + "\n")
        return 0
    how = {True: "agrees", False: "other", None: "new"}[found["agrees"]]
    sys.stdout.write(_say("done", events=found["events"], how=_say(how), slot=found["slot"]) + "\n")
    if as_of is not None:
        sys.stdout.write(_say("at", at=as_of.isoformat(), digest=found["digest"]) + "\n")
    return 0


async def _rebuild(settings: Any, as_of: datetime | None, *, accept: bool) -> dict[str, Any]:
    from dataclasses import replace

    from libs.events.engines import reading
    from libs.events.runtime import Runtime
    from libs.service.environment import Environment
    from libs.service.migration import location_of
    from services.indicators.domain.periods import micros
    from services.indicators.projection import digest, projection

    environment = await Environment.open(settings)
    try:
        await environment.migrate("indicators", location_of("indicators"))
        compared = partial(digest, known=None if as_of is None else micros(as_of))
        plan = replace(projection(), digest=compared)
        engine = environment.engine("indicators")
        runtime = Runtime(
            service="indicators", engine=engine, log=environment.log, vault=environment.vault, clock=environment.clock,
            projections=[plan],
        )  # fmt: skip
        with _progress() as told:
            outcome = await runtime.rebuild(plan.name, progress=told, accept_difference=accept)
        async with reading(engine) as connection:
            final = await compared(connection, outcome.slot)
    finally:
        await environment.close()
    return {
        "slot": outcome.slot,
        "switched": outcome.switched,
        "agrees": outcome.agrees,
        "events": outcome.events,
        "digest": final,
        "as_of": None if as_of is None else as_of.isoformat(),
    }


class _progress:  # noqa: N801 - reads as a verb where it is used
    """A bar on a terminal, a line every few seconds elsewhere."""

    def __enter__(self) -> Any:
        from time import monotonic

        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            task = self._bar.add_task(_say("reading"), total=None)
            return lambda done, total: self._bar.update(task, completed=done, total=total)
        last = [monotonic()]

        def line(done: int, total: int) -> None:
            if monotonic() - last[0] >= 5:
                last[0] = monotonic()
                sys.stderr.write(f"{_say('reading')}: {done}/{total}\n")

        return line

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

"""`lazo import`: files of other systems into intake."""

import asyncio
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

TEXTS: dict[str, tuple[str, str]] = {
    "registered": ("Se registró la fuente {source}.", "Registered the source {source}."),
    "file": (
        "{file}: {rows} filas · {accepted} aceptadas · {duplicates} ya conocidas · {rejected} rechazadas · {skipped} omitidas",
        "{file}: {rows} rows · {accepted} accepted · {duplicates} known already · {rejected} rejected · {skipped} skipped",
    ),
    "different": (
        "  {different} ya estaban con otro contenido; se conserva lo primero.",
        "  {different} were there with other content; the first is kept.",
    ),
    "refusals": ("  Los motivos están en {rejected_file}.", "  The reasons are in {rejected_file}."),
    "pending": (
        "{pending} hechos están guardados y se publicarán en el próximo arranque.",
        "{pending} facts are stored and will be published at the next start.",
    ),
    "stopped": (
        "Interrumpido; el mismo comando sigue donde quedó, nada entra dos veces.",
        "Interrupted; the same command goes on from here, nothing enters twice.",
    ),
    "in-use": (
        "{reason}. Con el servidor en marcha: --url http://127.0.0.1:8000 --key lz_…",
        "{reason}. With the server running: --url http://127.0.0.1:8000 --key lz_…",
    ),
}


class EffectsOption(StrEnum):
    history = "history"
    live = "live"


def _say(name: str, **values: Any) -> str:
    column = 0 if os.environ.get("LAZO_LANGUAGE", os.environ.get("LANG", "es")).lower().startswith("es") else 1
    return TEXTS[name][column].format(**values)


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def register(app: typer.Typer) -> None:
    """Add the command to `lazo`."""

    @app.command("import")
    def import_(
        files: Annotated[
            list[Path], typer.Argument(help="CSV, JSON, NDJSON, Parquet, .eml or mbox", exists=True, dir_okay=False)
        ],
        source: Annotated[str, typer.Option(help="the source these come from; registered when it is not there yet")],
        mapping: Annotated[
            Path | None, typer.Option(help="how columns become fields (YAML)", exists=True, dir_okay=False)
        ] = None,
        effects: Annotated[
            EffectsOption, typer.Option(help="history: nobody is written to about it")
        ] = EffectsOption.history,
        url: Annotated[
            str | None,
            typer.Option(envvar="LAZO_URL", help="a running server; otherwise this machine's data directory"),
        ] = None,
        key: Annotated[str | None, typer.Option(envvar="LAZO_KEY", help="API key for --url")] = None,
        data: Annotated[Path | None, typer.Option(envvar="LAZO_DATA", help="data directory (embedded)")] = None,
        json: Annotated[bool, typer.Option("--json", help="the totals as JSON")] = False,
    ) -> None:
        """Bring files in. Can be stopped and run again: nothing enters twice. Refused rows go to FILE.rejected.ndjson.

        Lo que entra así es historia: se codifica, se juzga y se cuenta, y a nadie se le escribe (--effects live lo cambia).
        """
        raise typer.Exit(_main(files, source, mapping, effects.value, url, key, data, json))


def _main(
    files: list[Path],
    source: str,
    mapping_file: Path | None,
    effects: str,
    url: str | None,
    key: str | None,
    data: Path | None,
    as_json: bool,
) -> int:
    from libs.service.run import REFUSALS
    from libs.service.settings import BadSettings
    from services.intake.importing.readers import Unreadable
    from services.intake.importing.target import ImportStopped
    from services.intake.mapping import WrongMapping

    try:
        return asyncio.run(_import(files, source, mapping_file, effects, url, key, data, as_json))
    except WrongMapping as error:
        _note(f"{mapping_file or files[0]}: {error}" if str(mapping_file) not in str(error) else str(error))
    except (Unreadable, ImportStopped, BadSettings, OSError) as error:
        _note(str(error))
    except REFUSALS as error:
        _note(_say("in-use", reason=str(error)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        _note(_say("stopped"))
    return 1


async def _import(
    files: list[Path],
    source: str,
    mapping_file: Path | None,
    effects: str,
    url: str | None,
    key: str | None,
    data: Path | None,
    as_json: bool,
) -> int:
    from rich.console import Console

    from services.intake.importing.run import FileReport, Lines, Totals, bar, import_file
    from services.intake.importing.target import target_of
    from services.intake.mapping import MappingFile, load

    began = time.monotonic()
    mapping: MappingFile | None = None if mapping_file is None else load(mapping_file)
    console = Console(stderr=True)
    reports: list[FileReport] = []
    pending = 0
    async with target_of(url, key, data) as target:
        wanted: dict[str, Any] = {"name": source}
        if mapping is not None:
            rule = mapping.source
            wanted = {"name": rule.name or source, "region": rule.region, "defaults": rule.defaults}
        registered = await target.ensure_source(source, wanted)
        if registered:
            _note(_say("registered", source=source))
        with bar(console) if console.is_terminal else nullcontext(Lines(_note)) as progress:
            for path in files:
                report = await import_file(
                    path, source=source, mapping=mapping, effects=effects, target=target, progress=progress
                )
                reports.append(report)
                if not as_json:
                    _tell(report)
        if target.settle is not None:
            pending = await target.settle()
    if pending:
        _note(_say("pending", pending=pending))
    totals = Totals()
    for report in reports:
        totals.add(report.totals)
    if as_json:
        document = {
            "source": source,
            "registered": registered,
            "effects": effects,
            **asdict(totals),
            "files": [report.document() for report in reports],
            "seconds": round(time.monotonic() - began, 3),
        }
        sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
    kept = totals.accepted + totals.duplicates
    return 1 if totals.rejected and not kept else 0


def _tell(report: Any) -> None:
    values = report.document()
    sys.stdout.write(_say("file", **values) + "\n")
    if report.totals.different:
        sys.stdout.write(_say("different", **values) + "\n")
    if report.rejected_file is not None:
        sys.stdout.write(_say("refusals", **values) + "\n")

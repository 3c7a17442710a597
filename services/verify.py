"""`lazo verify`: walk the log, the stores and the read models, and name every place that does not hold.

Only the command stands here, and imports the rest when it is called: `lazo --help` must not wait for a database library.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libs.service.settings import Settings

if TYPE_CHECKING:
    from libs.events.verification import Report


def register(app: typer.Typer) -> None:
    """Add `lazo verify`."""

    @app.command("verify")
    def verify_command(
        data: Annotated[
            Path | None, typer.Option(help="Directory of the embedded engines (LAZO_DATA).", show_default=False)
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
    ) -> None:
        """Walk the log and the stores: order, gaps, duplicates, hash chain, read models. Exit 1 if something does not hold."""
        from services.__main__ import settings_or_exit, stop
        from services.verifying import NOTHING, as_dict, lines, summary

        settings = settings_or_exit(data=data)
        language = settings.language
        if settings.needs_directory and settings.kafka is None and not (settings.data / "log.db").exists():
            raise stop(NOTHING[language].format(data=settings.data))
        report = _run(settings)
        if as_json:
            typer.echo(json.dumps(as_dict(report, language), ensure_ascii=False))
        else:
            for line in lines(report, language):
                typer.echo(line)
            typer.echo(summary(report, language))
        if report.breaks:
            raise typer.Exit(1)


def _run(settings: Settings) -> "Report":
    from services.__main__ import _run as run_or_exit
    from services.verifying import verify_all

    if not sys.stderr.isatty():
        return run_or_exit(lambda: verify_all(settings))
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(pulse_style="cyan"), TextColumn("{task.completed:,}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        return run_or_exit(lambda: verify_all(settings, lambda count: progress.advance(task, count)))

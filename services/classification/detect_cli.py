"""`lazo detect`: run the systemic monitor over anyone's history, without any server."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from shutil import get_terminal_size
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

import orjson
import typer

if TYPE_CHECKING:
    from services.classification.calendars import Calendar
    from services.classification.counts_file import Counts, Named
    from services.classification.domain.detection.chronics import Chronic
    from services.classification.domain.detection.engine import Told

TEXTS: dict[str, tuple[str, str]] = {
    "unreadable": ("{path}: no se puede leer: {detail}", "{path}: cannot be read: {detail}"),
    "not_text": ("{path}: no es texto en UTF-8", "{path}: is no text in UTF-8"),
    "no_csv": ("{path}: no es un CSV: {detail}", "{path}: is no CSV: {detail}"),
    "empty": ("{path}: el archivo está vacío", "{path}: the file is empty"),
    "no_rows": ("{path}: no hay filas", "{path}: there are no rows"),
    "no_column": (
        "{path}: falta la columna {column} (hay: {found})",
        "{path}: column {column} is missing (there are: {found})",
    ),
    "short_row": ("{path}:{line}: la fila está incompleta", "{path}:{line}: the row is incomplete"),
    "bad_date": ("{path}:{line}: «{value}» no es una fecha", "{path}:{line}: “{value}” is no date"),
    "bad_count": (
        "{path}:{line}: {column} debe ser un número entero de 0 en adelante, no «{value}»",
        "{path}:{line}: {column} must be a whole number from 0 on, not “{value}”",
    ),
    "bad_exposure": (
        "{path}:{line}: la exposición debe ser un número de 0 en adelante, no «{value}»",
        "{path}:{line}: exposure must be a number from 0 on, not “{value}”",
    ),
    "too_long": (
        "{path}: la serie {series} abarcaría {periods} períodos; ¿hay una fecha errada?",
        "{path}: series {series} would span {periods} periods; is a date wrong?",
    ),
    "too_wide": (
        "{path}: las series abarcarían juntas {periods} períodos, más de {most}; divida el archivo o revise las fechas",
        "{path}: the series would span {periods} periods together, more than {most}; divide the file or check its dates",
    ),
    "repeated": (
        "{path}: {count} filas repiten serie y fecha; se sumaron",
        "{path}: {count} rows repeat a series and date; they were added up",
    ),
    "two_ways": (
        "{path}: las fechas vienen en {count} formatos; donde cabe duda, el día va antes que el mes",
        "{path}: dates come in {count} formats; where in doubt, the day goes before the month",
    ),
    "unwritable": ("{path}: no se puede escribir: {detail}", "{path}: cannot be written: {detail}"),
    "no_series": ("no hay ninguna serie «{series}»", "there is no series “{series}”"),
    "alike": ("; parecidas: {series}", "; alike: {series}"),
    "bad_start": ("--start: «{value}» no es una fecha", "--start: “{value}” is no date"),
    "bad_far": ("--far debe estar entre 0 y 0,5", "--far must be between 0 and 0.5"),
    "bad_episodes": ("--episodes debe ser mayor que 0", "--episodes must be more than 0"),
    "bad_holidays": (
        "--holidays: «{value}» no es un país con festivos conocidos (CO, DE-BY) ni una fecha (2026-11-27, o -2026-12-08 si no es festivo)",
        "--holidays: “{value}” is no country whose holidays are known (CO, DE-BY) and no date (2026-11-27, or -2026-12-08 for no holiday)",
    ),
    "holidays_of_weeks": ("--holidays es para días, no para semanas", "--holidays is for days, not for weeks"),
    "reading": ("leyendo", "reading"),
    "judging": ("juzgando", "judging"),
    "done": (
        "{path}: {series} series, {rows} períodos, {alarms} en alarma en {alarmed} series; {bursts} subidas aisladas",
        "{path}: {series} series, {rows} periods, {alarms} alarmed in {alarmed} series; {bursts} isolated rises",
    ),
}
HEADER = "series,date,count,expected,upper,score,alarm,kind\n"

File = Annotated[
    Path, typer.Argument(help="CSV: series,date,count and, if known, customers,exposure,peers", dir_okay=False)
]


class _Stop(Exception):
    """The command ends with this line."""


def _spanish() -> bool:
    return os.environ.get("LAZO_LANGUAGE", os.environ.get("LANG", "es")).lower().startswith("es")


def _say(name: str, **values: Any) -> str:
    es, en = TEXTS[name]
    return (es if _spanish() else en).format(**values)


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def register(app: typer.Typer) -> None:
    """Add the command to `lazo`."""

    @app.command("detect")
    def detect(
        counts: File,
        out: Annotated[
            Path | None, typer.Option(help="CSV to write: series,date,count,expected,upper,score,alarm,kind")
        ] = None,
        freq: Annotated[Literal["day", "week"], typer.Option(help="what a row stands for")] = "day",
        start: Annotated[
            str | None, typer.Option(help="first date that is written; what is before is only past")
        ] = None,
        far: Annotated[float, typer.Option(help="wanted share of alarmed periods on quiet series")] = 0.01,
        episodes: Annotated[
            float | None,
            typer.Option(
                help="instead: wanted false alarm episodes (alarms at most 7 periods apart are one) a series and year, "
                "on average over the file"
            ),
        ] = None,
        holidays: Annotated[
            str | None,
            typer.Option(help="country whose holidays are expected: CO, DE-BY; also dates: CO,2026-11-27,-2026-12-08"),
        ] = None,
        explain: Annotated[str | None, typer.Option(help="draw this series on the terminal")] = None,
        svg: Annotated[Path | None, typer.Option(help="with --explain: write the drawing as SVG")] = None,
        json: Annotated[bool, typer.Option("--json", help="a summary as JSON")] = False,
    ) -> None:
        """Say what in anyone's counts is no longer what their past makes likely, strictly on-line, and what looks isolated."""
        from services.classification.counts_file import BadCounts

        try:
            _detect(counts, out, freq, start, far, episodes, holidays, explain, svg, as_json=json)
        except _Stop as stop:
            _note(f"lazo: {stop}")
        except BadCounts as error:
            _note(f"lazo: {_say(error.code, **error.values)}")
        except OSError as error:
            _note(f"lazo: {_say('unwritable', path=error.filename or '', detail=error.strerror or str(error))}")
        else:
            return
        raise typer.Exit(1)


def _detect(
    path: Path,
    out: Path | None,
    freq: Literal["day", "week"],
    start: str | None,
    far: float,
    episodes: float | None,
    holidays: str | None,
    explain: str | None,
    svg: Path | None,
    *,
    as_json: bool,
) -> None:
    from services.classification.counts_file import read
    from services.classification.domain.detection.chronics import chronics
    from services.classification.domain.detection.engine import Asked

    if not 0 < far <= 0.5:
        raise _Stop(_say("bad_far"))
    if episodes is not None and not 0 < episodes < float("inf"):
        raise _Stop(_say("bad_episodes"))
    since = None if start is None else _date(start)
    calendar = None if holidays is None else _calendar(holidays, freq)
    with _progress("reading", path.stat().st_size if path.is_file() else 0) as told:
        found = read(path, freq, told)
    if found.repeated:
        _note(_say("repeated", path=path, count=found.repeated))
    if len(found.formats) > 1:
        _note(_say("two_ways", path=path, count=len(found.formats)))
    asked = Asked(far, episodes, () if calendar is None else calendar.spanning(found.series))
    # Peers are everybody's, also when one series is explained.
    among = chronics(freq, [named.data for named in found.series], asked, [named.peers for named in found.series])
    if explain is not None:
        chosen = [place for place, named in enumerate(found.series) if named.name == explain]
        if not chosen:
            alike = get_close_matches(explain, [named.name for named in found.series[:10_000]], n=5, cutoff=0.4)
            raise _Stop(_say("no_series", series=explain) + (_say("alike", series=", ".join(alike)) if alike else ""))
        found.series, among = [found.series[place] for place in chosen], [among[place] for place in chosen]
    summary = _run(found, among, out, freq, since, asked, explain is not None, svg)
    summary |= {"freq": freq, "far": far, "episodes": episodes, "repeated": found.repeated, "read": found.rows}
    if as_json:
        sys.stdout.write(orjson.dumps(summary).decode() + "\n")
    elif explain is None:
        _note(_say("done", path=out or path, **summary))


def _calendar(text: str, freq: str) -> "Calendar":
    from services.classification.calendars import BadCalendar, parse

    if freq != "day":
        raise _Stop(_say("holidays_of_weeks"))
    try:
        return parse(text)
    except BadCalendar as error:
        raise _Stop(_say("bad_holidays", value=error.value[:40])) from None


def _date(text: str) -> str:
    from services.classification.counts_file import ordinal_of

    try:
        return date.fromordinal(ordinal_of(text)[0]).isoformat()
    except ValueError:
        raise _Stop(_say("bad_start", value=text[:40])) from None


def _run(
    found: "Counts",
    among: "list[Chronic | None]",
    out: Path | None,
    freq: str,
    since: str | None,
    asked: Any,
    explain: bool,
    svg: Path | None,
) -> dict[str, Any]:
    """Judge, and write in the order in which the file names its series."""
    from services.classification.domain.detection.chronics import laid_over
    from services.classification.domain.detection.engine import judge

    summary = {"series": len(found.series), "rows": 0, "alarms": 0, "alarmed": 0, "bursts": 0}
    periods = sum(len(named.data.counts) for named in found.series)
    drawn: list[tuple[Named, Told]] = []
    with _writing(out) as written, _progress("judging", periods) as advance:
        for index, judged in judge(freq, [named.data for named in found.series], asked, advance):
            named, judged = found.series[index], laid_over(judged, among[index])
            written.put(index, _lines(named, freq, since, judged, summary))
            if explain:
                drawn.append((named, judged))
    # Not within: while a bar is on the terminal, what is written to standard output goes where the bar goes.
    for named, judged in drawn:
        _explain(named, freq, since, judged, svg)
    return summary


def _lines(named: "Named", freq: str, since: str | None, judged: "Told", summary: dict[str, int]) -> str:
    from services.classification.counts_file import dates
    from services.classification.domain.detection.engine import BURST, KINDS

    name = named.name
    if any(mark in name for mark in ',"\n\r'):
        name = '"' + name.replace('"', '""') + '"'
    columns = (
        dates(named, freq),
        named.data.counts.tolist(),
        judged.expected.tolist(),
        judged.upper.tolist(),
        judged.score.tolist(),
        judged.alarm.tolist(),
        judged.kind.tolist(),
    )
    lines, alarms, bursts = [], 0, 0
    for day, count, expected, upper, score, alarm, kind in zip(*columns, strict=True):
        if since is not None and day < since:
            continue
        alarms += alarm
        bursts += kind == BURST
        lines.append(f"{name},{day},{count},{expected:.4g},{upper:.0f},{score:.3f},{alarm:d},{KINDS[kind]}\n")
    summary["rows"] += len(lines)
    summary["alarms"] += alarms
    summary["alarmed"] += alarms > 0
    summary["bursts"] += bursts
    return "".join(lines)


def _explain(named: "Named", freq: str, since: str | None, judged: "Told", svg: Path | None) -> None:
    from services.classification import detect_drawing

    drawing = detect_drawing.Drawing.of(named, freq, since, judged, spanish=_spanish())
    shown = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    colour = shown and not os.environ.get("NO_COLOR")  # https://no-color.org
    sys.stdout.write(drawing.terminal(get_terminal_size().columns, colour=colour))
    if svg is not None:
        svg.write_text(drawing.svg(), "utf-8")


class _InOrder:
    """Writes texts by number whatever order they come in. What has to wait for its turn waits on disk, not in memory."""

    def __init__(self, file: BinaryIO | None, aside: BinaryIO) -> None:
        self._file, self._aside = file, aside
        self._next, self._end = 0, 0
        self._waiting: dict[int, tuple[int, int]] = {}

    def put(self, number: int, text: str) -> None:
        """Each number once, from 0 on without gaps in the end."""
        if self._file is None:
            return
        kept = text.encode()
        if number != self._next:
            self._aside.seek(self._end)
            self._aside.write(kept)
            self._waiting[number] = self._end, len(kept)
            self._end += len(kept)
            return
        self._file.write(kept)
        self._next += 1
        while self._next in self._waiting:
            begin, length = self._waiting.pop(self._next)
            self._aside.seek(begin)
            self._file.write(self._aside.read(length))
            self._next += 1


@contextmanager
def _writing(out: Path | None) -> Iterator[_InOrder]:
    """The file appears under its name when it is whole."""
    if out is None:
        yield _InOrder(None, BytesIO())
        return
    partial = out.with_name(out.name + ".part")
    try:
        with partial.open("wb") as file, TemporaryFile(dir=partial.parent) as aside:
            file.write(HEADER.encode())
            yield _InOrder(file, aside)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """How far a phase has come, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(_say(name), total=total)
        yield lambda more: progress.advance(task, more)

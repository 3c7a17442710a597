"""`lazo exposure`, `lazo changes`: what the monitor cannot see in complaints, from files. `lazo shadow`: other settings tried over history."""

import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.classification.cli import Data, Json, Key, Url, _served
from services.classification.cli_talk import Refused, call, carried_out, in_words

TEXTS: dict[str, tuple[str, str]] = {
    # key: (es, en)
    "exposure": (
        "{file}: {recorded} cifras nuevas, {same} ya estaban",
        "{file}: {recorded} new figures, {same} were there",
    ),
    "changes": (
        "{file}: {recorded} cambios nuevos, {same} ya estaban",
        "{file}: {recorded} new changes, {same} were there",
    ),
    "row": ("{file}:{line}: {detail}", "{file}:{line}: {detail}"),
    "empty": ("{file}: no hay filas", "{file}: there are no rows"),
    "number": ("«{value}» no es un número", "'{value}' is no number"),
    "side": (
        "{side}: {count} hallazgos, {admitted} falsas alarmas admitidas, {dismissed} de cortes que se descartaron",
        "{side}: {count} findings, {admitted} false alarms admitted, {dismissed} in slices that people dismissed",
    ),
    "live": ("vigente", "in force"),
    "shadow": ("probado", "tried"),
    "appear": ("aparece", "appears"),
    "vanish": ("desaparece", "vanishes"),
    "unchanged": ("no se cambió nada", "nothing was changed"),
}
BATCH = 1_000
OWN = {
    "exposure": {"unit", "since", "until", "amount"},
    "changes": {"id", "kind", "at", "what", "code", "version", "by"},
}
PLACE = {"exposure": "slice", "changes": "where"}


HELP = {
    "exposure": "Record how many there were who could complain: columns unit, since, until, amount, and a column per dimension.",
    "changes": "Record what changed in the house: columns kind, at, what, code, version, id, and a column per dimension.",
}


def register(app: typer.Typer) -> None:
    """Add the commands to `lazo`."""
    for what, told in HELP.items():
        app.command(what, help=told)(_recorder(what))

    @app.command("shadow")
    def shadow(
        false_alarms: Annotated[float | None, typer.Option(help="false alarms a month over all quiet slices")] = None,
        minimum_customers: Annotated[int | None, typer.Option(help="fewer complainants are never an alarm")] = None,
        rule: Annotated[list[str] | None, typer.Option(help="any other rule of the monitor, as name=number")] = None,
        url: Url = None,
        key: Key = None,
        data: Data = None,
        json: Json = False,
    ) -> None:
        """Which findings would have come under other settings of the monitor, when, at what cost. Nothing is changed."""
        asked: dict[str, Any] = {"false_alarms_per_month": false_alarms, "minimum_customers": minimum_customers}
        rules = {name: value for name, value in asked.items() if value is not None}
        for item in rule or []:
            name, equals, number = item.partition("=")
            if not equals or not _is_number(number):
                raise typer.BadParameter(f"{item!r}: name=number", param_hint="--rule")
            rules[name] = float(number)
        if not rules:
            raise typer.BadParameter("--false-alarms, --minimum-customers, --rule", param_hint="--rule")
        raise typer.Exit(carried_out(lambda: _shadow(rules, url, key, data, json), url, key))


def _recorder(what: str) -> Callable[..., None]:
    """The command that takes a file of these to classification."""

    def record(
        file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSON or NDJSON")],
        url: Url = None,
        key: Key = None,
        data: Data = None,
        json: Json = False,
    ) -> None:
        raise typer.Exit(carried_out(lambda: _record(what, file, url, key, data, json), url, key))

    return record


def _say(name: str, **values: Any) -> str:
    return in_words(TEXTS, name, **values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def rows_of(what: str, file: Path) -> list[tuple[int, dict[str, Any]]]:
    """Line and item, as the API takes them. Columns that are no field of their own are dimensions. Raises Refused."""
    raw = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        if raw.lstrip()[:1] == b"[":
            return list(enumerate(orjson.loads(raw), start=1))
        if raw.lstrip()[:1] == b"{":
            lines = [line for line in raw.split(b"\n") if line.strip()]
            return [(number, orjson.loads(line)) for number, line in enumerate(lines, start=1)]
        text = raw.decode()
    except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {error}") from None
    return [
        (number, _item(what, row, file, number))
        for number, row in enumerate(csv.DictReader(io.StringIO(text)), start=2)
    ]


def _item(what: str, row: Mapping[str | None, Any], file: Path, line: int) -> dict[str, Any]:
    item: dict[str, Any] = {}
    where: dict[str, str] = {}
    for name, value in row.items():
        if name is None or value is None or not str(value).strip():
            continue
        column, text = name.strip(), str(value).strip()
        if column in {"amount", "version"}:
            if not _is_number(text):
                raise Refused(_say("row", file=file, line=line, detail=_say("number", value=text)))
            item[column] = float(text) if column == "amount" else int(float(text))
        elif column in OWN[what]:
            item[column] = text
        else:
            where[column] = text
    return item | ({PLACE[what]: where} if where else {})


async def _record(what: str, file: Path, url: str | None, key: str | None, data: Path | None, json: bool) -> int:
    rows = rows_of(what, file)
    if not rows:
        raise Refused(_say("empty", file=file))
    done = {"recorded": 0, "same": 0}
    async with _served(url, key, data) as (client, pending):
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            said = await call(client, "POST", f"/{what}", [item for _, item in batch], _lines(file, batch))
            if what == "exposure":
                done = {name: done[name] + said[name] for name in done}
            else:
                same = sum(item["status"] == "same" for item in said["items"])
                done = {"recorded": done["recorded"] + len(batch) - same, "same": done["same"] + same}
        await pending()
    sys.stdout.write((orjson.dumps(done).decode() if json else _say(what, file=file, **done)) + "\n")
    return 0


def _lines(file: Path, rows: Sequence[tuple[int, Any]]) -> Callable[[list[dict[str, Any]]], None]:
    """Says errors about items by the lines they stood in."""

    def told(errors: list[dict[str, Any]]) -> None:
        for error in errors:
            place = error["pointer"].split("/")[1:2]
            line = rows[int(place[0])][0] if place and place[0].isdigit() else 0
            sys.stderr.write(_say("row", file=file, line=line, detail=error["detail"]) + "\n")

    return told


async def _shadow(rules: dict[str, Any], url: str | None, key: str | None, data: Path | None, json: bool) -> int:
    async with _served(url, key, data, None) as (client, _):
        report = await call(client, "POST", "/monitors/shadow", {"rules": rules}, _lines(Path("/monitors/shadow"), ()))
    if json:
        sys.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    for name in ("live", "shadow"):
        side = report[name]
        told = {"count": len(side["findings"]), "admitted": side["false_alarms_admitted"]}
        sys.stdout.write(_say("side", side=_say(name), dismissed=side["dismissed_by_people"], **told) + "\n")
        for found in side["findings"]:
            sys.stdout.write(f"  {found['since']}  {' · '.join(found['slice'].values())}\n")
    for name in ("appear", "vanish"):
        for item in report["verdicts"][name]:
            sys.stdout.write(
                f"{_say(name)}: {item['verdict']} {' · '.join(item['slice'].values())} ({item['since']})\n"
            )
    sys.stdout.write(_say("unchanged") + "\n")
    return 0

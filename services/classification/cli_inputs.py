"""`lazo exposure`, `lazo changes`: what the monitor cannot see in complaints, from files. `lazo shadow`: other settings tried over history."""

import asyncio
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from services.classification.cli import Data, Json, Key, Url, _language, _own, _server

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
    "refused": ("no se pudo: {detail}", "refused: {detail}"),
    "key": ("falta --key (o LAZO_KEY)", "--key (or LAZO_KEY) is missing"),
    "away": ("{url} no responde: {detail}", "{url} does not answer: {detail}"),
    "in-use": (
        "{reason}. Con el servidor en marcha: --url http://127.0.0.1:8000 --key lz_…",
        "{reason}. With the server running: --url http://127.0.0.1:8000 --key lz_…",
    ),
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


class Refused(Exception):
    """The server said no, or the file cannot be read; its text says why."""


def register(app: typer.Typer) -> None:
    """Add the commands to `lazo`."""

    @app.command("exposure")
    def exposure(
        file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSON or NDJSON")],
        url: Url = None,
        key: Key = None,
        data: Data = None,
        json: Json = False,
    ) -> None:
        """Record how many there were who could complain: columns unit, since, until, amount, and a column per dimension."""
        raise typer.Exit(_run(_record("exposure", file, url, key, data, json), url, key))

    @app.command("changes")
    def changes(
        file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSON or NDJSON")],
        url: Url = None,
        key: Key = None,
        data: Data = None,
        json: Json = False,
    ) -> None:
        """Record what changed in the house: columns kind, at, what, code, version, id, and a column per dimension."""
        raise typer.Exit(_run(_record("changes", file, url, key, data, json), url, key))

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
        raise typer.Exit(_run(_shadow(rules, url, key, data, json), url, key))


def _say(name: str, **values: Any) -> str:
    es, en = TEXTS[name]
    return (es if _language() == "es" else en).format(**values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _run(work: Any, url: str | None, key: str | None) -> int:
    import httpx

    from libs.service.run import REFUSALS
    from libs.service.settings import BadSettings

    if url is not None and not key:
        work.close()
        sys.stderr.write(_say("key") + "\n")
        return 2
    try:
        return int(asyncio.run(work))
    except httpx.HTTPError as error:
        sys.stderr.write(_say("away", url=url, detail=str(error) or type(error).__name__) + "\n")
    except Refused as refused:
        sys.stderr.write(_say("refused", detail=str(refused)) + "\n")
    except (BadSettings, OSError) as error:
        sys.stderr.write(f"{error}\n")
    except REFUSALS as error:
        sys.stderr.write(_say("in-use", reason=str(error)) + "\n")
    return 1


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
    async with _server(url, key) if url is not None else _own(data) as (client, pending):
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            said = await _post(client, f"/{what}", [item for _, item in batch], file, batch)
            if what == "exposure":
                done = {name: done[name] + said[name] for name in done}
            else:
                same = sum(item["status"] == "same" for item in said["items"])
                done = {"recorded": done["recorded"] + len(batch) - same, "same": done["same"] + same}
        await pending()
    sys.stdout.write((orjson.dumps(done).decode() if json else _say(what, file=file, **done)) + "\n")
    return 0


async def _post(
    client: Any, path: str, body: Any, file: Path | None = None, rows: Sequence[tuple[int, Any]] = ()
) -> dict[str, Any]:
    answer = await client.post(f"/classification/v1{path}", json=body, headers={"accept-language": _language()})
    try:
        said: dict[str, Any] = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        said = {"detail": f"HTTP {answer.status_code}"}
    if answer.status_code >= 400:
        for error in said.get("errors", []):
            place = error["pointer"].split("/")[1:2]
            line = rows[int(place[0])][0] if rows and place and place[0].isdigit() else 0
            sys.stderr.write(_say("row", file=file or path, line=line, detail=error["detail"]) + "\n")
        raise Refused(f"{said.get('title', '')} {said.get('detail', '')}".strip())
    return said


async def _shadow(rules: dict[str, Any], url: str | None, key: str | None, data: Path | None, json: bool) -> int:
    async with _server(url, key, None) if url is not None else _own(data) as (client, _):
        report = await _post(client, "/monitors/shadow", {"rules": rules})
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

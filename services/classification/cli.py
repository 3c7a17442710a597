"""`lazo rulebook`: check a rulebook without any server, preview what it would change, publish it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

if TYPE_CHECKING:
    from services.classification.domain.rulebook import Rulebook

TEXTS: dict[str, tuple[str, str]] = {
    "sound": (
        "{file}: sin defectos ({motives} motivos, {causes} causas)",
        "{file}: no defects ({motives} motives, {causes} causes)",
    ),
    "defects": ("{file}: defectos: {count}", "{file}: defects: {count}"),
    "published": ("{book}: versión {version} publicada", "{book}: version {version} published"),
    "same": (
        "{book}: es igual a la versión {version}; nada cambia",
        "{book}: same as version {version}; nothing changes",
    ),
    "not-shown": ("no hay vista previa: {detail}", "no preview: {detail}"),
    "refused": ("no se publicó: {detail}", "not published: {detail}"),
    "pending": (
        "está guardado y se publicará en el próximo arranque",
        "it is stored and will be published at the next start",
    ),
    "in-use": (
        "{reason}. Con el servidor en marcha: --url http://127.0.0.1:8000 --key lz_…",
        "{reason}. With the server running: --url http://127.0.0.1:8000 --key lz_…",
    ),
    "away": ("{url} no responde: {detail}", "{url} does not answer: {detail}"),
    "key": ("falta --key (o LAZO_KEY)", "--key (or LAZO_KEY) is missing"),
}

File = Annotated[Path, typer.Argument(help="the rulebook (YAML or JSON)", exists=True, dir_okay=False)]
Url = Annotated[
    str | None, typer.Option(envvar="LAZO_URL", help="a running server; otherwise this machine's data directory")
]
Key = Annotated[str | None, typer.Option(envvar="LAZO_KEY", help="API key for --url")]
Data = Annotated[Path | None, typer.Option(envvar="LAZO_DATA", help="data directory (embedded)")]
Json = Annotated[bool, typer.Option("--json", help="the answer as JSON")]


def _language() -> str:
    return "es" if os.environ.get("LAZO_LANGUAGE", os.environ.get("LANG", "es")).lower().startswith("es") else "en"


def _say(name: str, **values: Any) -> str:
    es, en = TEXTS[name]
    return (es if _language() == "es" else en).format(**values)


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def register(app: typer.Typer) -> None:
    """Add the commands to `lazo`."""
    rulebook = typer.Typer(help="The rulebook: motives, causes, procedures, norms.", no_args_is_help=True)
    app.add_typer(rulebook, name="rulebook")

    @rulebook.command("check")
    def check(
        file: File,
        against: Annotated[
            list[Path] | None,
            typer.Option(help="what was published before, oldest first; repeatable", exists=True, dir_okay=False),
        ] = None,
        json: Json = False,
    ) -> None:
        """Say what is wrong with a rulebook: FILE:line:column. Needs no server. Exit code 1 when it cannot be published."""
        raise typer.Exit(_check(file, against or [], json))

    @rulebook.command("preview")
    def preview(
        file: File,
        url: Url = None,
        key: Key = None,
        data: Data = None,
        json: Json = False,
    ) -> None:
        """Show what history would become under a rulebook: counts moved from code to code, verdicts and findings. No effect."""
        raise typer.Exit(_preview(file, url, key, data, json))

    @rulebook.command("publish")
    def publish(
        file: File,
        url: Url = None,
        key: Key = None,
        data: Data = None,
        after: Annotated[
            int | None, typer.Option(min=0, help="publish only as the version after this one (0: as the first)")
        ] = None,
        json: Json = False,
    ) -> None:
        """Publish a rulebook as the next version. The same content again changes nothing; if another was published meanwhile,
        nothing is."""
        raise typer.Exit(_publish(file, url, key, data, after, json))


def _check(file: Path, against: Sequence[Path], as_json: bool) -> int:
    from services.classification.rulebook_file import read

    language = _language()
    history: list[tuple[int, Rulebook]] = []
    for version, older in enumerate(against, start=1):
        before = read(older.read_bytes(), history)
        if before.book is None:
            for item in before.errors:
                _out(item.line(str(older), language))
            return 1
        history.append((version, before.book))
    reading = read(file.read_bytes(), history)
    if as_json:
        found = [item.problem(language) for item in reading.found]
        _out(
            orjson.dumps(
                {"file": str(file), "sound": reading.sound, "defects": found}, option=orjson.OPT_INDENT_2
            ).decode()
        )
        return 0 if reading.sound else 1
    for item in reading.found:
        _out(item.line(str(file), language))
    if reading.sound and reading.book is not None:
        _note(_say("sound", file=file, motives=len(reading.book.motives), causes=len(reading.book.causes)))
        return 0
    _note(_say("defects", file=file, count=len(reading.errors)))
    return 1


def _preview(file: Path, url: str | None, key: str | None, data: Path | None, as_json: bool) -> int:
    from libs.events.log import LogUnavailable
    from libs.service.run import REFUSALS
    from libs.service.settings import BadSettings
    from services.classification.cli_preview import NoHistory

    checked = _check_silently(file)
    if checked:
        return checked
    if url is not None and not key:
        _note(_say("key"))
        return 2
    try:
        return asyncio.run(_show(file, url, key, data, as_json))
    except (NoHistory, LogUnavailable) as nothing:
        _note(_say("not-shown", detail=str(nothing)))
    except (BadSettings, OSError) as error:
        _note(str(error))
    except REFUSALS as error:
        _note(_say("in-use", reason=str(error)))
    return 1


async def _show(file: Path, url: str | None, key: str | None, data: Path | None, as_json: bool) -> int:
    from libs.service.beside import running
    from libs.service.settings import Settings, load

    if url is not None:
        return await _show_from(file, url, key, data, as_json)
    async with running(load(Settings, data=data), "lazo rulebook", ["classification:read"]) as place:
        url, key = place or (None, None)
        return await _show_from(file, url, key, data, as_json)


async def _show_from(file: Path, url: str | None, key: str | None, data: Path | None, as_json: bool) -> int:
    import httpx

    from services.classification.cli_preview import lines, preview_here

    language = _language()
    if url is not None:
        try:
            async with _server(url, key, timeout=None) as (client, _):
                answer = await client.post(
                    "/classification/v1/rulebook/preview",
                    content=file.read_bytes(),
                    headers={"content-type": "application/yaml", "accept-language": language},
                )
        except httpx.HTTPError as error:
            _note(_say("away", url=url, detail=str(error) or type(error).__name__))
            return 1
        report = _body(answer)
        if answer.status_code >= 400:
            _defects(file, report)
            _note(_say("not-shown", detail=f"{report.get('title', '')} {report.get('detail', '')}".strip()))
            return 1
    else:
        found_report, found = await preview_here(file.read_bytes(), data, language)
        for item in found:
            _out(item.line(str(file), language))
        if found_report is None:
            _note(_say("defects", file=file, count=sum(not item.defect.warning for item in found)))
            return 1
        report = found_report
    if as_json:
        _out(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in lines(report, language):
            _out(line)
    return 0


def _publish(file: Path, url: str | None, key: str | None, data: Path | None, after: int | None, as_json: bool) -> int:
    from libs.service.run import REFUSALS
    from libs.service.settings import BadSettings

    checked = _check_silently(file)
    if checked:
        return checked
    if url is not None and not key:
        _note(_say("key"))
        return 2
    try:
        return asyncio.run(_send(file, url, key, data, after, as_json))
    except (BadSettings, OSError) as error:
        _note(str(error))
    except REFUSALS as error:
        _note(_say("in-use", reason=str(error)))
    return 1


def _check_silently(file: Path) -> int:
    """Defects that need no server are told in the file's own lines, before anything is opened."""
    from services.classification.rulebook_file import read

    reading = read(file.read_bytes())
    if reading.sound:
        return 0
    for item in reading.found:
        _out(item.line(str(file), _language()))
    _note(_say("defects", file=file, count=len(reading.errors)))
    return 1


async def _send(
    file: Path, url: str | None, key: str | None, data: Path | None, after: int | None, as_json: bool
) -> int:
    import httpx

    try:
        async with _served(url, key, data) as (client, pending):
            response = await client.post(
                "/classification/v1/rulebook/publish",
                content=file.read_bytes(),
                headers={"content-type": "application/yaml", "accept-language": _language()}
                | ({} if after is None else {"if-match": f'"{after}"'}),
            )
            left = await pending()
    except httpx.HTTPError as error:
        _note(_say("away", url=url, detail=str(error) or type(error).__name__))
        return 1
    body = _body(response)
    if as_json:
        _out(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())
    if response.status_code >= 400:
        _defects(file, body)
        _note(_say("refused", detail=f"{body.get('title', '')} {body.get('detail', '')}".strip()))
        return 1
    if not as_json:
        for warning in body.get("warnings", []):
            _out(f"{file}:{warning['line']}:{warning['column']}: {warning['detail']}")
        _out(_say("published" if response.status_code == 201 else "same", book=body["name"], version=body["version"]))
    if left:
        _note(_say("pending"))
    return 0


def _body(response: Any) -> dict[str, Any]:
    try:
        body: dict[str, Any] = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = {"detail": f"HTTP {response.status_code}"}
    return body


def _defects(file: Path, body: Mapping[str, Any]) -> None:
    for defect in body.get("errors", []):
        if "line" in defect:
            _out(f"{file}:{defect['line']}:{defect['column']}: {defect['detail']}")


@asynccontextmanager
async def _server(url: str, key: str | None, timeout: float | None = 60) -> AsyncIterator[tuple[Any, Any]]:
    import httpx

    async def nothing() -> int:
        return 0

    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=timeout) as client:
        yield client, nothing


@asynccontextmanager
async def _served(
    url: str | None, key: str | None, data: Path | None, timeout: float | None = 60
) -> AsyncIterator[tuple[Any, Any]]:
    """The server at `url`; without one the Lazo that has the data directory open; else classification in this process."""
    from libs.service.beside import running
    from libs.service.settings import Settings, load

    if url is not None:
        async with _server(url, key, timeout) as found:
            yield found
        return
    async with (
        running(load(Settings, data=data), "lazo rulebook", ["classification:write"]) as place,
        _server(*place, timeout) if place is not None else _own(data) as found,
    ):
        yield found


@asynccontextmanager
async def _own(data: Path | None) -> AsyncIterator[tuple[Any, Any]]:
    """Classification in this process, on the data directory or on the engines the environment names."""
    import httpx

    from libs.service import keys
    from libs.service.environment import Environment
    from libs.service.run import started
    from libs.service.settings import Settings, load
    from services.classification.__main__ import build

    environment = await Environment.open(load(Settings, data=data, access_log=False))
    try:
        async with started(environment, {"classification": build}) as services:
            service = services["classification"]
            scopes = ["classification:write"]
            async with (
                keys.temporary(environment.vault, "lazo rulebook", scopes, seconds=3600) as key,
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(service.app),
                    base_url="http://classification.invalid",
                    headers={"authorization": f"Bearer {key}"},
                    timeout=60,
                ) as client,
            ):

                async def pending() -> int:
                    end = asyncio.get_running_loop().time() + 10
                    while True:
                        left = (await service.runtime.status()).pending
                        if not left or asyncio.get_running_loop().time() > end:
                            return left
                        await asyncio.sleep(0.05)

                yield client, pending
    finally:
        await environment.close()

"""`lazo rulebook`: check a rulebook without any server, or publish it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

TEXTS: dict[str, tuple[str, str]] = {
    "sound": (
        "{file}: sin defectos ({motives} motivos, {causes} causas)",
        "{file}: no defects ({motives} motives, {causes} causes)",
    ),
    "defects": ("{file}: {count} defectos", "{file}: {count} defects"),
    "published": ("{book}: versión {version} publicada", "{book}: version {version} published"),
    "same": (
        "{book}: es igual a la versión {version}; nada cambia",
        "{book}: same as version {version}; nothing changes",
    ),
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
    def check(file: File, json: Json = False) -> None:
        """Say what is wrong with a rulebook: FILE:line:column. Needs no server. Exit code 1 when it cannot be published."""
        raise typer.Exit(_check(file, json))

    @rulebook.command("publish")
    def publish(
        file: File,
        url: Annotated[
            str | None,
            typer.Option(envvar="LAZO_URL", help="a running server; otherwise this machine's data directory"),
        ] = None,
        key: Annotated[str | None, typer.Option(envvar="LAZO_KEY", help="API key for --url")] = None,
        data: Annotated[Path | None, typer.Option(envvar="LAZO_DATA", help="data directory (embedded)")] = None,
        json: Json = False,
    ) -> None:
        """Publish a rulebook as the next version. The same content again changes nothing."""
        raise typer.Exit(_publish(file, url, key, data, json))


def _check(file: Path, as_json: bool) -> int:
    from services.classification.rulebook_file import read

    reading = read(file.read_bytes())
    language = _language()
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


def _publish(file: Path, url: str | None, key: str | None, data: Path | None, as_json: bool) -> int:
    from libs.service.run import REFUSALS
    from libs.service.settings import BadSettings

    checked = _check_silently(file)
    if checked:
        return checked
    if url is not None and not key:
        _note(_say("key"))
        return 2
    try:
        return asyncio.run(_send(file, url, key, data, as_json))
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


async def _send(file: Path, url: str | None, key: str | None, data: Path | None, as_json: bool) -> int:
    import httpx

    try:
        async with _server(url, key) if url is not None else _own(data) as (client, pending):
            response = await client.post(
                "/classification/v1/rulebook/publish",
                content=file.read_bytes(),
                headers={"content-type": "application/yaml", "accept-language": _language()},
            )
            left = await pending()
    except httpx.HTTPError as error:
        _note(_say("away", url=url, detail=str(error) or type(error).__name__))
        return 1
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = {"detail": f"HTTP {response.status_code}"}
    if as_json:
        _out(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())
    if response.status_code >= 400:
        for defect in body.get("errors", []):
            if "line" in defect:
                _out(f"{file}:{defect['line']}:{defect['column']}: {defect['detail']}")
        _note(_say("refused", detail=f"{body.get('title', '')} {body.get('detail', '')}".strip()))
        return 1
    if not as_json:
        for warning in body.get("warnings", []):
            _out(f"{file}:{warning['line']}:{warning['column']}: {warning['detail']}")
        _out(_say("published" if response.status_code == 201 else "same", book=body["name"], version=body["version"]))
    if left:
        _note(_say("pending"))
    return 0


@asynccontextmanager
async def _server(url: str, key: str | None) -> AsyncIterator[tuple[Any, Any]]:
    import httpx

    async def nothing() -> int:
        return 0

    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=60) as client:
        yield client, nothing


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

"""What an import talks to: a running server, or intake built in this process on a data directory that nobody has open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson

if TYPE_CHECKING:
    from libs.service.settings import Settings

PATIENCE = 120.0  # seconds a server may be away before the run ends; running it again goes on where it ended
_TIMEOUT = httpx.Timeout(60, connect=10)


class ImportStopped(Exception):
    """The run cannot go on; the text says why and what to do. Running it again enters nothing twice."""


@dataclass(slots=True)
class Target:
    """Intake, over HTTP or inside this process; the same paths either way."""

    client: httpx.AsyncClient
    where: str
    settle: Callable[[], Any] | None = None

    async def send(self, elements: Sequence[Mapping[str, Any]], effects: str) -> list[dict[str, Any]]:
        """The results of one batch, in order. Waits while the server cannot; raises ImportStopped when it will not."""
        body = b"\n".join(map(orjson.dumps, elements))
        headers = {"content-type": "application/x-ndjson"}
        response = await self._patiently(
            lambda: self.client.post(
                "/intake/v1/interactions", params={"effects": effects}, content=body, headers=headers
            )
        )
        if response.status_code == 413 and len(elements) > 1:
            half = len(elements) // 2
            return [*await self.send(elements[:half], effects), *await self.send(elements[half:], effects)]
        if response.status_code not in {202, 422} or "results" not in response.json():
            raise ImportStopped(_said(response))
        found: list[dict[str, Any]] = response.json()["results"]
        return found

    async def ensure_source(self, identity: str, wanted: Mapping[str, Any]) -> bool:
        """Register the source when it is not there; whether it was registered now."""
        response = await self._patiently(lambda: self.client.get(f"/intake/v1/sources/{identity}"))
        if response.status_code in {200, 403}:  # without intake:read the answers to the rows will tell
            return False
        if response.status_code != 404:
            raise ImportStopped(_said(response))
        response = await self._patiently(
            lambda: self.client.post("/intake/v1/sources", json={"id": identity, **wanted})
        )
        if response.status_code == 403:
            raise ImportStopped(
                f"the source {identity} is not registered and this key may not register it: use a key with intake:admin once"
            )
        if response.status_code == 409:  # somebody else was quicker
            return False
        if response.status_code != 201:
            raise ImportStopped(_said(response))
        return True

    async def _patiently(self, call: Callable[[], Any]) -> httpx.Response:
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + PATIENCE, 0.5
        while True:
            try:
                response: httpx.Response = await call()
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if response.status_code not in {429, 502, 503, 504}:
                    return response
                reason = _said(response)
                pause = max(pause, min(10.0, _retry_after(response)))
            if loop.time() + pause > end:
                raise ImportStopped(f"{self.where} does not take anything: {reason}; run the same command again later")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "0")
    return float(value) if value.isdigit() else 0.0


def _said(response: httpx.Response) -> str:
    try:
        document = response.json()
        detail = document.get("detail") or document.get("title") or ""
    except (ValueError, AttributeError):
        detail = response.text[:200]
    return f"{response.status_code} {detail}".strip()


@contextlib.asynccontextmanager
async def server(url: str, key: str | None) -> AsyncIterator[Target]:
    """A running server."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=_TIMEOUT) as client:
        yield Target(client, url)


_A_WEEK = 7 * 24 * 3600  # seconds: an import takes as long as it takes


@contextlib.asynccontextmanager
async def target_of(url: str | None, key: str | None, data: Path | None) -> AsyncIterator[Target]:
    """The server at `url`; without one the Lazo that has the data directory open; else intake in this process.

    Raises DirectoryInUse when another process has the directory open and serves nothing.
    """
    from libs.service.beside import running
    from libs.service.settings import Settings, load

    if url is not None:
        async with server(url, key) as target:
            yield target
        return
    settings = load(Settings, data=data, access_log=False)
    async with (
        running(settings, "lazo import", ["intake:admin"], seconds=_A_WEEK) as found,
        server(*found) if found is not None else own(settings) as target,
    ):
        yield target


@contextlib.asynccontextmanager
async def own(settings: "Settings") -> AsyncIterator[Target]:
    """Intake in this process, on the data directory or on the engines the environment names.

    Raises DirectoryInUse when another process has the directory open.
    """
    from libs.service import keys
    from libs.service.environment import Environment
    from libs.service.run import started
    from services.intake.__main__ import build

    environment = await Environment.open(settings)
    try:
        async with started(environment, {"intake": build}) as services:
            service = services["intake"]
            scopes = ["intake:admin"]
            async with (
                keys.temporary(environment.vault, "lazo import", scopes, seconds=_A_WEEK) as key,
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(service.app),
                    base_url="http://intake.invalid",
                    headers={"authorization": f"Bearer {key}"},
                    timeout=_TIMEOUT,
                ) as client,
            ):

                async def settle() -> int:
                    end = asyncio.get_running_loop().time() + PATIENCE
                    while True:
                        pending = (await service.runtime.status()).pending
                        if not pending or asyncio.get_running_loop().time() > end:
                            return pending
                        await asyncio.sleep(0.05)

                yield Target(client, str(settings.data), settle)
    finally:
        await environment.close()

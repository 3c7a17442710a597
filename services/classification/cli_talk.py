"""What commands that speak to classification share: the server or this machine's own, what it answered, what went wrong in words."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from services.classification.cli import _language

TEXTS: dict[str, tuple[str, str]] = {
    # key: (es, en)
    "refused": ("no se pudo: {detail}", "refused: {detail}"),
    "key": ("falta --key (o LAZO_KEY)", "--key (or LAZO_KEY) is missing"),
    "away": ("{url} no responde: {detail}", "{url} does not answer: {detail}"),
    "in-use": (
        "{reason}. Con el servidor en marcha: --url http://127.0.0.1:8000 --key lz_…",
        "{reason}. With the server running: --url http://127.0.0.1:8000 --key lz_…",
    ),
}


class Refused(Exception):
    """The server said no, or a file cannot be read; its text says why."""


def in_words(texts: dict[str, tuple[str, str]], name: str, **values: Any) -> str:
    """A command's sentence in the reader's language."""
    es, en = texts[name]
    return (es if _language() == "es" else en).format(**values)


def carried_out(work: Callable[[], Coroutine[Any, Any, int]], url: str | None, key: str | None) -> int:
    """The command's exit code: 2 without a key for the server, 1 when it was refused or nobody answers; the reason goes to
    standard error."""
    import httpx

    from libs.service.run import REFUSALS
    from libs.service.settings import BadSettings

    if url is not None and not key:
        sys.stderr.write(in_words(TEXTS, "key") + "\n")
        return 2
    try:
        return asyncio.run(work())
    except httpx.HTTPError as error:
        sys.stderr.write(in_words(TEXTS, "away", url=url, detail=str(error) or type(error).__name__) + "\n")
    except Refused as refused:
        sys.stderr.write(in_words(TEXTS, "refused", detail=str(refused)) + "\n")
    except (BadSettings, OSError) as error:
        sys.stderr.write(f"{error}\n")
    except REFUSALS as error:
        sys.stderr.write(in_words(TEXTS, "in-use", reason=str(error)) + "\n")
    return 1


async def call(
    client: Any,
    method: str,
    path: str,
    body: Any = None,
    told: Callable[[list[dict[str, Any]]], None] = lambda errors: None,
) -> dict[str, Any]:
    """What classification answered. `told` hears of the single errors first. Raises Refused."""
    headers = {"accept-language": _language()}
    answer = await client.request(method, f"/classification/v1{path}", json=body, headers=headers)
    try:
        said: dict[str, Any] = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        said = {"detail": f"HTTP {answer.status_code}"}
    if answer.status_code >= 400:
        told(said.get("errors", []))
        raise Refused(f"{said.get('title', '')} {said.get('detail', '')}".strip())
    return said

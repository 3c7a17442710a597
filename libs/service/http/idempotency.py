"""`Idempotency-Key`: the same request sent again gets the first answer, which is kept in the transaction of its effect.

async with idempotent(request, principal, store) as once:
    if once.stored is not None:
        return once.stored
    async with store.unit() as unit:
        …
        response = JSONResponse(…)
        await once.keep(unit.connection, response)
    return response
"""

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from fastapi import Request
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from libs.events.store import Store
from libs.service.http.problems import FieldError, Problem, Words
from libs.service.keys import Principal

HEADER = "Idempotency-Key"
PURPOSE = "idempotency"
PURGE_EVERY = timedelta(hours=1)
_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")
_KEPT_HEADERS = ("location", "content-language", "etag", "link")

_running: set[tuple[int, str, str]] = set()
_purged: WeakKeyDictionary[Store, datetime] = WeakKeyDictionary()


def idempotency_key(request: Request) -> str | None:
    """The key in the header, bare or as a quoted string; Problem 400 when it is neither."""
    raw = request.headers.get(HEADER)
    if raw is None:
        return None
    key = raw.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.match(key):
        detail = Words(
            f"{HEADER}: 1 to 255 visible ASCII characters, a UUID for instance",
            f"{HEADER}: de 1 a 255 caracteres ASCII visibles, por ejemplo un UUID",
        )
        raise Problem(400, "bad-request", detail, (FieldError("/headers/idempotency-key", "bad-key", detail),))
    return key


class Once:
    """One request under its key. `stored`: the answer it already got."""

    def __init__(self, store: Store, principal: str, key: str | None, request_hash: bytes, keep_for: timedelta) -> None:
        self._store, self._principal, self._key, self._hash, self._keep_for = (
            store,
            principal,
            key,
            request_hash,
            keep_for,
        )
        self.stored: Response | None = None

    async def keep(self, connection: AsyncConnection, response: Response) -> Response:
        """Keep the answer in the effect's transaction. Problem 409, and no effect, when another process was first."""
        if self._key is None:
            return response
        table, now = self._store.tables.idempotency, self._store.clock.now()
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        seal = self._store.vault.seal_bytes
        row = {
            "principal": self._principal,
            "key": self._key,
            "request_hash": self._hash,
            "status": response.status_code,
            "content_type": response.headers.get("content-type", "application/json"),
            "headers": await seal(PURPOSE, orjson.dumps(headers)),
            "body": await seal(PURPOSE, bytes(response.body)),
            "created_at": now,
        }
        try:
            await connection.execute(insert(table), [row])
        except IntegrityError:
            raise _still_running() from None
        if now - _purged.get(self._store, datetime.min.replace(tzinfo=now.tzinfo)) > PURGE_EVERY:
            _purged[self._store] = now
            await connection.execute(delete(table).where(table.c.created_at < now - self._keep_for))
        return response

    async def look(self) -> None:
        """Read the stored answer, if there is one. Problem 422 when the key was used for another request."""
        table = self._store.tables.idempotency
        async with self._store.reading() as connection:
            found = await connection.execute(
                select(table).where(table.c.principal == self._principal, table.c.key == self._key)
            )
            row: Any = found.one_or_none()
        if row is None or self._store.clock.now() - row.created_at > self._keep_for:
            return
        if bytes(row.request_hash) != self._hash:
            raise Problem(
                422,
                "idempotency-mismatch",
                Words(
                    f"this {HEADER} came with another request before; take a new one",
                    f"esta {HEADER} ya vino con otra solicitud; tome una nueva",
                ),
            )
        unseal = self._store.vault.open_bytes
        headers = orjson.loads(await unseal(PURPOSE, bytes(row.headers))) if row.headers is not None else {}
        headers["Idempotency-Replayed"] = "true"
        body = await unseal(PURPOSE, bytes(row.body))
        self.stored = Response(body, row.status, headers, row.content_type)


def _still_running() -> Problem:
    return Problem(
        409,
        "still-running",
        Words(
            "the same request is being carried out; ask again in a second",
            "la misma solicitud está en curso; pregunte de nuevo en un segundo",
        ),
        headers={"Retry-After": "1"},
    )


@asynccontextmanager
async def idempotent(request: Request, principal: Principal, store: Store) -> AsyncIterator[Once]:
    """Without the header nothing is looked up and `keep` does nothing. Problems 400, 409, 422."""
    key = idempotency_key(request)
    keep_for = timedelta(hours=request.app.state.environment.settings.idempotency_hours)
    who = principal.key_id or principal.name
    if key is None:
        yield Once(store, who, None, b"", keep_for)
        return
    body = hashlib.blake2b(await request.body(), digest_size=32).hexdigest()
    target = f"{request.method} {request.url.path}?{request.url.query}"
    once = Once(store, who, key, store.vault.hash("idempotency", target, body), keep_for)
    mark = (id(store), who, key)
    if mark in _running:
        raise _still_running()
    _running.add(mark)
    try:
        await once.look()
        yield once
    finally:
        _running.discard(mark)

"""Bearer tokens of a configured issuer (RFC 9068): algorithm from an allow-list, issuer, audience and expiry checked."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import structlog
from jwt import PyJWK, PyJWKSet

from libs.events.clock import Clock
from libs.service.keys import BadToken, Principal
from libs.service.settings import Settings
from libs.service.words import Words

log = structlog.get_logger("lazo.jwt")

REFRESH_SECONDS = 300.0
AT_MOST_EVERY = 15.0  # an unknown key id makes us look again, but a flood of them must not reach the issuer
LEEWAY_SECONDS = 30


class Tokens:
    """Validates tokens; the issuer's keys come from a file or a URL and are fetched again when they rotate."""

    def __init__(self, settings: Settings, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        assert settings.jwt_issuer is not None
        assert settings.jwt_jwks is not None
        self._issuer, self._audience, self._where = settings.jwt_issuer, settings.jwt_audience, settings.jwt_jwks
        self._algorithms = list(settings.jwt_algorithms)
        self._clock, self._monotonic = clock, monotonic
        self._keys: dict[str | None, PyJWK] = {}
        self._read: float | None = None
        self._lock = asyncio.Lock()

    async def principal(self, token: str) -> Principal:
        """Who the token speaks for. Raises BadToken."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise BadToken(Words("this is no JSON Web Token", "esto no es un JSON Web Token")) from None
        if header.get("alg") not in self._algorithms:
            raise BadToken(
                Words("the token's algorithm is not accepted here", "aquí no se acepta el algoritmo del token")
            )
        if str(header.get("typ", "JWT")).lower() not in {"at+jwt", "application/at+jwt", "jwt"}:
            raise BadToken(Words("this token is not meant for access", "este token no es de acceso"))
        key = await self._key(header.get("kid"))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                # Expiry is judged by the clock that was handed in, below.
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            name = type(error).__name__
            raise BadToken(Words(f"the token is not acceptable: {name}", f"el token no es aceptable: {name}")) from None
        now = self._clock.now().timestamp()
        try:
            if now >= float(claims["exp"]) + LEEWAY_SECONDS:
                raise BadToken(Words("the token has expired", "el token venció"))
            if now < float(claims.get("nbf", 0)) - LEEWAY_SECONDS:
                raise BadToken(Words("the token is not valid yet", "el token aún no es válido"))
        except (TypeError, ValueError) as error:
            raise (
                error
                if isinstance(error, BadToken)
                else BadToken(Words("exp and nbf must be numbers", "exp y nbf deben ser números"))
            ) from None
        granted = claims.get("scope", claims.get("scp", ()))
        scopes = granted.split() if isinstance(granted, str) else [str(scope) for scope in granted or ()]
        return Principal(str(claims.get("client_id") or claims["sub"]), frozenset(scopes))

    async def _key(self, kid: str | None) -> PyJWK:
        now = self._monotonic()
        stale = self._read is None or now - self._read > REFRESH_SECONDS
        unknown = kid not in self._keys and (self._read is None or now - self._read > AT_MOST_EVERY)
        if stale or unknown:
            async with self._lock:
                if self._read is None or self._monotonic() - self._read > AT_MOST_EVERY:
                    await self._refresh()
        key = self._keys.get(kid)
        if key is None:
            raise BadToken(Words("the issuer has no such key", "el emisor no tiene esa llave"))
        return key

    async def _refresh(self) -> None:
        self._read = self._monotonic()
        try:
            if self._where.startswith(("http://", "https://")):
                async with httpx.AsyncClient(timeout=5, follow_redirects=False) as client:
                    answer = await client.get(self._where)
                    answer.raise_for_status()
                    document = answer.json()
            else:
                document = json.loads(await asyncio.to_thread(Path(self._where).read_text))
            keys = PyJWKSet.from_dict(document).keys
        except (httpx.HTTPError, OSError, ValueError, jwt.PyJWTError) as error:
            # The keys we have go on counting: an issuer that is away must not lock everybody out.
            log.warning("jwks.unreadable", error=type(error).__name__)
            return
        self._keys = {key.key_id: key for key in keys if key.public_key_use in {None, "sig"}}
        if len(keys) == 1:
            self._keys.setdefault(None, keys[0])

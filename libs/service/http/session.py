"""The console's session: an API key is exchanged for a signed cookie, and forms carry a token that only our pages know.

The cookie names the key, so that revoking the key ends the session; HttpOnly, SameSite=Strict, Secure behind https.
"""

import hmac
import secrets
from datetime import timedelta

from fastapi import Request
from starlette.responses import Response

from libs.events.clock import SystemClock
from libs.service.http.problems import Problem, Words
from libs.service.http.signing import BadSignature, sign, unsign
from libs.service.keys import Principal

COOKIE = "lazo_session"
LIFE = timedelta(hours=12)
# A browser keeps its cookie by the machine's time; while the demo plays a year in minutes, twelve hours of the year's are half a second.
_CLOCK = SystemClock()
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def start_session(request: Request, response: Response, principal: Principal) -> None:
    """Put the cookie on the answer to a successful sign-in."""
    environment = request.app.state.environment
    expires = _CLOCK.now() + LIFE
    value = [principal.key_id, int(expires.timestamp()), secrets.token_urlsafe(12)]
    secure = request.url.scheme == "https" or (environment.settings.public_url or "").startswith("https://")
    response.set_cookie(
        COOKIE,
        sign(environment.signing_key, "session", value),
        max_age=int(LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=secure,
        path="/",
    )


def end_session(response: Response) -> None:
    """Take the cookie back."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


async def sign_in(request: Request, key: str) -> Principal:
    """Who holds the key that was typed in. Problem 401 when nobody does."""
    principal: Principal | None = await request.app.state.environment.keyring.principal(key.strip())
    if principal is None:
        raise Problem(
            401,
            "unauthenticated",
            Words("this key is not known, or was revoked", "esta llave no se conoce o fue revocada"),
        )
    return principal


async def from_cookie(request: Request) -> Principal | None:
    """The session's holder; None without a valid cookie."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    environment = request.app.state.environment
    try:
        key_id, expires, _ = unsign(environment.signing_key, "session", cookie)
    except (BadSignature, TypeError, ValueError):
        return None
    if _CLOCK.now().timestamp() >= expires:
        return None
    principal: Principal | None = await environment.keyring.holder(key_id)
    return principal


def csrf_token(request: Request) -> str:
    """What forms (field `csrf`) and scripts (header `X-CSRF-Token`) of this session must send with every change."""
    return sign(request.app.state.environment.signing_key, "csrf " + request.cookies.get(COOKIE, ""), 1)


def check_csrf(request: Request, token: str | None) -> None:
    """Problem 403 unless the token is this session's. `require` does it for headers; form posts call it themselves."""
    if not token or not hmac.compare_digest(token.encode(), csrf_token(request).encode()):
        raise Problem(403, "csrf", Words("load the page again and repeat", "cargue la página otra vez y repita"))

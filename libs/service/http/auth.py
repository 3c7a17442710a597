"""Who may call: API keys and tokens as `Authorization: Bearer`, sessions of the console as a cookie."""

from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from libs.service.http.problems import Problem, Words
from libs.service.http.session import SAFE_METHODS, check_csrf, from_cookie
from libs.service.http.strict_json import check_body
from libs.service.keys import PREFIX, BadToken, Principal

if TYPE_CHECKING:
    from libs.service.environment import Environment

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="lazo"'}


async def authenticate(request: Request) -> Principal:
    """Who is calling. Problem 401 when that cannot be said."""
    environment: Environment = request.app.state.environment
    header = request.headers.get("authorization")
    principal: Principal | None = None
    if header:
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem(
                401,
                "unauthenticated",
                Words(
                    "send the key as `Authorization: Bearer lz_…`", "envíe la llave como `Authorization: Bearer lz_…`"
                ),
                headers=_CHALLENGE,
            )
        credentials = credentials.strip()
        if credentials.startswith(PREFIX) or environment.tokens is None:
            principal = await environment.keyring.principal(credentials)
            if principal is None:
                raise Problem(
                    401,
                    "unauthenticated",
                    Words(
                        "this key is not known, was revoked or has expired",
                        "esta llave no se conoce, fue revocada o venció",
                    ),
                    headers=_CHALLENGE,
                )
        else:
            try:
                principal = await environment.tokens.principal(credentials)
            except BadToken as error:
                raise Problem(401, "unauthenticated", error.words, headers=_CHALLENGE) from None
    else:
        principal = await from_cookie(request)
        if principal is None:
            raise Problem(
                401,
                "unauthenticated",
                Words(
                    "send a key as `Authorization: Bearer lz_…` (lazo keys create)",
                    "envíe una llave como `Authorization: Bearer lz_…` (lazo keys create)",
                ),
                headers=_CHALLENGE,
            )
        if request.method not in SAFE_METHODS:
            check_csrf(request, request.headers.get("x-csrf-token"))
    request.state.principal = principal.name
    return principal


class require(SecurityBase):  # noqa: N801  # reads as a verb where it is used: Depends(require("intake:write"))
    """Dependency: the caller, who must hold `scope` (`admin` covers `write` covers `read`). Problems 401 and 403."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.model = HTTPBearer(description="an API key (`lz_…`) or a token of the configured issuer")
        self.scheme_name = "key"

    async def __call__(self, request: Request) -> Principal:
        principal = await authenticate(request)
        if not principal.may(self.scope):
            raise Problem(
                403,
                "forbidden",
                Words(f"this needs the scope {self.scope}", f"se necesita el alcance {self.scope}"),
                extra={"scope": self.scope},
            )
        if request.method not in SAFE_METHODS:
            await check_body(request)  # a dependency of its own would cost 15 µs a request
        return principal

"""Who may call what: keys by scope, tokens of an issuer, sessions of the console; refused ones are told 401 or 403."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import APIRouter, Form, Request
from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from libs.events.clock import SimulatedClock
from libs.events.engines import reading
from libs.events.vault_tables import api_keys
from libs.service import keys
from libs.service.environment import Environment
from libs.service.http import check_csrf, csrf_token, end_session, session, sign_in, start_session
from libs.service.keys import BadScope, Keyring, NoSuchKey, Principal
from libs.service.service import Service
from libs.service.testing import Running, running
from tests.service.toy import app as toy_app

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


async def build(environment: Environment) -> Service:
    """The toy with a sign-in, as the console has one."""
    service = await toy_app.build(environment)
    router = APIRouter(prefix="/toy")

    @router.post("/sign-in")
    async def enter(request: Request, key: str = Form()) -> Response:
        response = JSONResponse({"ok": True})
        start_session(request, response, await sign_in(request, key))
        return response

    @router.get("/csrf")
    async def token(request: Request) -> str:
        return csrf_token(request)

    @router.post("/form")
    async def form(request: Request, csrf: str = Form("")) -> str:
        check_csrf(request, csrf)
        return "done"

    @router.post("/sign-out")
    async def leave() -> Response:
        response = JSONResponse({"ok": True})
        end_session(response)
        return response

    service.app.include_router(router)
    return service


@pytest.fixture
async def toy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    # `running` finds name and migrations beside the builder's file.
    monkeypatch.setattr("libs.service.testing.name_of", lambda _: "toy")
    for module in ("run", "testing"):
        monkeypatch.setattr(
            f"libs.service.{module}.migrations_of", lambda _: Path(__file__).parent / "toy" / "migrations"
        )
    async with running(build, clock=SimulatedClock(NOW), keys_cache=0.0) as found:
        yield found


GET_THINGS, POST_THINGS, ADMIN = ("GET", "/toy/v1/things"), ("POST", "/toy/v1/things"), ("GET", "/toy/v1/admin")

MATRIX = [
    # scopes of the key                      intake:read  intake:write  feedback:admin
    (["intake:read"], 200, 403, 403),
    (["intake:write"], 200, 201, 403),
    (["intake:admin"], 200, 201, 403),
    (["feedback:admin"], 403, 403, 200),
    (["feedback:write"], 403, 403, 403),
    (["*:read"], 200, 403, 403),
    (["*:write"], 200, 201, 403),
    (["*:admin"], 200, 201, 200),
    (["indicators:read", "classification:admin"], 403, 403, 403),
    (["intake:read", "feedback:admin"], 200, 403, 200),
]


@pytest.mark.parametrize(("scopes", "read", "write", "admin"), MATRIX, ids=str)
async def test_a_key_may_do_what_its_scopes_say(
    toy: Running, scopes: list[str], read: int, write: int, admin: int
) -> None:
    headers = await toy.key_for(*scopes)
    for (method, path), expected in ((GET_THINGS, read), (POST_THINGS, write), (ADMIN, admin)):
        answer = await toy.client.request(
            method, path, headers=headers, json={"name": "x"} if method == "POST" else None
        )
        assert answer.status_code == expected, (path, answer.text)
        if expected == 403:
            assert answer.json()["scope"] in answer.json()["detail"]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer lz_",
        "Bearer lz_abcd_efgh",
        "Basic bHo6bHo=",
        "lz_abcd",
        "Bearer " + "x" * 9000,
        "Bearer ñ",
    ],
)
async def test_without_a_key_that_is_known_it_is_401(toy: Running, header: str | None) -> None:
    toy.client.headers.pop("authorization")
    headers = {} if header is None else {"Authorization": header.encode()}
    answer = await toy.client.get("/toy/v1/things", headers=headers)  # type: ignore[arg-type]  # bytes are fine at run time
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_revoked_key_is_refused_and_an_expired_one_too(toy: Running) -> None:
    vault = toy.environment.vault
    key = await keys.create(vault, "short", ["intake:read"], expires=NOW + timedelta(hours=1))
    headers = {"Authorization": f"Bearer {key}"}
    assert (await toy.client.get("/toy/v1/things", headers=headers)).status_code == 200
    assert await keys.revoke(vault, "short") == 1
    assert (await toy.client.get("/toy/v1/things", headers=headers)).status_code == 401
    with pytest.raises(NoSuchKey):
        await keys.revoke(vault, "short")
    key = await keys.create(vault, "short", ["intake:read"], expires=NOW + timedelta(hours=1))
    clock = toy.environment.clock
    assert isinstance(clock, SimulatedClock)
    clock.advance(timedelta(hours=1))
    answer = await toy.client.get("/toy/v1/things", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401


async def test_a_revoked_key_is_refused_everywhere_within_the_cache_life(toy: Running) -> None:
    seconds = 0.0
    ring = Keyring(toy.environment.vault, 10.0, lambda: seconds)
    key = await keys.create(toy.environment.vault, "cached", ["intake:read"])
    assert await ring.principal(key) is not None
    await keys.revoke(toy.environment.vault, key)
    assert await ring.principal(key) is not None
    for second in range(10):  # asking again and again must not keep it alive
        seconds = float(second)
        await ring.principal(key)
    seconds = 10.0
    assert await ring.principal(key) is None


async def test_the_vault_keeps_a_hash_and_never_the_key(toy: Running) -> None:
    key = await keys.create(toy.environment.vault, "n", ["intake:read"])
    async with reading(toy.environment.vault.engine) as connection:
        rows = str((await connection.execute(select(api_keys))).all())
    assert key not in rows
    assert key.split("_")[2] not in rows


async def test_a_key_of_a_source_says_so(toy: Running) -> None:
    key = await keys.create(toy.environment.vault, "crm's", ["intake:write"], source="crm")
    assert (await toy.environment.keyring.principal(key) or Principal("", frozenset())).source == "crm"


@pytest.mark.parametrize("scopes", [[], ["intake"], ["intake:delete"], ["intak:read"], [":read"], ["intake:read "]])
async def test_a_scope_that_nobody_knows_is_refused(toy: Running, scopes: list[str]) -> None:
    with pytest.raises(BadScope):
        await keys.create(toy.environment.vault, "n", scopes)


async def test_a_temporary_key_leaves_nothing(toy: Running) -> None:
    before = len(await keys.listed(toy.environment.vault))
    async with keys.temporary(toy.environment.vault, "status", ["intake:read"]) as key:
        assert await toy.environment.keyring.principal(key) is not None
    assert len(await keys.listed(toy.environment.vault)) == before


# -- sessions --------------------------------------------------------------------------------------------------------------


async def _signed_in(toy: Running, *scopes: str) -> None:
    key = await keys.create(toy.environment.vault, "console", scopes)
    toy.client.headers.pop("authorization")
    answer = await toy.client.post("/toy/sign-in", data={"key": f" {key}\n"})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert key not in cookie


async def test_a_session_may_do_what_its_key_may(toy: Running) -> None:
    await _signed_in(toy, "intake:write")
    assert (await toy.client.get("/toy/v1/things")).status_code == 200
    assert (await toy.client.get("/toy/v1/admin")).status_code == 403
    token = (await toy.client.get("/toy/csrf")).json()
    answer = await toy.client.post("/toy/v1/things", json={"name": "x"}, headers={"X-CSRF-Token": token})
    assert answer.status_code == 201
    assert (await toy.client.post("/toy/form", data={"csrf": token})).status_code == 200
    await toy.client.post("/toy/sign-out")
    assert (await toy.client.get("/toy/v1/things")).status_code == 401


@pytest.mark.parametrize("token", [None, "", "x", "ñ"])
async def test_a_session_cannot_be_made_to_write_by_another_site(toy: Running, token: str | None) -> None:
    await _signed_in(toy, "intake:write")
    headers: Any = {} if token is None else {"X-CSRF-Token": token.encode()}
    answer = await toy.client.post("/toy/v1/things", json={"name": "x"}, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["code"] == "csrf"


async def test_one_sessions_token_does_not_serve_another(toy: Running) -> None:
    await _signed_in(toy, "intake:write")
    token = (await toy.client.get("/toy/csrf")).json()
    toy.client.cookies.clear()
    key = await keys.create(toy.environment.vault, "other", ["intake:write"])
    await toy.client.post("/toy/sign-in", data={"key": key})
    answer = await toy.client.post("/toy/v1/things", json={"name": "x"}, headers={"X-CSRF-Token": token})
    assert answer.status_code == 403


async def test_a_session_ends_with_its_key_and_with_time(toy: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(datetime.now(UTC))
    monkeypatch.setattr(session, "_CLOCK", clock)
    await _signed_in(toy, "intake:read")
    await keys.revoke(toy.environment.vault, "console")
    assert (await toy.client.get("/toy/v1/things")).status_code == 401
    key = await keys.create(toy.environment.vault, "again", ["intake:read"])
    answer = await toy.client.post("/toy/sign-in", data={"key": key})
    value = httpx.Cookies(answer.cookies)["lazo_session"]
    for hours, status in ((11, 200), (2, 401)):
        clock.advance(timedelta(hours=hours))
        toy.client.cookies.clear()
        headers = {"Cookie": f"lazo_session={value}"}
        assert (await toy.client.get("/toy/v1/things", headers=headers)).status_code == status


async def test_whoever_signed_in_stays_so_while_the_demonstration_plays_its_year(toy: Running) -> None:
    await _signed_in(toy, "intake:read")
    clock = toy.environment.clock
    assert isinstance(clock, SimulatedClock)
    clock.advance(timedelta(days=365))
    assert (await toy.client.get("/toy/v1/things")).status_code == 200


async def test_a_cookie_that_was_made_up_is_nobody(toy: Running) -> None:
    await _signed_in(toy, "intake:read")
    value = toy.client.cookies["lazo_session"]
    for forged in (value[:-3] + "AAA", "A" * 50, "x" * 5000, value[4:]):
        toy.client.cookies.clear()
        answer = await toy.client.get("/toy/v1/things", headers={"Cookie": f"lazo_session={forged}"})
        assert answer.status_code == 401


async def test_a_wrong_key_does_not_sign_in(toy: Running) -> None:
    answer = await toy.client.post("/toy/sign-in", data={"key": "lz_nope"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


# -- tokens of an issuer ---------------------------------------------------------------------------------------------------

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ISSUER, AUDIENCE = "https://id.example.com", "lazo"


def _jwks(path: Path, **named: Any) -> None:
    found = []
    for kid, key in named.items():
        algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        found.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"})
    path.write_text(json.dumps({"keys": found}))


def _token(
    key: Any = RSA, *, kid: str | None = "one", algorithm: str = "RS256", typ: str = "at+jwt", **claims: Any
) -> str:
    now = int(NOW.timestamp())
    standard = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "robot",
        "exp": now + 300,
        "iat": now,
        "scope": "intake:read openid",
    }
    payload = {name: value for name, value in (standard | claims).items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"kid": kid, "typ": typ} if kid else {"typ": typ})


@pytest.fixture
async def issued(tmp_path: Path) -> AsyncIterator[Running]:
    _jwks(tmp_path / "jwks.json", one=RSA, two=EC)
    settings: dict[str, Any] = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks": str(tmp_path / "jwks.json")}
    async with running(toy_app.build, clock=SimulatedClock(NOW), **settings) as found:
        yield found


async def _try(issued: Running, token: str, language: str = "en") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": language}
    return await issued.client.get("/toy/v1/things", headers=headers)


async def test_a_token_of_the_issuer_does_as_well_as_a_key(issued: Running) -> None:
    assert (await _try(issued, _token())).status_code == 200
    assert (await _try(issued, _token(EC, kid="two", algorithm="ES256"))).status_code == 200
    assert (await _try(issued, _token(scope=None, scp=["intake:admin"]))).status_code == 200
    assert (await _try(issued, _token(scope="feedback:read"))).status_code == 403
    assert (await issued.client.get("/toy/v1/things")).status_code == 200


BAD_TOKENS = {
    "expired": {"exp": int(NOW.timestamp()) - 31},
    "without expiry": {"exp": None},
    "not yet valid": {"nbf": int(NOW.timestamp()) + 60},
    "of another issuer": {"iss": "https://evil.example.com"},
    "for another audience": {"aud": "shop"},
    "without subject": {"sub": None},
    "of a kind that is no access token": {"typ": "logout+jwt"},
    "of an unknown key": {"kid": "three"},
    "signed by a stranger": {"key": rsa.generate_private_key(65537, 2048)},
    "signed with the public key as a secret": {"key": "a secret of thirty-two bytes here", "algorithm": "HS256"},
    "with an unreadable expiry": {"exp": "soon"},
}


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
@pytest.mark.parametrize("case", BAD_TOKENS, ids=lambda case: case.replace(" ", "-"))
async def test_a_token_is_refused_when_it_is(issued: Running, case: str) -> None:
    answer = await _try(issued, _token(**BAD_TOKENS[case]))  # type: ignore[arg-type]  # parameters by case
    assert answer.status_code == 401, case
    spanish = await _try(issued, _token(**BAD_TOKENS[case]), "es")  # type: ignore[arg-type]  # parameters by case
    assert spanish.json()["title"] == "Se necesita una llave"
    assert spanish.json()["detail"] not in {"", answer.json()["detail"]}


@pytest.mark.parametrize("token", ["a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x", "eyJ" * 3000])
async def test_what_is_no_token_is_refused(issued: Running, token: str) -> None:
    assert (await _try(issued, token)).status_code == 401


async def test_an_unsigned_token_is_refused(issued: Running) -> None:
    unsigned = jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "exp": 9999999999}, "", "none")
    assert (await _try(issued, unsigned)).status_code == 401


async def test_keys_that_rotate_are_found_and_an_issuer_that_is_away_locks_nobody_out(tmp_path: Path) -> None:
    from libs.service.http.jwt import Tokens
    from libs.service.keys import BadToken
    from libs.service.settings import Settings, load

    path, seconds = tmp_path / "jwks.json", 0.0
    _jwks(path, one=RSA)
    settings = load(Settings, data=tmp_path, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=str(path))
    tokens = Tokens(settings, SimulatedClock(NOW), monotonic=lambda: seconds)
    assert (await tokens.principal(_token())).name == "robot"
    _jwks(path, two=EC)
    seconds = 5.0
    with pytest.raises(BadToken):  # looked a moment ago
        await tokens.principal(_token(EC, kid="two", algorithm="ES256"))
    seconds = 20.0
    await tokens.principal(_token(EC, kid="two", algorithm="ES256"))
    with pytest.raises(BadToken):
        await tokens.principal(_token())
    path.unlink()
    seconds = 1000.0
    await tokens.principal(_token(EC, kid="two", algorithm="ES256"))

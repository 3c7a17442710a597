"""Routes of the console. Pages read this service's own model; commands go from the browser to the public APIs."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from libs.service.http.app import negotiate
from libs.service.http.problems import Problem, Words, said
from libs.service.http.session import check_csrf, csrf_token, end_session, from_cookie, sign_in, start_session
from libs.service.keys import Principal
from services.indicators.api.reads import Reads
from services.indicators.console import findings, numbers, records
from services.indicators.console.assets import Assets
from services.indicators.console.render import Voice, page
from services.indicators.console.shared import Visit
from services.indicators.settings import zone_of

console = APIRouter(include_in_schema=False)
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_READS = "indicators:read"


def _voice(request: Request) -> Voice:
    desk: Reads = request.app.state.reads
    return Voice(negotiate(request), zone_of(desk.settings.time_zone))


async def _respond(
    request: Request,
    template: str,
    voice: Voice,
    values: dict[str, Any],
    *,
    principal: Principal | None,
    status: int = 200,
) -> Response:
    assets: Assets = request.app.state.assets
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    common: dict[str, Any] = {
        "asset": assets.url,
        "principal": principal,
        "path": request.url.path,
        "here": here,
        "csrf": csrf_token(request) if principal is not None else "",
        "vega": "",
        "other": {"es": "en", "en": "es"}[voice.language],
    }
    if values.get("charts"):
        name, _ = await assets.vega()
        common["vega"] = f"/static/vega/{name}"
    text = page(template, voice, common | values)
    headers = {"Content-Language": voice.language, "Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"}
    return HTMLResponse(text, status, headers)


async def _visit(request: Request) -> Visit | Response:
    """Whoever is signed in and may read; else the page that says what to do."""
    principal = await from_cookie(request)
    if principal is None:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse("/login" if here == "/" else f"/login?{urlencode({'next': here})}", 303)
    voice = _voice(request)
    if not principal.may(_READS):
        values = {"title": voice.t("forbidden.title"), "text": voice.t("forbidden.text", scope=_READS)}
        return await _respond(request, "message.html", voice, values, principal=principal, status=403)
    return Visit(request, principal, voice, request.app.state.reads)


async def _show(request: Request, template: str, build: Any, **values: Any) -> Response:
    """A page for whoever is signed in; `build(visit, **values)` gives its contents. Problems become pages too."""
    visit = await _visit(request)
    if isinstance(visit, Response):
        return visit
    try:
        found = await build(visit, **values)
    except Problem as problem:
        title = visit.voice.t("missing.title" if problem.status == 404 else "wrong.title")
        shown = {"title": title, "text": said(problem.detail, "es" if visit.voice.language == "es" else "en")}
        return await _respond(
            request, "message.html", visit.voice, shown, principal=visit.principal, status=problem.status
        )
    return await _respond(request, template, visit.voice, found, principal=visit.principal)


@console.get("/")
async def overview(request: Request) -> Response:
    return await _show(request, "overview.html", numbers.overview)


@console.get("/numbers/{code}")
async def number(request: Request, code: str) -> Response:
    return await _show(request, "number.html", numbers.number, code=code)


@console.get("/numbers/{code}/events")
async def behind(request: Request, code: str) -> Response:
    return await _show(request, "events.html", numbers.behind, code=code)


@console.get("/causes")
async def causes(request: Request) -> Response:
    return await _show(request, "causes.html", numbers.causes)


@console.get("/contacts")
async def contacts(request: Request) -> Response:
    return await _show(request, "contacts.html", records.contacts)


@console.get("/findings")
async def finding_list(request: Request) -> Response:
    return await _show(request, "findings.html", findings.finding_list)


@console.get("/findings/{finding_id}")
async def finding(request: Request, finding_id: str) -> Response:
    return await _show(request, "finding.html", findings.one_finding, finding_id=finding_id)


@console.get("/chains")
async def chains(request: Request) -> Response:
    return await _show(request, "chains.html", findings.chains)


@console.get("/customers")
async def customers(request: Request) -> Response:
    asked = request.query_params.get("id", "").strip()
    if asked:
        return RedirectResponse(
            f"/customers/{asked}" if asked.replace("_", "").replace("-", "").isalnum() else "/customers", 303
        )
    return await _show(request, "customers.html", records.customers)


@console.get("/customers/{customer_id}")
async def customer(request: Request, customer_id: str) -> Response:
    return await _show(request, "timeline.html", records.customer, customer_id=customer_id)


@console.get("/cases/{case_id}")
async def case(request: Request, case_id: str) -> Response:
    return await _show(request, "timeline.html", records.case, case_id=case_id)


@console.get("/review")
async def review(request: Request) -> Response:
    return await _show(request, "review.html", records.review)


@console.get("/models")
async def models(request: Request) -> Response:
    return await _show(request, "models.html", records.models)


@console.get("/quarantine")
async def quarantine(request: Request) -> Response:
    return await _show(request, "quarantine.html", records.quarantine)


def _local(target: str | None) -> str:
    """Only pages of our own: `//elsewhere` and `https://elsewhere` lead to the overview."""
    parts = urlsplit(target or "/")
    fine = not parts.scheme and not parts.netloc and parts.path.startswith("/") and "\\" not in (target or "")
    return (target or "/") if fine and not parts.path.startswith(("//", "/login")) else "/"


@console.get("/login")
async def login_page(request: Request) -> Response:
    return await _login(request, _local(request.query_params.get("next")))


async def _login(request: Request, target: str, error: str = "", status: int = 200) -> Response:
    values = {"target": target, "error": error}
    return await _respond(request, "login.html", _voice(request), values, principal=None, status=status)


async def _form(request: Request) -> dict[str, str]:
    body = await request.body()
    if len(body) > 10_000:
        raise Problem(413, "too-large", Words("this form has two fields", "este formulario tiene dos campos"))
    try:
        return {
            name: values[0]
            for name, values in parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20).items()
        }
    except ValueError:
        raise Problem(400, "", Words("this is no form", "esto no es un formulario")) from None


@console.post("/login")
async def login(request: Request) -> Response:
    form = await _form(request)
    target = _local(form.get("next"))
    try:
        principal = await sign_in(request, form.get("key", ""))
    except Problem:
        return await _login(request, target, _voice(request).t("login.wrong"), 401)
    response = RedirectResponse(target, 303)
    start_session(request, response, principal)
    return response


@console.post("/logout")
async def logout(request: Request) -> Response:
    form = await _form(request)
    check_csrf(request, form.get("csrf"))
    response = RedirectResponse("/login", 303)
    end_session(response)
    return response


@console.get("/language/{language}")
async def language(request: Request, language: str) -> Response:
    """Remember the reader's language and go back."""
    if language not in {"es", "en"}:
        raise Problem(404)
    response = RedirectResponse(_local(request.query_params.get("next")), 303)
    response.set_cookie("lazo_lang", language, max_age=365 * 86_400, samesite="lax", path="/")
    return response


@console.get("/static/vega/{name}")
async def vega(request: Request, name: str) -> Response:
    assets: Assets = request.app.state.assets
    known, body = await assets.vega()
    if name != known:
        raise Problem(404)
    return Response(body, headers=FOREVER, media_type="text/javascript; charset=utf-8")


@console.get("/static/{digest}/{name}")
async def static(request: Request, digest: str, name: str) -> Response:
    """Own files. A page of an older version asks with an older hash and gets today's file, not kept."""
    assets: Assets = request.app.state.assets
    found = assets.file(name)
    if found is None:
        raise Problem(404)
    headers = FOREVER if digest == assets.hash else {"Cache-Control": "no-store"}
    return Response(found[0], headers=headers, media_type=found[1])


@console.get("/favicon.ico")
async def icon(request: Request) -> Response:
    assets: Assets = request.app.state.assets
    return RedirectResponse(assets.url("lazo.svg"), 307)

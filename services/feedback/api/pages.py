"""The customer's page. GET shows and records nothing (mail scanners open links); POST records the answer once."""

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from starlette.responses import Response

from libs.events.errors import ConcurrencyConflict
from libs.service.http import negotiate
from services.feedback import views
from services.feedback.api.context import Context
from services.feedback.desk import Task
from services.feedback.domain.refusals import Refused
from services.feedback.domain.requests import Answer
from services.feedback.pagetexts import TEXTS
from services.feedback.tokens import LENGTH, token_hash

FOLDER = Path(__file__).parents[1]
HELPED = ("better", "same", "worse")
LONGEST = 4_000  # characters of a comment; a form of that size is far below the body limit
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address is the key to the page
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}

Language = Literal["es", "en"]


class Pages:
    """Renders the page in its states: question, thanks, already received, over, unknown."""

    def __init__(self, context: Context) -> None:
        self._context = context
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(FOLDER / "templates"), undefined=StrictUndefined, autoescape=True
        )
        self._template = environment.get_template("page.html")

    def render(self, state: str, language: Language, status: int, request: Request, **more: Any) -> Response:
        values = {
            "state": state,
            "language": language,
            "other": "en" if language == "es" else "es",
            "t": TEXTS[language],
            "path": request.url.path,
            "organisation": self._context.organisation,
            "given": {},
            "errors": {},
            "longest": LONGEST,
        } | more
        page = self._template.render(values)
        return Response(page, status, HEADERS | {"Content-Language": language}, "text/html; charset=utf-8")

    async def find(self, token: str) -> dict[str, Any] | None:
        if len(token) != LENGTH:
            return None
        async with self._context.store.reading() as connection:
            return await views.request_by_token(connection, token_hash(self._context.vault, token))

    def language(self, request: Request, row: dict[str, Any] | None, asked: str | None = None) -> Language:
        """As asked for on the page, else the language the customer was written in, else the browser's."""
        for choice in (asked, request.query_params.get("lang"), row["language"] if row else None):
            if choice in {"es", "en"}:
                return "es" if choice == "es" else "en"
        return negotiate(request)

    async def show(self, request: Request, token: str) -> Response:
        row = await self.find(token)
        language = self.language(request, row)
        if row is None:
            return self.render("unknown", language, 404, request)
        if row["answered_at"] is not None:
            return self.render("already", language, 200, request)
        if self._over(row):
            return self.render("over", language, 410, request)
        return self.render("question", language, 200, request, given=self._preselected(request))

    async def take(self, request: Request, token: str) -> Response:
        row = await self.find(token)
        # An answer has five fields; more parts are no form of ours.
        async with request.form(max_files=0, max_fields=10, max_part_size=64 * 1024) as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
        language = self.language(request, row, fields.get("lang"))
        if row is None:
            return self.render("unknown", language, 404, request)
        given, errors = read_form(fields, language)
        now = self._context.clock.now()
        if row["answered_at"] is not None:
            return self.render("already", language, 200, request)
        if self._over(row):
            return self.render("over", language, 410, request)
        if errors:
            return self.render("question", language, 422, request, given=given, errors=errors)
        answer = Answer(
            row["request_id"],
            now,
            score=given["score"],
            helped=given["helped"],
            comment=given["comment"],
            need=given["need"],
        )
        try:
            refusals = await self._context.do([Task(row["case_id"], answer)])
        except ConcurrencyConflict:
            return self.render(
                "question", language, 409, request, given=given, errors={"": TEXTS[language]["error_busy"]}
            )
        return self._outcome(refusals.get(0), language, request, given)

    def _outcome(
        self, refused: Refused | None, language: Language, request: Request, given: dict[str, Any]
    ) -> Response:
        if refused is None:
            return self.render("thanks", language, 200, request)
        if refused.invalid:
            return self.render("question", language, 422, request, given=given, errors={"": refused.text(language)})
        return self.render("over", language, 410, request)

    def _over(self, row: dict[str, Any]) -> bool:
        end = row["expires_at"]
        return row["expired_at"] is not None or (end is not None and self._context.clock.now() > end)

    @staticmethod
    def _preselected(request: Request) -> dict[str, Any]:
        """A message may link to `?score=4`: the choice is shown, and recorded only when it is sent."""
        score = request.query_params.get("score", "")
        return {"score": int(score)} if score in {"1", "2", "3", "4", "5"} else {}


def read_form(fields: dict[str, str], language: Language) -> tuple[dict[str, Any], dict[str, str]]:
    """The answer in a form, and what is wrong with it by field ("" for the whole)."""
    texts = TEXTS[language]
    errors: dict[str, str] = {}
    given: dict[str, Any] = {"score": None, "helped": None, "comment": None, "need": None}
    score = fields.get("score", "").strip()
    if score in {"1", "2", "3", "4", "5"}:
        given["score"] = int(score)
    elif score:
        errors["score"] = texts["error_score"]
    helped = fields.get("helped", "").strip()
    if helped in HELPED:
        given["helped"] = helped
    elif helped:
        errors["helped"] = texts["error_helped"]
    for name in ("comment", "need"):
        text = fields.get(name, "").replace("\x00", "").replace("\r\n", "\n").strip()
        given[name] = text or None
        if len(text) > LONGEST:
            errors[name] = texts["error_long"]
    if not errors and not any(given.values()):
        errors[""] = texts["error_empty"]
    return given, errors


def pages_router(context: Context) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    pages = Pages(context)
    style = (FOLDER / "static" / "page.css").read_bytes()

    @router.get("/feedback/s/{token}", response_model=None)
    async def show(request: Request, token: str) -> Response:
        return await pages.show(request, token)

    @router.post("/feedback/s/{token}", response_model=None)
    async def take(request: Request, token: str) -> Response:
        return await pages.take(request, token)

    @router.get("/feedback/static/page.css", response_model=None)
    async def css() -> Response:
        return Response(style, headers={"Cache-Control": "public, max-age=3600"}, media_type="text/css; charset=utf-8")

    return router

"""Lists page by cursor: opaque, signed, bound to the list and its filters, stable while rows are added."""

import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi import Query, Request

from libs.service.http.problems import FieldError, Problem, Words
from libs.service.http.signing import BadSignature, sign, unsign

_OWN = {"cursor", "limit"}


def _purpose(request: Request) -> str:
    filters = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _OWN)
    digest = hashlib.blake2b(repr(filters).encode(), digest_size=8).hexdigest()
    return f"cursor {request.url.path} {digest}"


def encode_cursor(request: Request, position: Any) -> str:
    """A cursor that continues after `position` (JSON: the sort values of the last row shown)."""
    return sign(request.app.state.environment.signing_key, _purpose(request), position)


def decode_cursor(request: Request, cursor: str | None) -> Any:
    """The position in a cursor; None without one. Problem 400 when it is not ours or belongs to another list or filter."""
    if cursor is None:
        return None
    try:
        return unsign(request.app.state.environment.signing_key, _purpose(request), cursor)
    except BadSignature:
        detail = Words(
            "the cursor belongs to another list or to other filters; begin without it",
            "el cursor es de otra lista o de otros filtros; empiece sin él",
        )
        raise Problem(400, "bad-cursor", detail, (FieldError("/cursor", "bad-cursor", detail),)) from None


@dataclass(frozen=True, slots=True)
class Paging:
    """What a list was asked for: `limit` rows after `position` (None: from the start)."""

    request: Request
    limit: int
    position: Any

    def page(self, items: list[Any], position_of_last: Any) -> dict[str, Any]:
        """The answer, from up to `limit + 1` items read: the extra one only tells that there is more.

        `position_of_last`: the sort values of the last item shown, or a function of that item.
        """
        more = len(items) > self.limit
        shown = items[: self.limit]
        if not more or not shown:
            return page(shown)
        position = position_of_last(shown[-1]) if callable(position_of_last) else position_of_last
        return page(shown, encode_cursor(self.request, position))


def paging(
    request: Request,
    limit: int = Query(50, ge=1, le=500, description="rows per page"),
    cursor: str | None = Query(None, max_length=4096, description="`next` of the page before"),
) -> Paging:
    """Dependency: `Depends(paging)`."""
    return Paging(request, limit, decode_cursor(request, cursor))


def page(items: list[Any], next: str | None = None) -> dict[str, Any]:
    """One page: `{items, next}`; `next` is null on the last."""
    return {"items": items, "next": next}

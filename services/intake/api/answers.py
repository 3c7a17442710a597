"""One answer per element: 202 when at least one was kept or known, 422 as a problem document when none was."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from libs.service.http.app import negotiate
from libs.service.http.problems import MEDIA_TYPE, Language, Words, register_titles
from services.intake.acceptance import Result
from services.intake.domain.faults import TITLES, Fault, problem, sentence

register_titles({name: (english, spanish) for name, (spanish, english) in TITLES.items()})
_SHOWN = 100  # faults listed at the top of an all-bad answer; each result has all of its own


def words_of(fault: Fault) -> Words:
    """The fault's sentence, in whichever language will be asked for."""
    return Words(sentence(fault.code, "en", fault.values), sentence(fault.code, "es", fault.values))


def answer(results: Sequence[Result], *, single: bool, request: Request) -> Response:
    """The response for a request's elements. Pointers lead from the body: `/3/customer/email` in a batch."""
    if len(results) == 1 and results[0].status == "accepted":
        # Ids are UUIDs: nothing in them needs escaping.
        body = (
            b'{"accepted":1,"duplicates":0,"rejected":0,"results":[{"index":0,"id":"%b","status":"accepted"}]}'
            % (results[0].id or "").encode()
        )
        return Response(body, 202, media_type="application/json")
    return Response(*_document(results, single, negotiate(request)))


def _document(results: Sequence[Result], single: bool, language: Language) -> tuple[bytes, int, dict[str, str], str]:
    counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
    listed: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    for index, result in enumerate(results):
        counts[result.status] += 1
        entry: dict[str, Any] = {"index": index, "id": result.id, "status": result.status}
        if result.faults:
            faults = result.faults if single else tuple(fault.at(f"/{index}") for fault in result.faults)
            name, status = ("different-content", 409) if result.status == "duplicate" else ("refused", 422)
            entry["problem"] = problem(name, status, language, faults)
            if result.status == "rejected" and len(errors) < _SHOWN:
                errors += entry["problem"]["errors"]
        listed.append(entry)
    document: dict[str, Any] = {
        "accepted": counts["accepted"],
        "duplicates": counts["duplicate"],
        "rejected": counts["rejected"],
        "results": listed,
    }
    headers: dict[str, str] = {"Content-Language": language}
    if counts["rejected"] == len(results):
        head = problem("all-refused", 422, language, ())
        head["detail"] = errors[0]["detail"]
        head["errors"] = errors[:_SHOWN]
        return orjson.dumps(head | document), 422, headers, MEDIA_TYPE
    return orjson.dumps(document), 202, headers, "application/json"

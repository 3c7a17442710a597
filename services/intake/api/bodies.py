"""Request bodies as elements: one object, an array, NDJSON, or CloudEvents in any of their three forms."""

import asyncio
import re
from dataclasses import dataclass

from fastapi import Request

from libs.events.cloudevent import BATCH, InvalidCloudEvent
from libs.service.http.problems import FieldError, Problem, Words
from services.intake.api.answers import words_of
from services.intake.cloudevents import from_events
from services.intake.domain.faults import Fault, Refused
from services.intake.domain.reading import Form, Read, array, lines, one, parts, value, without_bom

_NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
# What is wrong with a body as a whole is a 400: it will never be read, in whatever state we are.
_UNREADABLE = {"invalid-json": "bad-json", "invalid-utf8": "bad-encoding", "empty-body": "empty-body"}
# Above this a body of many elements is read in pieces, so that others are served in between; 16 kB are some 50 lines, 2 ms.
_PIECE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Elements:
    """What a body held. `single`: it was one element, so pointers have no index."""

    reads: list[Read]
    single: bool


async def elements_of(request: Request, form: Form, most: int) -> Elements:
    """The elements of a body; Problem 400, 413 or 415 when it cannot be taken apart."""
    body = await request.body()
    # Read once as bytes: `request.headers` looks through all of them, decoding, at every question (3 µs each).
    headers = dict(request.scope["headers"])
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    if content_type == "application/json" and body[:1] == b"{" and b"ce-specversion" not in headers:
        read = one(body, form)  # what nearly every request is
        if not isinstance(read, Refused):
            return Elements([read], single=True)
    kind = content_type.partition(";")[0].strip().lower()
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise Problem(
            415,
            "unsupported-media-type",
            Words(
                "send UTF-8; `lazo import` reads files in other encodings",
                "envíe UTF-8; `lazo import` lee archivos en otras codificaciones",
            ),
        )
    if b"ce-specversion" in headers or kind.startswith("application/cloudevents"):
        return _limited(_events(request, body, form), most)
    if not body or body.isspace():
        raise _unreadable(Fault("", "empty-body"))
    body = without_bom(body)
    if kind in _NDJSON:
        return _limited(Elements(await _lines(body, form), single=False), most)
    if kind not in {"", "application/json", "text/json"} and not kind.endswith("+json"):
        raise Problem(
            415,
            "unsupported-media-type",
            Words(
                "send application/json, application/x-ndjson, or a CloudEvent (application/cloudevents+json)",
                "envíe application/json, application/x-ndjson o un CloudEvent (application/cloudevents+json)",
            ),
        )
    if body.lstrip()[:1] == b"[":
        try:
            return _limited(Elements(await _array(body, form), single=False), most)
        except Refused as refusal:
            raise _unreadable(refusal.faults[0]) from None
    read = one(body, form)
    if isinstance(read, Refused) and read.faults[0].code in _UNREADABLE and not read.faults[0].pointer:
        raise _unreadable(read.faults[0])
    return Elements([read], single=True)


async def _lines(body: bytes, form: Form) -> list[Read]:
    if len(body) <= _PIECE:
        return lines(body, form)
    reads: list[Read] = []
    start = 0
    while start < len(body):
        end = body.find(b"\n", min(start + _PIECE, len(body)))
        end = len(body) if end < 0 else end + 1
        reads += lines(body[start:end], form)
        start = end
        await asyncio.sleep(0)
    return reads


async def _array(body: bytes, form: Form) -> list[Read]:
    if len(body) > _PIECE:
        reads: list[Read] = []
        for part in parts(body, _PIECE):
            if part is None:
                break
            reads += lines(part, form)
            await asyncio.sleep(0)
        else:
            return reads
    return array(body, form)


def _events(request: Request, body: bytes, form: Form) -> Elements:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        found = from_events(request.headers, without_bom(body))
    except InvalidCloudEvent as error:
        fault = Fault("", "unreadable-event", {"reason": str(error)})
        raise _unreadable(fault) from None
    reads = [event if isinstance(event, Refused) else value(event, form) for event in found]
    return Elements(reads, single=kind != BATCH)


def _limited(elements: Elements, most: int) -> Elements:
    if not elements.reads:
        detail = Words("there is no element in the body", "en el cuerpo no hay ningún elemento")
        raise Problem(400, "empty-body", detail, (FieldError("", "empty-body", detail),))
    if len(elements.reads) > most:
        raise Problem(
            413,
            "too-large",
            Words(
                f"a request may have {most} elements; send several",
                f"una solicitud admite {most} elementos; envíe varias",
            ),
            extra={"limit": most},
        )
    return elements


def _unreadable(fault: Fault) -> Problem:
    detail = words_of(fault)
    code = _UNREADABLE.get(fault.code, "bad-request")
    return Problem(400, code, detail, (FieldError(fault.pointer, fault.code, detail),))

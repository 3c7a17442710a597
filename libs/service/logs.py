"""structlog for everything, with what says something about a person taken out on the way."""

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import orjson
import structlog

from libs.events.catalogue import personal_fields, types
from libs.events.clock import SystemClock
from libs.service.settings import Settings

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_KEY = re.compile(r"\blz_[a-z0-9]+_[a-z0-9]+|\blz1\.[\w-]+|\bBearer\s+\S+", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.:-])\+?\d[\d ().-]{7,}\d(?![\w:-])")
_ADDRESS = re.compile(r"^\d{1,3}(\.\d{1,3}){3}$")  # of a machine
_ALWAYS = {
    "password", "secret", "token", "authorization", "cookie", "api_key", "master_key", "body", "customer", "name",
    "document", "address", "payload",
}  # fmt: skip

_names: set[str] = set()
_CLOCK = SystemClock()  # lines of a log are dated by the machine, whatever year the demo is in
_STATE = {"plain": True}


def _personal_names() -> set[str]:
    if not _names:
        _names.update(_ALWAYS, *(personal_fields(model) for model in types().values()))
    return _names


def clean(text: str) -> str:
    """Text without e-mail addresses, phone numbers, keys and tokens."""
    text = _KEY.sub("[key]", text)
    text = _EMAIL.sub("[email]", text)
    return _PHONE.sub(lambda found: found[0] if _ADDRESS.match(found[0]) else "[number]", text)


def _cleaned(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return clean(value) if len(value) > 6 else value
    if isinstance(value, dict):
        return {
            key: "[personal]" if key in _personal_names() else _cleaned(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(inner, depth + 1) for inner in value[:50]]
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    return value


_SAFE = frozenset(
    {"timestamp", "level", "logger", "ms", "status", "request_id", "route", "method", "places", "principal"}
)


def places(trace: TracebackType | None, most: int = 12) -> list[str]:
    """The last frames of a traceback, without any value."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)[-most:]]


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: fields marked personal in the catalogue go, and what looks like a person's address or number."""
    names = _personal_names()
    found = event.pop("exc_info", None)
    if isinstance(found, BaseException):
        found = (type(found), found, found.__traceback__)
    if isinstance(found, tuple) and found[0] is not None:
        # Type and places; the message may quote what a person wrote.
        event["error"], event["places"] = found[0].__name__, places(found[2])
    for key, value in event.items():
        if key in names:
            event[key] = "[personal]"
        elif key not in _SAFE and not isinstance(value, int | float | bool | None):
            event[key] = _cleaned(value)
    return event


def access(**fields: Any) -> None:
    """One line per request. Its fields are the edge's own and hold nothing to redact, so it takes the short way: 3 µs."""
    if _STATE["plain"]:
        structlog.get_logger("lazo.http").info("request", **fields)
        return
    stamp = _CLOCK.now().isoformat()
    sys.stderr.write(orjson.dumps({"event": "request", **fields, "level": "info", "timestamp": stamp}).decode() + "\n")


def configure(settings: Settings) -> None:
    """Set up logging for the process: lines for people on a terminal, JSON elsewhere; on standard error."""
    level = getattr(logging, settings.log_level.upper())
    plain = _STATE["plain"] = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if plain else structlog.processors.JSONRenderer(_json)
    )
    structlog.configure(
        processors=[*shared, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))  # libraries: what is wrong, not what is going on
    logging.getLogger("lazo").setLevel(level)
    logging.getLogger("uvicorn.access").disabled = True

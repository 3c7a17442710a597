"""Which failures pass by themselves, and which come again however often one tries."""

import sqlite3
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from libs.events.catalogue import UnknownVersion, personal_fields
from libs.events.catalogue.base import EventData
from libs.events.log import LogError


class Transient(Exception):
    """A failure that passes: back off and do the same again. It never reaches the quarantine."""


class StoreUnavailable(Transient):
    """The store could not commit (database away, disk full, too slow). Nothing half-written; trying again is safe."""


class StoreBusy(StoreUnavailable):
    """More is queued for the store than it may hold. Nothing was taken; come back in a second."""


class NewerVersion(Transient):
    """An event of a version this deployment does not know yet; the one that knows it is on its way."""


class Zombie(Transient):
    """Another owner of the partition went ahead: what this one did was rolled back."""


class ConcurrencyConflict(Exception):
    """The stream is not at the version that was expected; read it again and decide again."""

    def __init__(self, stream: str, expected: int | None, found: int | None) -> None:
        super().__init__(f"{stream}: expected version {expected}, found {found}")
        self.stream, self.expected, self.found = stream, expected, found


class Unsealable(ValueError):
    """A personal field without a person whose key could seal it. It would have been written in the clear."""


# PostgreSQL: connection (08), rolled back for others' sake (40), out of resources (53), lock not to be had (55P03),
# an operator's intervention, statement timeout among them (57), system errors such as I/O (58), idle in transaction (25P03).
_SQLSTATES = ("08", "40", "53", "55P03", "57", "58", "25P03")
_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_PASSING = (
    Transient,
    UnknownVersion,
    LogError,
    ConnectionError,
    TimeoutError,
    PoolTimeout,
    InterfaceError,
)
# 28: no space left, 122: quota, 5: I/O error.
_ERRNOS = {5, 28, 122}


def is_transient(error: BaseException) -> bool:
    """Whether to back off (True) or to look for the culprit (False)."""
    if isinstance(error, Transient | LogError | ConnectionError | TimeoutError | PoolTimeout | InterfaceError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _driver_says_transient(error.orig)
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    return _driver_says_transient(error)


def sqlstate(error: BaseException | None) -> str | None:
    """PostgreSQL's code of an error, wherever the driver and SQLAlchemy put it."""
    while error is not None:
        code = getattr(error, "sqlstate", None)
        if isinstance(code, str):
            return code
        error = getattr(error, "orig", None) or error.__cause__
    return None


def is_conflict(error: BaseException) -> bool:
    """A transaction that lost against another one (serialization failure, deadlock): at once again, without a pause."""
    return sqlstate(error) in {"40001", "40P01"}


def _driver_says_transient(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and (code & 0xFF) in _SQLITE
    code = sqlstate(error)
    return code is not None and code.startswith(_SQLSTATES)


def describe(error: BaseException, opened: Iterable[EventData] = ()) -> str:
    """The error as tables and logs may keep it: type, place, and the message, unless the message repeats personal text of
    what the handler had opened. A ValidationError is told without the values that were refused."""
    if isinstance(error, ValidationError):
        found = error.errors(include_input=False, include_url=False, include_context=False)
        message = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found)
    else:
        message = str(error)
    if any(_repeats(message, value) for data in opened for value in _personal_values(data)):
        message = "(the message repeats personal text and is withheld)"
    frames = traceback.extract_tb(error.__traceback__)
    place = (
        f" (line {frames[-1].lineno} of {frames[-1].filename.rpartition('/')[2]}, {frames[-1].name})" if frames else ""
    )
    return f"{type(error).__qualname__}: {message}"[:4_000].replace("\x00", "\ufffd") + place


def _personal_values(data: EventData) -> Iterator[str]:
    for name in personal_fields(type(data)):
        yield from _strings(getattr(data, name))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, BaseModel):
        yield from _strings(value.model_dump())


def _repeats(message: str, value: str) -> bool:
    """Whether the message holds the value, or eleven characters of it in a row (windows of eight, every four)."""
    if len(value) < 8:
        return len(value) > 2 and value in message
    return any(value[at : at + 8] in message for at in range(0, len(value) - 7, 4))

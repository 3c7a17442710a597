"""One run over files: rows to elements, elements to intake in batches, refusals to a file beside."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import orjson

from services.intake.importing.readers import Broken, Reader, format_of, values_of
from services.intake.importing.target import Target
from services.intake.mapping import MAIL, Mapper, MappingFile, Row, WrongRow, plain

BATCH = 500
BATCH_BYTES = 2_000_000  # below the server's limit of 8 MB, whatever the texts


@dataclass(slots=True)
class Totals:
    """What became of the rows of one file, or of all."""

    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    different: int = 0  # of the duplicates: known already, with other content
    rejected: int = 0
    skipped: int = 0

    def add(self, other: "Totals") -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(slots=True)
class FileReport:
    """One file's outcome."""

    file: str
    totals: Totals = field(default_factory=Totals)
    rejected_file: str | None = None

    def document(self) -> dict[str, Any]:
        return {"file": self.file, **asdict(self.totals), "rejected_file": self.rejected_file}


Progress = Callable[[Path, int, int, Totals], None]
"""(file, bytes read, bytes in all, totals so far)."""


class Refusals:
    """`FILE.rejected.ndjson`: made at the first refused row, gone when a later run refuses none."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".rejected.ndjson")
        self.path.unlink(missing_ok=True)
        self._file: IO[bytes] | None = None

    def add(self, row: Row | Broken, status: str, errors: Sequence[Mapping[str, str]]) -> None:
        if self._file is None:
            self._file = self.path.open("wb")
        line = {"row": row.number, "line": row.line, "status": status, "errors": errors, "values": values_of(row)}
        self._file.write(_dumps(line) + b"\n")
        # Flushed at once: whoever kills the run still finds the reasons.
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def written(self) -> bool:
        return self._file is not None


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # a lone surrogate, or an integer of more than 64 bits
        return orjson.dumps(_shown(value))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_shown(name): _shown(nested) for name, nested in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(nested) for nested in value]
    return value if isinstance(value, float | bool) or value is None else str(value)


async def import_file(
    path: Path, *, source: str, mapping: MappingFile | None, effects: str, target: Target, progress: Progress
) -> FileReport:
    """Bring one file in. Raises WrongMapping, Unreadable, ImportStopped; what was accepted until then stays accepted."""
    report = FileReport(str(path))
    kind = (mapping.format if mapping else None) or format_of(path)
    encoding = mapping.encoding if mapping else "utf-8"
    refusals = Refusals(path)
    reader = Reader(path, kind, encoding, mapping.csv if mapping else None)
    try:
        with reader:
            elements = _Elements(reader, kind, mapping, source, path)
            batch: list[tuple[Row, dict[str, Any]]] = []
            size = 0
            for row in reader:
                element = elements.of(row, report.totals, refusals)
                if element is not None:
                    assert isinstance(row, Row)
                    batch.append((row, element))
                    size += _size(element)
                if len(batch) >= BATCH or size >= BATCH_BYTES:
                    await _send(batch, effects, target, report.totals, refusals)
                    batch, size = [], 0
                    progress(path, reader.position(), reader.size, report.totals)
            if batch:
                await _send(batch, effects, target, report.totals, refusals)
            progress(path, reader.size, reader.size, report.totals)
    finally:
        refusals.close()
        if refusals.written:
            report.rejected_file = str(refusals.path)
    return report


class _Elements:
    """Rows to elements: by the mapping, or as they are where their members are named like ours."""

    def __init__(self, reader: Reader, kind: str, mapping: MappingFile | None, source: str, path: Path) -> None:
        if mapping is None and kind in {"eml", "mbox"}:
            mapping = MAIL
        if mapping is None and reader.columns is not None:
            mapping = plain(reader.columns)
        self._source = source
        self._flatten = mapping is not None and reader.columns is None
        date = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        self._mapper = None if mapping is None else Mapper(mapping, source, date)
        if self._mapper is not None and reader.columns is not None:
            self._mapper.check(reader.columns)

    def of(self, row: Row | Broken, totals: Totals, refusals: Refusals) -> dict[str, Any] | None:
        """The element, or None for a row that was skipped or refused (both are counted)."""
        totals.rows += 1
        if isinstance(row, Broken):
            totals.rejected += 1
            refusals.add(row, "rejected", [{"pointer": "", "code": "unreadable-row", "detail": row.reason}])
            return None
        if self._mapper is None:
            return {**row.values, "source": row.values.get("source", self._source)}
        if self._flatten:
            row = Row(row.number, row.line, dict(_flat(row.values)))
        if self._mapper.skipped(row):
            totals.skipped += 1
            return None
        try:
            element = self._mapper.element(row)
        except WrongRow as wrong:
            totals.rejected += 1
            error = {"pointer": "", "code": "wrong-row", "detail": wrong.reason}
            refusals.add(row, "rejected", [error | ({"column": wrong.column} if wrong.column is not None else {})])
            return None
        return element


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _size(element: Mapping[str, Any]) -> int:
    return 200 + sum(len(value) * 2 for value in element.values() if isinstance(value, str))


async def _send(
    batch: Sequence[tuple[Row, dict[str, Any]]], effects: str, target: Target, totals: Totals, refusals: Refusals
) -> None:
    ready: list[tuple[Row, dict[str, Any]]] = []
    for row, element in batch:
        try:
            orjson.dumps(element)
        except (TypeError, ValueError) as error:
            totals.rejected += 1
            refusals.add(row, "rejected", [{"pointer": "", "code": "not-json", "detail": str(error)}])
        else:
            ready.append((row, element))
    if not ready:
        return
    results = await target.send([element for _, element in ready], effects)
    for (row, _), result in zip(ready, results, strict=True):
        match result["status"]:
            case "accepted":
                totals.accepted += 1
            case "duplicate":
                totals.duplicates += 1
                if "problem" in result:
                    totals.different += 1
                    refusals.add(row, "duplicate", _unindexed(result))
            case _:
                totals.rejected += 1
                refusals.add(row, "rejected", _unindexed(result))


def _unindexed(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """Pointers into the row instead of into the batch that nobody sees."""
    errors = result.get("problem", {}).get("errors", [])
    prefix = f"/{result['index']}"
    return [{**error, "pointer": error["pointer"].removeprefix(prefix)} for error in errors]


class Lines:
    """Progress as plain lines: at most one every few seconds."""

    def __init__(self, write: Callable[[str], None], every: float = 5.0) -> None:
        self._write, self._every, self._last = write, every, time.monotonic()

    def __call__(self, path: Path, done: int, size: int, totals: Totals) -> None:
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._write(f"{path}: {100 * done // max(size, 1)} % · {totals.rows}")


@contextlib.contextmanager
def bar(console: Any) -> Iterator[Progress]:
    """Progress as a bar, for a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        tasks: dict[Path, Any] = {}

        def step(path: Path, done: int, size: int, totals: Totals) -> None:
            if path not in tasks:
                tasks[path] = shown.add_task(path.name, total=max(size, 1), rows="")
            shown.update(tasks[path], completed=done, rows=str(totals.rows))

        yield step

"""Files as rows, one at a time, whatever their size: CSV, JSON, NDJSON, Parquet, mail."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from services.intake.domain.faults import Refused
from services.intake.domain.reading import blemishes, strict_loads, without_bom
from services.intake.importing.mail import mails
from services.intake.mapping import Csv, Row, WrongRow

# Longer than any text intake takes (100,000): a field beyond it is a quotation mark that nobody closed.
LONGEST_FIELD = 2_000_000
CHUNK = 1 << 16
SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson",
    ".parquet": "parquet", ".pq": "parquet", ".eml": "eml", ".mbox": "mbox",
}  # fmt: skip


class Unreadable(Exception):
    """The file as a whole cannot be read; the text says where and what to do."""


class Broken(Exception):
    """A row that is none: refused with its number, the others go on."""

    def __init__(self, number: int, line: int | None, reason: str, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.number, self.line, self.reason, self.values = number, line, reason, values or {}


def format_of(path: Path) -> str:
    """The format by the file's suffix; raises Unreadable for one that says nothing."""
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise Unreadable(
            f"{path}: the suffix {path.suffix or '(none)'} says no format; known: {known}; or `format:` in a mapping"
        ) from None


class Reader:
    """Rows of one file. `columns` is what a mapping may name; None where each row has its own."""

    def __init__(self, path: Path, kind: str, encoding: str = "utf-8", options: Csv | None = None) -> None:
        self.path, self.kind, self.encoding, self.options = path, kind, encoding, options or Csv()
        self.size = path.stat().st_size
        self._file: BinaryIO | None = None
        self._text: io.TextIOWrapper | None = None
        self.columns: Sequence[str] | None = None
        self._rows: Iterator[Row | Broken] = iter(())

    def __enter__(self) -> Self:
        self._file = self.path.open("rb")
        try:
            match self.kind:
                case "csv":
                    self._rows = self._csv(self._file)
                case "ndjson":
                    self._rows = _ndjson(self._file, self.encoding)
                case "json":
                    encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
                    self._text = io.TextIOWrapper(self._file, encoding=encoding, errors="surrogateescape")
                    self._rows = _json(self._text, self.path)
                case "parquet":
                    self._rows = self._parquet()
                case "eml" | "mbox":
                    self.columns = (
                        "message_id",
                        "date",
                        "from_address",
                        "from_name",
                        "to",
                        "subject",
                        "text",
                        "in_reply_to",
                    )
                    self._rows = _mail(self._file, self.kind)
                case other:
                    raise Unreadable(f"{self.path}: no such format: {other}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._text is not None:
            self._text.close()
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[Row | Broken]:
        return self._rows

    def position(self) -> int:
        """Bytes read so far, for the progress bar."""
        return 0 if self._file is None or self._file.closed else self._file.tell()

    def _csv(self, file: BinaryIO) -> Iterator[Row | Broken]:
        csv.field_size_limit(LONGEST_FIELD)
        # Bytes that are not of the encoding become lone surrogates, so that their row can be named instead of the file.
        encoding = "utf-8-sig" if self.encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else self.encoding
        text = self._text = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=self.options.delimiter, quotechar=self.options.quote, strict=True)
        header = self.options.header
        if header is True:
            try:
                names = next(reader)
            except StopIteration:
                raise Unreadable(f"{self.path}: the file is empty; a header line is expected") from None
            except csv.Error as error:
                raise Unreadable(f"{self.path}: line 1: {error}") from None
        elif header is False:
            raise Unreadable(f"{self.path}: name the columns in the mapping: csv.header: [first, second]")
        else:
            names = list(header)
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise Unreadable(f"{self.path}: the header names {', '.join(map(repr, sorted(twice)))} twice")
        self.columns = names
        return self._csv_rows(reader, names)

    def _csv_rows(self, reader: Any, names: Sequence[str]) -> Iterator[Row | Broken]:
        number = 0
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # What follows cannot be cut into rows any more.
                remedy = "a quotation mark that is not closed? see csv.quote and csv.delimiter in the mapping"
                raise Unreadable(f"{self.path}: row {number + 1}, from line {line}: {error} ({remedy})") from None
            if not values:
                continue
            number += 1
            if len(values) != len(names):
                held = {names[place] if place < len(names) else f"+{place}": text for place, text in enumerate(values)}
                yield Broken(number, line, f"has {len(values)} columns, the header has {len(names)}", held)
                continue
            bad = next((name for name, value in zip(names, values, strict=True) if not _encodable(value)), None)
            if bad is not None:
                yield Broken(
                    number, line, f"column {bad!r} is not {self.encoding}; give the file's `encoding` in a mapping"
                )
                continue
            yield Row(number, line, dict(zip(names, values, strict=True)))

    def _parquet(self) -> Iterator[Row | Broken]:
        try:
            from pyarrow import parquet
        except ImportError:
            raise Unreadable(f"{self.path}: Parquet needs the extra: pip install 'lazo-complaints[parquet]'") from None
        try:
            file = parquet.ParquetFile(self.path)
        except (OSError, ValueError) as error:
            raise Unreadable(f"{self.path}: no Parquet file: {error}") from None
        self.columns = list(file.schema_arrow.names)

        def rows() -> Iterator[Row | Broken]:
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, None, {name: _json_value(value) for name, value in values.items()})
            file.close()

        return rows()


def _encodable(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _row(number: int, line: int | None, raw: bytes) -> Row | Broken:
    try:
        value = strict_loads(raw)
    except Refused as refusal:
        fault = refusal.faults[0]
        return Broken(number, line, fault.entry("en")["detail"])
    return _checked(number, line, value)


def _checked(number: int, line: int | None, value: Any) -> Row | Broken:
    if not isinstance(value, dict):
        return Broken(number, line, "is no JSON object")
    for fault in blemishes(value):
        return Broken(number, line, f"{fault.pointer}: {fault.entry('en')['detail']}")
    return Row(number, line, value)


def _ndjson(file: BinaryIO, encoding: str) -> Iterator[Row | Broken]:
    number = 0
    for line, raw in enumerate(file, start=1):
        raw = without_bom(raw) if line == 1 else raw
        if raw.isspace():
            continue
        number += 1
        yield _row(number, line, _utf8(raw, encoding))


def _utf8(raw: bytes, encoding: str) -> bytes:
    if encoding.lower() in {"utf-8", "utf8"}:
        return raw
    try:
        return raw.decode(encoding).encode()
    except UnicodeDecodeError:
        return raw


def _json(text: IO[str], path: Path) -> Iterator[Row | Broken]:
    """One object, or an array of objects read piece by piece: a file may be larger than memory."""
    buffer = text.read(CHUNK).lstrip()
    if not buffer.startswith("["):
        yield _row(1, 1, (buffer + text.read()).encode("utf-8", "surrogateescape"))
        return
    buffer, number, ended = buffer[1:], 0, False
    while True:
        buffer = buffer.lstrip(" \t\r\n,") if number else buffer.lstrip()
        if buffer.startswith("]"):
            return
        end = _element_end(buffer)
        while end is None and not ended:
            more = text.read(max(CHUNK, len(buffer)))
            ended = not more
            buffer = (buffer + more).lstrip(" \t\r\n,") if number else (buffer + more).lstrip()
            if buffer.startswith("]"):
                return
            end = _element_end(buffer)
        number += 1
        if end is None:
            raise Unreadable(f"{path}: element {number} is cut off: the array does not end")
        yield _row(number, None, buffer[:end].encode("utf-8", "surrogateescape"))
        buffer = buffer[end:]


_DECODER = json.JSONDecoder()


def _element_end(buffer: str) -> int | None:
    """Where the first JSON value of the buffer ends; None when it does not yet."""
    if not buffer:
        return None
    try:
        _, end = _DECODER.raw_decode(buffer)
    except (json.JSONDecodeError, RecursionError):
        return None
    # A number at the very end may go on in the next piece.
    return None if end == len(buffer) and buffer[-1] not in '}]"' else end


def _mail(file: BinaryIO, kind: str) -> Iterator[Row | Broken]:
    for number, (line, message) in enumerate(mails(file, kind), start=1):
        if isinstance(message, str):
            yield Broken(number, line, message)
        else:
            yield Row(number, line, message)


def values_of(row: Row | Broken) -> Mapping[str, Any]:
    """What a refused row held, as JSON can show it."""
    return {
        name: value if isinstance(value, str | int | float | bool | dict | list) or value is None else str(value)
        for name, value in row.values.items()
    }


__all__ = ["Broken", "Reader", "Unreadable", "WrongRow", "format_of", "values_of"]

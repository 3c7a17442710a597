"""CSV files of labelled texts as people have them: any common encoding, any common separator, told in one line when not."""

import codecs
import csv
import hashlib
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TEXT_COLUMNS = ("text", "texto", "narrative", "description", "descripcion")
LABEL_COLUMNS = ("label", "etiqueta", "category", "categoria", "motive", "motivo", "class", "clase")
LARGEST_FIELD = 32 * 2**20
ENCODINGS = ("utf-8", "cp1252", "mac_roman")


class BadFile(Exception):
    """A file that cannot be used. `code` names why; `values` fill the sentence a person reads."""

    def __init__(self, code: str, path: Path, **values: object) -> None:
        super().__init__(f"{path}: {code}")
        self.code, self.values = code, {"path": path, **values}


@dataclass(frozen=True, slots=True)
class Labelled:
    """`texts` and `labels` by row (labels empty where the file has none); `digest` of both; `encoding` it was read in."""

    texts: Sequence[str]
    labels: Sequence[str]
    digest: str
    encoding: str
    unlabelled: int = 0


def read(path: Path, *, labels: bool, encoding: str | None = None) -> Labelled:
    """The file. `labels`: whether a label column is needed; rows with an empty one are then left out and counted."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile("unreadable", path, detail=error.strerror or str(error)) from None
    if not content.strip():
        raise BadFile("empty", path)
    text, used = _decoded(content, path, encoding)
    csv.field_size_limit(LARGEST_FIELD)
    first = text.split("\n", 1)[0]
    separator = max(",;\t|", key=lambda mark: (first.count(mark), mark == ","))
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise BadFile("no_csv", path, detail=error) from None
    rows = [row for row in rows if row]
    if not rows:
        raise BadFile("empty", path)
    header = [name.strip().lower() for name in rows[0]]
    text_at = _column(header, TEXT_COLUMNS)
    label_at = _column(header, LABEL_COLUMNS)
    if text_at is None:
        raise BadFile("no_column", path, column="text", found=", ".join(header[:8])[:200])
    if label_at is None and labels:
        raise BadFile("no_column", path, column="label", found=", ".join(header[:8])[:200])
    body = rows[1:]
    if not body:
        raise BadFile("no_rows", path)
    texts = [_cell(row, text_at) for row in body]
    names = [_cell(row, label_at).strip() for row in body] if label_at is not None else [""] * len(body)
    unlabelled = 0
    if labels:
        kept = [index for index, name in enumerate(names) if name]
        unlabelled = len(names) - len(kept)
        texts, names = [texts[index] for index in kept], [names[index] for index in kept]
    return Labelled(texts, names, _digest(texts, names), used, unlabelled)


def _decoded(content: bytes, path: Path, encoding: str | None) -> tuple[str, str]:
    if encoding is not None:
        try:
            return content.decode(codecs.lookup(encoding).name), encoding
        except LookupError:
            raise BadFile("unknown_encoding", path, encoding=encoding) from None
        except UnicodeDecodeError:
            raise BadFile("not_in_encoding", path, encoding=encoding) from None
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            try:
                return content.decode(name), name
            except UnicodeDecodeError:
                raise BadFile("not_in_encoding", path, encoding=name) from None
    if b"\0" in content[:4096]:
        raise BadFile("binary", path)
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return max(((content.decode(name, errors="replace"), name) for name in ENCODINGS[1:]), key=_plausible)


def _plausible(read_as: tuple[str, str]) -> int:
    """How much a reading looks like Spanish or English: its accented letters less what no text has."""
    text = read_as[0]
    return sum(text.count(letter) for letter in "áéíóúñüÁÉÍÓÚÑ¿¡°º“”’") - 3 * sum(
        text.count(c) for c in "\ufffd√∫≠Ž—‡’‘“…„ˆŒ·ƒ"
    )


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _cell(row: Sequence[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _digest(texts: Sequence[str], labels: Sequence[str]) -> str:
    found = hashlib.sha256()
    for part in itertools.chain.from_iterable(zip(texts, labels, strict=True)):
        raw = part.encode("utf-8", errors="surrogatepass")
        found.update(len(raw).to_bytes(8, "big"))
        found.update(raw)
    return found.hexdigest()

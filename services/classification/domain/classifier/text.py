"""A contact's text as the classifier reads it, and the texts nobody could judge."""

import html
import re
import unicodedata
from dataclasses import dataclass

MAX_CHARACTERS = 6_000
"""Of a longer text the beginning and the end are read: what it is about stands there, and 1 MB must not hold a core."""
TOO_LONG = 20_000
"""From here on the part that was not read is so large that a person should look."""
ENCODED_CHARACTERS = 400
"""The encoder reads this much of the beginning: its time grows with the length, and past the first sentences its average
over all words only blurs (Chilean regulator's complaints: 33 ms a text in whole, no more accurate than 7 ms)."""

_HIDDEN = re.compile(r"<(script|style|head)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[a-zA-Z!][^<>]{0,2000}>")
# Bounded on both sides of the @: with \S+ a text of many @ takes minutes.
_LINK = re.compile(r"\b(?:https?://|www\.)\S{1,2000}|[^\s@]{1,64}@[^\s@]{1,255}")
# Masks of personal data: XX, XXXX, XX/XX/XXXX, ****, ____, [REDACTED].
_MASK = re.compile(r"(?<![^\W_])[xX]{2,}(?:[/.-][xX]{2,})*(?![^\W_])|\*{3,}|_{3,}|\[redacted\]", re.IGNORECASE)
# Where a mail program begins to quote; what stands above is what the customer wrote now.
_QUOTED = re.compile(
    r"^[ \t]*(?:-{2,}[ \t]*(?:original message|mensaje original|forwarded message|mensaje reenviado)[ \t]*-{2,}"
    r"|(?:on|el)\b[^\n]{5,200}\b(?:wrote|escribi[óo])[ \t]*:"
    r"|(?:from|de)[ \t]*:[^\n]{1,200}\n(?:[^\n]{0,200}\n){0,2}[ \t]*(?:sent|date|to|enviado|fecha|para)[ \t]*:)",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTE_LINE = re.compile(r"^[ \t]*>[^\n]*(?:\n|\Z)", re.MULTILINE)
_REPEAT = re.compile(r"(.)\1{3,}", re.DOTALL)
_MARKS = re.compile("[\u0300-\u034e\u0350-\u036f\u0483-\u0487]")
_LETTERS = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """`folded`: for the n-grams, ` two words `; `plain`: for the encoder; `problem`: why it cannot be judged, or None."""

    folded: str
    plain: str
    problem: str | None = None
    long: bool = False


def prepare(text: str) -> Prepared:
    """The text without mark-up, quoted mail, links, masks, accents and capitals. Linear in its length."""
    if not text or text.isspace():
        return Prepared("", "", "empty")
    long = len(text) > TOO_LONG
    if len(text) > 4 * MAX_CHARACTERS:  # mark-up may be most of it: keep more than is read, and never all of 1 MB
        text = text[: 3 * MAX_CHARACTERS] + "\n" + text[-MAX_CHARACTERS:]
    if "<" in text:
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
    if "&" in text:
        text = html.unescape(text)
    text = _without_quotes(text)
    masked = _may_be_masked(text) and bool(_MASK.search(text))
    if masked:
        text = _MASK.sub(" ", text)
    if "@" in text or "://" in text or "www." in text:
        text = _LINK.sub(" ", text)
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS * 3 // 4] + " " + text[-MAX_CHARACTERS // 4 :]
    plain = " ".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).split())
    if not _LETTERS.search(plain):
        return Prepared("", "", "masked" if masked else "no_words", long)
    folded = plain.casefold()
    if not folded.isascii():
        folded = _unmarked(unicodedata.normalize("NFD", folded))
        folded = folded.translate(_QUOTE_MARKS)
    folded = _REPEAT.sub(r"\1\1\1", folded)
    return Prepared(f" {' '.join(folded.split())} ", plain[:ENCODED_CHARACTERS], None, long)


def _may_be_masked(text: str) -> bool:
    """Whether a mask can stand there at all: found ten times as fast as by the pattern, and true of few texts."""
    low = text.lower()
    return "xx" in low or "***" in low or "___" in low or "[redacted]" in low


_QUOTE_MARKS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "«": '"', "»": '"', "–": "-", "—": "-", "…": "."})


def only_masks(text: str) -> bool:
    """Whether something stood in a plain text and nothing but the masks of it was handed on."""
    return _MASK.search(text) is not None and not _LETTERS.search(_MASK.sub(" ", text))


def _unmarked(text: str) -> str:
    """Without accents. What stands below U+0590 (Latin, Greek, Cyrillic) has them in two ranges, found six times as fast."""
    if max(text) < "\u0590":
        return _MARKS.sub("", text)
    return "".join(character for character in text if not unicodedata.combining(character))


def _without_quotes(text: str) -> str:
    """The text above and between quotations; all of it where nothing else would be left."""
    kept = text
    found = _QUOTED.search(kept) if ":" in kept or "--" in kept else None  # each of its forms has one of them
    if found is not None:
        kept = kept[: found.start()]
    if ">" in kept:
        kept = _QUOTE_LINE.sub("", kept)
    return kept if _LETTERS.search(kept) else text

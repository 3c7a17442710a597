"""Mail as rows: single messages (`.eml`) and mailboxes (mbox, `From ` at the beginning of a message)."""

import hashlib
from collections.abc import Iterator
from datetime import UTC
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parseaddr, parsedate_to_datetime
from html.parser import HTMLParser
from typing import Any, BinaryIO

MAX_MESSAGE = 40 * 1024 * 1024


def mails(file: BinaryIO, kind: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line and values of each message, or why it is none."""
    if kind == "eml":
        yield 1, message_of(file.read(MAX_MESSAGE + 1))
        return
    for line, raw in _split(file):
        yield line, message_of(raw)


def _split(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    parts: list[bytes] = []
    begins, blank = 1, True
    for number, line in enumerate(file, start=1):
        if blank and line.startswith(b"From "):
            if parts:
                yield begins, b"".join(parts)
            parts, begins = [], number
            blank = False
            continue
        # mboxrd: a line of the message that began with "From " was given a ">" more.
        parts.append(line[1:] if line.startswith(b">") and line.lstrip(b">").startswith(b"From ") else line)
        blank = not line.strip(b"\r\n")
    if any(part.strip() for part in parts):
        yield begins, b"".join(parts)


def message_of(raw: bytes) -> dict[str, Any] | str:
    """Columns of one message. The text is kept whole, quotations and all: it is the customer's."""
    if len(raw) > MAX_MESSAGE:
        return "is larger than 40 MB"
    try:
        message = BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(raw)
        name, address = parseaddr(_header(message, "reply-to") or _header(message, "from"))
        if "@" not in address:
            name, address = parseaddr(_header(message, "from"))
        text = _body(message)
        values = {
            "message_id": _header(message, "message-id").strip().strip("<>")[:200]
            or "mail-" + hashlib.sha256(raw).hexdigest()[:24],
            "date": _date(_header(message, "date")),
            "from_address": address,
            "from_name": name,
            "to": _header(message, "to"),
            "subject": _header(message, "subject"),
            "text": text,
            "in_reply_to": _header(message, "in-reply-to").strip().strip("<>"),
        }
    except (ValueError, LookupError, TypeError, AttributeError, IndexError) as error:
        # The standard library's parser gives up in all these ways on mail that does not follow the rules.
        return f"is no readable mail: {type(error).__name__}"
    if not address:
        return "has no sender"
    return {key: value.replace("\0", "") if isinstance(value, str) else value for key, value in values.items()}


def _header(message: EmailMessage, name: str) -> str:
    value = message.get(name)
    text = "" if value is None else str(value)
    return text.encode("utf-8", "replace").decode()


def _date(text: str) -> Any:
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    # "-0000" means: a time in UTC, from somewhere.
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _body(message: EmailMessage) -> str:
    part = message.get_body(("plain", "html"))
    if part is None:
        return ""
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    charset = part.get_content_charset() or "utf-8"
    try:
        text = content.decode(charset)
    except (LookupError, UnicodeDecodeError):
        text = content.decode("utf-8", "replace")
    text = text.replace("\r\n", "\n")
    return _Words.of(text) if part.get_content_type() == "text/html" else text


class _Words(HTMLParser):
    """The words of a page, with line breaks where blocks end."""

    BLOCKS = frozenset({"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "table", "blockquote"})
    HIDDEN = frozenset({"script", "style", "head", "title"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in self.HIDDEN
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in self.HIDDEN))
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(" ".join(data.split()) + " " if data.strip() else " ")

    @classmethod
    def of(cls, page: str) -> str:
        words = cls()
        words.feed(page)
        lines = (" ".join(line.split()) for line in "".join(words.parts).split("\n"))
        return "\n".join(line for line in lines if line)

"""Signatures by the Standard Webhooks specification (github.com/standard-webhooks/standard-webhooks), `v1` only.

Signed is `id.timestamp.body`, the body byte for byte as it came; HMAC-SHA256; the header lists signatures separated by
spaces, the receiver tries each against each live secret. Our own, because the reference library takes one secret, decodes
the body as UTF-8 first and answers a header without a comma with an error of another kind; it is the oracle of the tests.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from libs.service.words import Words

PREFIX = "whsec_"
TOLERANCE = timedelta(minutes=5)
_ID = re.compile(r"[\x21-\x7e]{1,256}")
_SECONDS = re.compile(r"[0-9]{1,12}")
MAX_SIGNATURES = 32


class WrongSignature(Exception):
    """Not authentic, too old, or not signed at all. `words` may be shown to the sender; they name no secret."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)
        self.words = words


def secret_text(key: bytes) -> str:
    """A key of 24 to 64 bytes as it is handed out."""
    return PREFIX + base64.b64encode(key).decode()


def secret_key(text: str) -> bytes:
    """The key in a secret as it was handed out; raises ValueError when it is none, or shorter than 24 bytes."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise ValueError("a secret is whsec_ and base64") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("a secret holds 24 to 64 bytes")
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """One entry of the signature header."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def verify(headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], arrived: datetime) -> str:
    """The message id of an authentic delivery. `headers` by lower-case name; `keys` are all live secrets.

    The tolerance is measured against arrival, so that a queue on our side turns nobody's message away. Every signature is
    compared with every key in constant time, whichever fits first. Raises WrongSignature.
    """
    message_id = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    listed = headers.get("webhook-signature", "").split()
    if not _ID.fullmatch(message_id):
        raise WrongSignature(Words("webhook-id is missing or not printable", "falta webhook-id o no es imprimible"))
    if not _SECONDS.fullmatch(stamp):
        raise WrongSignature(
            Words(
                "webhook-timestamp is missing or not in seconds since 1970",
                "falta webhook-timestamp o no está en segundos desde 1970",
            )
        )
    try:
        sent = datetime.fromtimestamp(int(stamp), UTC)
    except (ValueError, OverflowError, OSError):
        raise WrongSignature(
            Words("webhook-timestamp is out of range", "webhook-timestamp está fuera de rango")
        ) from None
    if abs(arrived - sent) > TOLERANCE:
        raise WrongSignature(
            Words(
                "webhook-timestamp is more than five minutes from now; check the clock, or send it again",
                "webhook-timestamp dista más de cinco minutos de ahora; revise el reloj, o envíelo de nuevo",
            )
        )
    given = [entry.partition(",")[2] for entry in listed[:MAX_SIGNATURES] if entry.startswith("v1,")]
    if not given:
        raise WrongSignature(
            Words("webhook-signature holds no v1 signature", "webhook-signature no contiene ninguna firma v1")
        )
    fits = False
    for key in keys:
        expected = signature(key, message_id, int(stamp), body)[3:].encode()
        for candidate in given:
            fits |= hmac.compare_digest(expected, candidate.encode("utf-8", "replace"))
    if not fits:
        raise WrongSignature(
            Words(
                "no signature fits any live secret of this source; it is taken over the raw bytes",
                "ninguna firma corresponde a un secreto vigente de esta fuente; se calcula sobre los bytes tal como van",
            )
        )
    return message_id

"""Short signed texts: cursors, sessions. Signed, not secret: nothing personal goes in."""

import base64
import binascii
import hashlib
import hmac
from typing import Any

import orjson

_TAG = 16


class BadSignature(ValueError):
    """Not signed by us, or for another purpose."""


def sign(key: bytes, purpose: str, value: Any) -> str:
    """`value` (JSON) as URL-safe text, bound to a purpose."""
    body = orjson.dumps(value)
    return base64.urlsafe_b64encode(_tag(key, purpose, body) + body).rstrip(b"=").decode()


def unsign(key: bytes, purpose: str, text: str) -> Any:
    """The inverse. Raises BadSignature."""
    if len(text) > 4096:
        raise BadSignature("too long")
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise BadSignature("not base64url") from None
    if not hmac.compare_digest(raw[:_TAG], _tag(key, purpose, raw[_TAG:])):
        raise BadSignature("the signature does not fit")
    return orjson.loads(raw[_TAG:])


def _tag(key: bytes, purpose: str, body: bytes) -> bytes:
    return hashlib.blake2b(purpose.encode() + b"\0" + body, key=key, digest_size=_TAG).digest()

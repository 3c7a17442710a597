"""What the vault is made of: wrapped keys, ciphers held ready, and a cache that forgets on time."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
V = TypeVar("V")


class Unopenable(ValueError):
    """Sealed bytes that their key does not open: damaged, moved, or the key is gone."""


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970, UTC: exact, sorts and compares alike on every engine."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant(value: int) -> datetime:
    """The inverse of `microseconds`."""
    return _EPOCH + timedelta(microseconds=value)


class Cache(Generic[V]):
    """Forgets each entry after at most `life` seconds and keeps at most about `size`.

    Two generations instead of a stamp per entry: a look-up costs one or two dictionary reads (0.1 µs). An entry found in the
    older generation is not moved up: its life must end whatever traffic does, for that is how erasure reaches this process.
    """

    def __init__(self, life: float, size: int, monotonic: Callable[[], float]) -> None:
        self._half, self._size, self._monotonic = life / 2, max(1, size // 2), monotonic
        self._young: dict[Any, V] = {}
        self._old: dict[Any, V] = {}
        self._turn = monotonic() + self._half

    def tick(self) -> None:
        """Let time pass; called once per batch, not per entry."""
        now = self._monotonic()
        if now >= self._turn or len(self._young) > self._size:
            # both generations go when nobody looked for a whole life
            self._old = {} if now >= self._turn + self._half else self._young
            self._young = {}
            self._turn = now + self._half

    def get(self, key: Any) -> V | None:
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: Any, value: V) -> None:
        self._young[key] = value

    def drop(self, keep: Callable[[Any, V], bool] | None = None) -> None:
        """Forget everything, or everything but what `keep` wants."""
        for generation in (self._young, self._old):
            if keep is None:
                generation.clear()
            else:
                for key in [key for key, value in generation.items() if not keep(key, value)]:
                    del generation[key]


# Making a cipher (2.3 µs) costs more than sealing a field with it (1.3 µs), and a batch holds the same people again and again.
_ciphers: dict[bytes, AESGCM] = {}
_MAX_CIPHERS = 4_096


def cipher_of(key: bytes) -> AESGCM:
    """The cipher of a data key, held ready until somebody is erased."""
    cipher = _ciphers.get(key)
    if cipher is None:
        if len(_ciphers) >= _MAX_CIPHERS:
            _ciphers.clear()
        cipher = _ciphers[key] = AESGCM(key)
    return cipher


class Wrapper:
    """Wraps keys and secrets with a key derived from the master key; the name of what is wrapped is bound to it."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) < 32:
            raise ValueError("the master key must be at least 32 bytes (base64 of 32 random bytes)")
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"lazo vault wrap v1").derive(master_key)
        self._cipher = AESGCM(derived)

    def wrap(self, name: str, key: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, key, name.encode())

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:12], wrapped[12:], name.encode())
        except InvalidTag:
            raise Unopenable(f"the master key does not open {name.partition('/')[0]}") from None


def forget_ciphers() -> None:
    """Drop every cipher held ready."""
    _ciphers.clear()

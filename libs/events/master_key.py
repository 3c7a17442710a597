"""The master key, which wraps every other key. Whoever loses it loses every text; whoever copies it can open them."""

import base64
import binascii
import os
from pathlib import Path


class BadMasterKey(ValueError):
    """The master key is not base64 of at least 32 bytes, or its file is open to others."""


def decoded(text: str) -> bytes:
    """The key in base64 (either alphabet, padded or not). Raises BadMasterKey."""
    compact = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        key = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadMasterKey("the master key is not base64") from None
    if len(key) < 32:
        raise BadMasterKey(f"the master key has {len(key)} bytes, it needs 32 or more (openssl rand -base64 32)")
    return key


def from_file(path: Path) -> bytes:
    """Read a key file. Raises BadMasterKey when others may read it, OSError when it cannot be read."""
    mode = path.stat().st_mode & 0o077
    # Secrets mounted by an orchestrator are often group readable and owned by root; a world-readable key is never meant.
    if mode & 0o007:
        raise BadMasterKey(f"{path} may be read by everybody: chmod 600 {path}")
    return decoded(path.read_text(encoding="ascii", errors="replace"))


def read_or_make(path: Path) -> bytes:
    """The embedded mode's key: made with mode 0600 at the first start. Safe when two processes start at once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(os.urandom(32)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)  # fails when another process was first: its key counts
            except FileExistsError:
                pass
        finally:
            draft.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return from_file(path)

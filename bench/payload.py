"""Made-up contacts of about 450 bytes, and the events they lead to. The same number gives the same contact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

SOURCE = "bench"
KINDS = ("complaint", "claim", "request", "inquiry", "complaint")
CHANNELS = ("phone", "email", "web", "chat", "app", "whatsapp")
TEXTS = (
    "Me cobraron dos veces la factura de este mes y nadie me explica por que aparece el cargo repetido en mi cuenta.",
    "Llevo cuatro dias sin servicio de internet, el tecnico quedo de venir el martes y nunca llego ni aviso.",
    "Solicite el retiro de mi linea hace un mes y me siguen facturando el plan completo, quiero que me devuelvan el dinero.",
    "I was promised a refund three weeks ago and every time I call I am told to wait for another five working days.",
    "La aplicacion no me deja pagar, se queda en blanco al confirmar y despues me cobran mora por pagar tarde.",
    "The agent hung up on me twice while I was explaining that my bill shows a device I never bought.",
)
PRODUCTS = ("hogar", "movil", "television", "internet", "empresas")
TOUCHPOINTS = ("billing", "installation", "support", "cancellation", "payment")
PLACES = ("Bogota", "Medellin", "Cali", "Barranquilla", "Pasto", "Cucuta")


class Contacts:
    """Bodies of contacts. Of a hundred contacts `new` come from somebody never heard of before, the others from `known`
    customers; `run` keeps the external ids of several runs apart."""

    def __init__(self, run: str, *, known: int = 5_000, new: int = 10) -> None:
        self._run, self._known, self._new = run, known, new
        self._random = Random(f"{run}/{known}/{new}")
        self._number = 0
        self._tail = [
            f'"kind":"{self._random.choice(KINDS)}","channel":"{self._random.choice(CHANNELS)}",'
            f'"text":"{text}","language":"{"en" if text.isascii() and " the " in text else "es"}",'
            f'"touchpoint":"{self._random.choice(TOUCHPOINTS)}","product":"{self._random.choice(PRODUCTS)}",'
            f'"location":"{self._random.choice(PLACES)}"'
            for text in TEXTS
            for _ in range(20)
        ]

    def customer(self) -> str:
        number = self._number
        if self._random.randrange(100) < self._new:
            return f"{self._run}-{number}"
        return f"k-{self._random.randrange(self._known)}"

    def body(self, at: str | None = None) -> bytes:
        """The next contact; `at` in RFC 3339, by default a minute ago."""
        self._number += 1
        number, customer = self._number, self.customer()
        if at is None:
            at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat(timespec="milliseconds")
        return (
            f'{{"source":"{SOURCE}","external_id":"{self._run}-{number}","occurred_at":"{at}",'
            f'"customer":{{"id":"{customer}","email":"{customer}@example.com","name":"Maria Perez {customer}"}},'
            f"{self._tail[number % len(self._tail)]}}}"
        ).encode()

    def lines(self, count: int) -> bytes:
        """A body of NDJSON."""
        at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat(timespec="milliseconds")
        return b"\n".join(self.body(at) for _ in range(count))

    def everybody(self, count: int) -> list[bytes]:
        """NDJSON bodies in which each known customer speaks once, to be sent before measuring."""
        made = []
        for start in range(0, self._known, count):
            part = []
            for number in range(start, min(start + count, self._known)):
                body = self.body().decode()
                before, _, rest = body.partition('"customer":{"id":"')
                customer = rest.partition('"')[0]
                part.append((before + '"customer":{"id":"' + rest.replace(customer, f"k-{number}", 3)).encode())
            made.append(b"\n".join(part))
        return made

"""What learning and fitting tell Prometheus. Labels never hold codes or texts."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.classification.domain.classifier.meaning import Encoder

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5)


class Measuring:
    """`registry`: the service's; None keeps the numbers to itself (commands, tests)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._learnt = Gauge("lazo_coder_corrections", "Corrections the on-line learner has read", registry=registry)
        self._taught = Gauge("lazo_coder_taught", "Corrections that taught it something", registry=registry)
        self._correction = Histogram(
            "lazo_coder_correction_seconds", "Time to learn one correction", buckets=_SECONDS, registry=registry
        )
        self._encoder = Gauge("lazo_coder_encoder", "1 once the sentence encoder is loaded", registry=registry)
        self._texts = Counter("lazo_coder_texts", "Contacts coded, by who decided", ("decided_by",), registry=registry)
        self._fits = Counter("lazo_coder_fits", "Fits that ended, by outcome", ("outcome",), registry=registry)
        self._unreadable = Counter(
            "lazo_coder_unreadable_models", "Models refused because their files were not as written", registry=registry
        )

    def learnt(self, read: int, taught: int) -> None:
        self._learnt.set(read)
        self._taught.set(taught)

    def correction(self, seconds: float) -> None:
        self._correction.observe(seconds)

    def encoder_loaded(self, encoder: Encoder | None) -> None:
        self._encoder.set(0 if encoder is None else 1)

    def coded(self, decided: Mapping[str, int]) -> None:
        """How many contacts were coded, by who decided."""
        for decided_by, count in decided.items():
            self._texts.labels(decided_by).inc(count)

    def fitted(self, outcome: str) -> None:
        self._fits.labels(outcome).inc()

    def unreadable(self) -> None:
        self._unreadable.inc()

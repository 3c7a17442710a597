"""Fitting, and reading texts: labels with a confidence that means what it says, and with the honesty to ask."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier import alike, calibrate, linear, meaning
from services.classification.domain.classifier.calibrate import Calibration, Doubles
from services.classification.domain.classifier.grams import Floats, Grams, Ints
from services.classification.domain.classifier.linear import Linear
from services.classification.domain.classifier.meaning import Encoder, Meaning
from services.classification.domain.classifier.text import Prepared, prepare
from services.classification.domain.classifier.vocabulary import Rows, Vocabulary, learn

UNKNOWN = "unknown"
MOST_LABELS = 2_000
MOST_WEIGHTS = 11_000_000
"""Features times labels of half-precision weights: 22 MB, so that a model stays below 30 MB."""
MOST_FEATURES = 150_000
FOLDS = 4
MIXES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
NOT_ONE = 1e-4
"""Share of known words below which a text has none: strange to any model, also to one that could not measure it."""
STRANGE = 0.4
"""Share of known words below which a text counts as written in words the model never saw, whatever it was fitted on."""


class Unfit(Exception):
    """Training data nothing can be learnt from. `code` names why; `values` fill the sentence a person reads."""

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.code, self.values = code, values


@dataclass(frozen=True, slots=True)
class Judgement:
    """One text read. `problem`: why it cannot be judged (`empty`, `no_words`, `masked`, `long`, `strange`) or None."""

    label: str
    confidence: float
    review: bool
    problem: str | None = None
    next_best: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Measures:
    """What a model was worth on held-back training data."""

    rows: int
    accuracy: float
    ece: float
    coverage_at_95: float


@dataclass(frozen=True, slots=True)
class Classifier:
    """A fitted model; `with_meaning` calibrates both halves together, `alone` the words where no encoder is at hand."""

    labels: tuple[str, ...]
    vocabulary: Vocabulary
    words: Linear
    alone: Calibration
    floor: float
    meaning: Meaning | None = None
    with_meaning: Calibration | None = None
    encoder: str | None = None
    measures: dict[str, Measures] = field(default_factory=dict)

    def calibration(self, encoder: Encoder | None) -> Calibration:
        if self.with_meaning is not None and encoder is not None and encoder.name == self.encoder:
            return self.with_meaning
        return self.alone

    def probabilities(self, rows: Rows, vectors: Floats | None) -> Doubles:
        """Calibrated probabilities by label of texts that were already read."""
        return self.weighed(self.words.scores(rows), vectors)

    def weighed(self, words: Floats, vectors: Floats | None) -> Doubles:
        """The same of the words' scores."""
        if vectors is None or self.meaning is None or self.with_meaning is None:
            return self.alone.probabilities(words, None)
        return self.with_meaning.probabilities(words, self.meaning.scores(vectors))

    def read(self, texts: Sequence[str], encoder: Encoder | None) -> "Reading":
        """What all heads over the same vocabulary need of the texts; encoding is most of the time it takes."""
        return self.read_prepared([prepare(text) for text in texts], encoder)

    def read_prepared(
        self,
        prepared: Sequence[Prepared],
        encoder: Encoder | None,
        vectors: Floats | None = None,
        found: Grams | None = None,
    ) -> "Reading":
        """The same of texts that were prepared, and perhaps encoded by this encoder or taken to grams, for another model already."""
        if found is None:
            rows = self.vocabulary.rows([item.folded for item in prepared])
        else:
            rows = self.vocabulary.rows_of(found)
        if encoder is None or self.meaning is None or encoder.name != self.encoder:
            vectors = None
        elif vectors is None:
            vectors = encoder.encode([item.plain for item in prepared])
        return Reading(prepared, rows, vectors)

    def judge(self, texts: Sequence[str], encoder: Encoder | None = None) -> list[Judgement]:
        """One judgement per text, in order. Without the encoder the model was fitted with, the words decide alone."""
        if not texts:
            return []
        return self.judged(self.read(texts, encoder))

    def judged(self, reading: "Reading") -> list[Judgement]:
        """Judgements of texts that were already read."""
        chances = self.probabilities(reading.rows, reading.vectors)
        limit = (self.alone if reading.vectors is None else self.with_meaning or self.alone).threshold
        return [
            self._judgement(prepared, float(known), row, limit)
            for prepared, known, row in zip(reading.prepared, reading.rows.known, chances, strict=True)
        ]

    def _judgement(self, prepared: Prepared, known: float, chances: Doubles, limit: float) -> Judgement:
        if prepared.problem is not None:
            return Judgement(UNKNOWN, 0.0, review=True, problem=prepared.problem)
        order = np.argsort(-chances, kind="stable")[:3]
        best, chance = self.labels[order[0]], float(chances[order[0]])
        following = tuple((self.labels[place], float(chances[place])) for place in order[1:])
        if known < self.floor:
            # Nothing was measured on such texts: the number must not look like one that was.
            return Judgement(best, min(chance, 0.5) * known, review=True, problem="strange", next_best=following)
        problem = "long" if prepared.long else None
        return Judgement(best, chance, review=chance < limit or prepared.long, problem=problem, next_best=following)


@dataclass(frozen=True, slots=True)
class Reading:
    prepared: Sequence[Prepared]
    rows: Rows
    vectors: Floats | None


def fit(
    texts: Sequence[str],
    labels: Sequence[str],
    encoder: Encoder | None = None,
    *,
    vocabulary: Vocabulary | None = None,
) -> Classifier:
    """A model of labelled texts. The same texts in the same order give the same model. Raises Unfit.

    Temperature, mix and threshold come from answers about texts that were held back with all their copies (`alike`): four
    folds for the words, leave one group out for the meaning. `vocabulary`: of another head over the same texts, so that a text is read once for both.
    """
    if len(set(labels)) > MOST_LABELS:  # before the work of reading the texts
        raise Unfit("too_many_labels", labels=len(set(labels)), most=MOST_LABELS)
    usable = [(prepare(text), label) for text, label in zip(texts, labels, strict=True)]
    usable = [(item, label) for item, label in usable if item.problem is None]
    names = tuple(sorted({label for _, label in usable}))
    _check(len(usable), len(names))
    truth = np.searchsorted(np.array(names), [label for _, label in usable]).astype(np.int64)
    folded = [item.folded for item, _ in usable]
    if vocabulary is None:
        vocabulary = learn(folded, min(MOST_FEATURES, MOST_WEIGHTS // len(names)))
    rows = vocabulary.rows(folded)
    words = linear.fit(rows, len(vocabulary.keys), truth, len(names))
    groups = alike.groups(folded)
    held, known = _held_back(folded, truth, len(names), groups)
    counted = _counted(truth, groups)
    floor = min(STRANGE, max(float(np.quantile(known[counted], 0.005)), NOT_ONE)) if counted.any() else NOT_ONE
    alone, measured = _calibrated(held[counted], None, truth[counted])
    half = Linear(words.weights.astype(np.float16).astype(np.float32), words.bias)
    model = Classifier(names, vocabulary, half, alone, floor, measures={"alone": measured})
    if encoder is None:
        return model
    vectors = encoder.encode([item.plain for item, _ in usable])
    over, without = meaning.fit(vectors, truth, len(names), groups)
    together, measured_together = _calibrated(held[counted], without[counted], truth[counted])
    return Classifier(
        names,
        vocabulary,
        half,
        alone,
        floor,
        over,
        together,
        encoder.name,
        {"alone": measured, "with_encoder": measured_together},
    )


def _check(rows: int, classes: int) -> None:
    if rows == 0:
        raise Unfit("no_rows")
    if rows == 1:
        raise Unfit("one_row")
    if classes == 1:
        raise Unfit("one_label")


def _counted(truth: Ints, groups: Ints) -> npt.NDArray[np.bool_]:
    """Which held-back answers are evidence: one for each group of copies, whatever number of times it was sent.

    A label seen in one group alone cannot be held back: what its texts would have been called says nothing.
    """
    pairs = np.unique(truth * len(truth) + groups)
    often = np.bincount(pairs // len(truth), minlength=int(truth.max()) + 1)[truth] > 1
    places = np.flatnonzero(often)
    first = np.zeros(len(truth), dtype=bool)
    first[places[np.unique(groups[places], return_index=True)[1]]] = True
    return first


def _held_back(folded: Sequence[str], truth: Ints, classes: int, groups: Ints) -> tuple[Floats, Floats]:
    """Scores of every text by a model that saw neither it nor a copy of it, and the share of its words that model knew."""
    scores = np.full((len(folded), classes), -1.0, dtype=np.float32)
    known = np.zeros(len(folded), dtype=np.float32)
    fold = _folds(truth, groups)
    for number in range(FOLDS):
        out = np.flatnonzero(fold == number)
        rest = np.flatnonzero(fold != number)
        if not len(out) or len(rest) < 2:
            continue
        vocabulary = learn([folded[place] for place in rest.tolist()], min(MOST_FEATURES, MOST_WEIGHTS // classes))
        seen = vocabulary.rows([folded[place] for place in rest.tolist()])
        machine = linear.fit(seen, len(vocabulary.keys), truth[rest], classes, linear.ROUGH)
        rows = vocabulary.rows([folded[place] for place in out.tolist()])
        scores[out] = machine.scores(rows)
        known[out] = rows.known
    return scores, known


def _folds(truth: Ints, groups: Ints) -> Ints:
    """Every label's groups dealt out in turn, in a fixed disorder, so that a file sorted by date or source does not matter.

    A group goes as one, with the label of its first text: copies on both sides of a fold would make held-back answers look
    better than answers about new texts are.
    """
    first, group = np.unique(groups, return_inverse=True)
    led = truth[first]
    order = np.lexsort(((first * 2_654_435_761) % (1 << 32), led))
    sorted_led = led[order]
    dealt = np.empty(len(first), dtype=np.int64)
    dealt[order] = (np.arange(len(first)) - np.searchsorted(sorted_led, sorted_led) + sorted_led) % FOLDS
    folds: Ints = dealt[group]
    return folds


def _calibrated(words: Floats, over: Floats | None, truth: Ints) -> tuple[Calibration, Measures]:
    if len(truth) < calibrate.ENOUGH:
        mix = 0.0 if over is None else 2.0
        nothing = Measures(len(truth), 0.0, 0.0, 0.0)
        return Calibration(mix, calibrate.DEFAULT_TEMPERATURE * (1 + mix), calibrate.NEVER), nothing
    best: tuple[float, float, float] | None = None
    for mix in MIXES if over is not None else (0.0,):
        scores = words if over is None else words + np.float32(mix) * over
        temperature = calibrate.best_temperature(scores, truth)
        loss = calibrate.log_loss(scores, truth, temperature)
        if best is None or loss < best[0]:
            best = (loss, mix, temperature)
    assert best is not None
    _, mix, temperature = best
    plain = Calibration(mix, temperature, 0.0).probabilities(words, over)
    said = plain.argmax(axis=1)
    slope, shift = calibrate.best_curve(plain.max(axis=1), said == truth)
    chances = Calibration(mix, temperature, 0.0, slope, shift).probabilities(words, over)
    confidence, right = chances[np.arange(len(said)), said], said == truth
    limit = calibrate.threshold(confidence, right)
    measures = Measures(
        len(truth),
        round(float(right.mean()), 4),
        round(calibrate.calibration_error(confidence, right), 4),
        round(float((confidence >= limit).mean()), 4),
    )
    return Calibration(mix, temperature, limit, slope, shift), measures


def evaluated(judged: Sequence[Judgement], truth: Sequence[str]) -> dict[str, float]:
    """`accuracy, macro_f1, ece, coverage_at_95` and `precision`, that of what no person was asked about."""
    names = {name: place for place, name in enumerate(sorted({*truth, *(item.label for item in judged)}))}
    said = np.array([names[item.label] for item in judged], dtype=np.int64)
    meant = np.array([names[label] for label in truth], dtype=np.int64)
    confidence: npt.NDArray[np.float64] = np.array([item.confidence for item in judged])
    decided = ~np.array([item.review for item in judged], dtype=bool)
    right = said == meant
    return {
        "accuracy": float(right.mean()),
        "macro_f1": calibrate.macro_f1(said, meant, len(names)),
        "ece": calibrate.calibration_error(confidence, right),
        "coverage_at_95": float(decided.mean()),
        "precision": float(right[decided].mean()) if decided.any() else 1.0,
    }

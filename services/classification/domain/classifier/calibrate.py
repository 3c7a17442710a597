"""What a score is worth: probabilities by temperature, the calibration error, and from where on a model may decide alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier.grams import Floats, Ints

Doubles = npt.NDArray[np.float64]
PRECISION = 0.95
"""Wanted share of right answers among those no person looks at."""
CAUTION = 8.0
"""Of 64 answers two standard errors, of 10,000 hardly more than one."""
NEVER = 2.0
"""A threshold no confidence reaches: everything is looked at."""
DEFAULT_TEMPERATURE = 0.3
"""For models with too little to hold back; the middle of what was found on data of 10³ to 10⁴ texts."""
ENOUGH = 30
"""Held-back answers below which nothing is read from them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """`mix`: weight of the encoder's scores beside the words'; `temperature` divides; `threshold`: below it a person looks."""

    mix: float
    temperature: float
    threshold: float
    slope: float = 1.0
    shift: float = 0.0

    def probabilities(self, words: Floats, meaning: Floats | None) -> Doubles:
        """By row and label. The best label's share is corrected by the curve, the others keep their proportions."""
        scores = words if meaning is None else words + np.float32(self.mix) * meaning
        chances = softmax(scores, self.temperature)
        if (self.slope, self.shift) == (1.0, 0.0) or not len(chances):
            return chances
        rows, best = np.arange(len(chances)), chances.argmax(axis=1)
        top = chances[rows, best]
        # The best stays the best: never below an even share with the one that follows it.
        chances[rows, best] = 0.0
        second = chances.max(axis=1)
        corrected = curve(top, self.slope, self.shift)
        corrected = np.maximum(corrected, second / np.maximum(1 - top + second, 1e-12) * (1 + 1e-9))
        chances *= ((1 - corrected) / np.maximum(1 - top, 1e-12))[:, None]
        chances[rows, best] = corrected
        return chances


def softmax(scores: npt.NDArray[np.floating], temperature: float) -> Doubles:
    """Rows of probabilities of scores over a temperature."""
    scaled = scores.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers: Doubles = np.exp(scaled)
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def log_loss(scores: npt.NDArray[np.floating], labels: Ints, temperature: float) -> float:
    """Mean negative log probability of the right answers."""
    scaled = scores.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    right = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
    return float(-right.mean())


def best_temperature(scores: npt.NDArray[np.floating], labels: Ints) -> float:
    """The temperature of least log loss (Guo et al. 2017), by golden section over its logarithm."""
    ratio = (5**0.5 - 1) / 2
    low, high = np.log(0.005), np.log(20.0)
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = log_loss(scores, labels, float(np.exp(a))), log_loss(scores, labels, float(np.exp(b)))
    for _ in range(24):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = log_loss(scores, labels, float(np.exp(a)))
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = log_loss(scores, labels, float(np.exp(b)))
    return float(np.exp((low + high) / 2))


def curve(confidences: Doubles, slope: float, shift: float) -> Doubles:
    """Confidence to share of right answers: a line between the logits of both (Platt 1999)."""
    clipped = np.clip(confidences, 1e-9, 1 - 1e-9)
    result: Doubles = 1 / (1 + np.exp(-(slope * np.log(clipped / (1 - clipped)) + shift)))
    return result


def best_curve(confidences: Doubles, right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and shift of greatest likelihood, by Newton's method, held near (1, 0) where there is little to learn from."""
    clipped = np.clip(confidences, 1e-9, 1 - 1e-9)
    design = np.column_stack([np.log(clipped / (1 - clipped)), np.ones(len(clipped))])
    start = np.array([1.0, 0.0])
    found, hold = start.copy(), 2.0
    for _ in range(50):
        said = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        gradient = design.T @ (said - right) + hold * (found - start)
        bend = (design * (said * (1 - said))[:, None]).T @ design + hold * np.eye(2)
        step = np.linalg.solve(bend, gradient)
        found -= np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return max(float(found[0]), 0.1), float(found[1])


def threshold(confidences: Doubles, right: npt.NDArray[np.bool_], precision: float = PRECISION) -> float:
    """The lowest confidence from which on answers are right with this precision, on the safe side of chance.

    By one standard error, and more where few answers were taken: of many places to cut, the one found best was also lucky
    (measured: 12 samples of 5 texts for each of 77 labels decided 9 % alone, and 93.5 % of these right).
    """
    if len(right) < ENOUGH:
        return NEVER
    order = np.argsort(-confidences, kind="stable")
    hits = np.cumsum(right[order])
    taken = np.arange(1, len(order) + 1)
    share = hits / taken
    errors = 1 + CAUTION / np.sqrt(taken)
    safe = share - errors * np.sqrt(np.maximum(share * (1 - share), 0.25 / taken) / taken) >= precision
    # Equal confidences are taken together or not at all.
    last = np.append(confidences[order][1:] != confidences[order][:-1], True)
    good = np.flatnonzero(safe & last & (taken >= ENOUGH))
    return float(confidences[order][good[-1]]) if len(good) else NEVER


def calibration_error(confidences: Doubles, right: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error over bins of equal width (Naeini et al. 2015)."""
    if not len(right):
        return 0.0
    index = np.minimum((confidences * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(index, confidences - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def macro_f1(said: Ints, truth: Ints, classes: int) -> float:
    """Mean F1 of the classes that stand in the truth or were said."""
    hits = np.bincount(truth[said == truth], minlength=classes)
    both = np.bincount(said, minlength=classes) + np.bincount(truth, minlength=classes)
    present = both > 0
    return float((2 * hits[present] / both[present]).mean()) if present.any() else 0.0

"""The half of the classifier that reads meaning: kernel ridge regression over the encoder's vectors.

Radial kernel, least squares towards ±1 per label, on at most `LANDMARKS` texts (Nyström, Williams & Seeger 2001). One
factorisation serves all labels, and what each training text would have been given without itself comes from the same
factorisation (leave one out in closed form, Rifkin & Lippert 2007): held-back scores cost nothing.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.classification.domain.classifier.calibrate import Doubles
from services.classification.domain.classifier.grams import Floats, Ints

LANDMARKS = 3_000
"""6,000 gain 0.1 points on BANKING77 and cost four times the fit and twice the latency."""
STEEP = 1.5
RIDGE = 0.1
_BATCH = 2_000


class Encoder(Protocol):
    """A sentence encoder: texts to rows of length 1. The adapter loads it once; the domain only calls it."""

    @property
    def name(self) -> str: ...

    def encode(self, texts: list[str]) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Meaning:
    """`points`: landmarks' vectors, as they are stored: whole numbers of 1/127 of `scale`; `weights`: landmarks x labels."""

    points: npt.NDArray[np.int8]
    scale: Floats
    weights: Floats
    unpacked: Floats

    def scores(self, vectors: Floats) -> Floats:
        result = np.empty((len(vectors), self.weights.shape[1]), dtype=np.float32)
        for at in range(0, len(vectors), 256):
            result[at : at + 256] = _kernel(vectors[at : at + 256], self.unpacked) @ self.weights
        return result


def packed(points: npt.NDArray[np.int8], scale: Floats, weights: Floats) -> Meaning:
    """From its stored parts."""
    return Meaning(points, scale, weights, points.astype(np.float32) * (scale[:, None] / np.float32(127)))


def fit(vectors: Floats, labels: Ints, classes: int) -> tuple[Meaning, Floats]:
    """The regression, and the score each row would have been given without itself."""
    chosen = _landmarks(labels, LANDMARKS)
    scale = np.abs(vectors[chosen]).max(axis=1)
    scale[scale == 0] = 1.0
    points = np.rint(vectors[chosen] / scale[:, None] * 127).astype(np.int8)
    unpacked = packed(points, scale, np.zeros((len(chosen), 0), dtype=np.float32)).unpacked
    target = np.full((len(vectors), classes), -1.0, dtype=np.float32)
    target[np.arange(len(labels)), labels] = 1.0
    inner = _kernel(unpacked, unpacked).astype(np.float64) * RIDGE
    right = np.zeros((len(chosen), classes))
    for at in range(0, len(vectors), _BATCH):
        part = _kernel(vectors[at : at + _BATCH], unpacked)
        inner += part.T @ part
        right += part.T @ target[at : at + _BATCH]
    inverse = _inverse_of_lower(_root(inner))
    weights = inverse.T @ (inverse @ right)
    # As it will be read back: a model gives the same answers before and after it was kept.
    model = packed(points, scale, weights.astype(np.float16).astype(np.float32))
    inverse = inverse.astype(np.float32)
    without = np.empty((len(vectors), classes), dtype=np.float32)
    for at in range(0, len(vectors), _BATCH):
        part = _kernel(vectors[at : at + _BATCH], unpacked)
        leverage = np.minimum(np.square(part @ inverse.T).sum(axis=1), 0.999)[:, None]
        said = part @ model.weights
        without[at : at + _BATCH] = (said - leverage * target[at : at + _BATCH]) / (1 - leverage)
    return model, without


def _kernel(left: Floats, right: Floats) -> Floats:
    """exp(−STEEP · (1 − cosine)) of rows of length 1."""
    products = left @ right.T
    products -= 1
    products *= np.float32(STEEP)
    kernel: Floats = np.exp(products, out=products)
    return kernel


def _root(inner: Doubles) -> Doubles:
    """Cholesky's. Texts that stand in the data many times make the matrix singular up to the rounding of the products, which
    grows with the number of texts: the diagonal is raised until the root can be drawn, by no more than is needed.
    """
    diagonal = np.diag_indices_from(inner)
    raised = 3e-3
    inner[diagonal] += raised
    while True:
        try:
            root = np.linalg.cholesky(inner).astype(np.float64, copy=False)
        except np.linalg.LinAlgError:
            inner[diagonal] += 9 * raised
            raised *= 10
            if not np.isfinite(raised) or raised > len(inner):
                raise
        else:
            return root


def _inverse_of_lower(root: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    from scipy.linalg import solve_triangular

    inverse: npt.NDArray[np.float64] = solve_triangular(
        root, np.eye(len(root)), lower=True, overwrite_b=True, check_finite=False
    )
    return inverse


def _landmarks(labels: Ints, most: int) -> Ints:
    """At most so many rows, every label served in turn, in the rows' order."""
    if len(labels) <= most:
        return np.arange(len(labels), dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    turn = np.arange(len(labels)) - np.searchsorted(sorted_labels, sorted_labels)
    chosen: Ints = np.sort(order[np.lexsort((order, turn))[:most]])
    return chosen

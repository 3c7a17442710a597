"""The half of the classifier that reads meaning: kernel ridge regression over the encoder's vectors.

Radial kernel, least squares towards ±1 per label, on at most `LANDMARKS` texts (Nyström, Williams & Seeger 2001). One
factorisation serves all labels, and what each training text would have been given without itself and its copies comes from
the same factorisation (leave a group out in closed form: Cook & Weisberg 1982, Rifkin & Lippert 2007): held-back scores cost
next to nothing.
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
MANY = 400
"""Texts of a group from which on its own block of the hat matrix costs more than solving once more without it."""
_SHARES = 4


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


def fit(vectors: Floats, labels: Ints, classes: int, groups: Ints | None = None) -> tuple[Meaning, Floats]:
    """The regression, and the score each row would have been given without its group (by default: without itself).

    `groups[i]`: the number of row i's group; rows of equal numbers are left out together.
    """
    if groups is None:
        groups = np.arange(len(labels), dtype=np.int64)
    chosen = _landmarks(labels, LANDMARKS)
    scale = np.abs(vectors[chosen]).max(axis=1)
    scale[scale == 0] = 1.0
    points = np.rint(vectors[chosen] / scale[:, None] * 127).astype(np.int8)
    unpacked = packed(points, scale, np.zeros((len(chosen), 0), dtype=np.float32)).unpacked
    target = np.full((len(vectors), classes), -1.0, dtype=np.float32)
    target[np.arange(len(labels)), labels] = 1.0
    inner = _kernel(unpacked, unpacked).astype(np.float64) * RIDGE
    right = np.zeros((len(chosen), classes))
    _add(inner, right, vectors, unpacked, target)
    inverse = _inverse_of_lower(_root(inner))
    weights = inverse.T @ (inverse @ right)
    # As it will be read back: a model gives the same answers before and after it was kept.
    model = packed(points, scale, weights.astype(np.float16).astype(np.float32))
    # Not as it will be read back: what a group is missed by is divided by as little as a thousandth, and so is the rounding.
    exact: Floats = weights.astype(np.float32)
    narrow: Floats = inverse.astype(np.float32)
    without = np.empty((len(vectors), classes), dtype=np.float32)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    size = sizes[group]
    order = np.lexsort((group, size))
    for number in np.unique(size[size <= MANY]).tolist():
        rows = order[np.searchsorted(size[order], number) : np.searchsorted(size[order], number, side="right")]
        step = max(_BATCH // number, 1) * number
        for at in range(0, len(rows), step):
            part = rows[at : at + step]
            kernel = _kernel(vectors[part], unpacked)
            half: Floats = (kernel @ narrow.T).reshape(-1, number, len(chosen))
            missed: Floats = (target[part] - kernel @ exact).reshape(-1, number, classes)
            without[part] = target[part] - _left_out(half, missed).reshape(len(part), classes)
    for share in range(_SHARES):
        rows = np.flatnonzero((size > MANY) & (group % _SHARES == share))
        if len(rows):
            less, rest = inner.copy(), right.copy()
            _add(less, rest, vectors[rows], unpacked, target[rows], -1)
            solver = _inverse_of_lower(_root(less))
            smaller = packed(points, scale, (solver.T @ (solver @ rest)).astype(np.float32))
            without[rows] = smaller.scores(vectors[rows])
    return model, without


def _add(inner: Doubles, right: Doubles, vectors: Floats, points: Floats, target: Floats, sign: int = 1) -> None:
    """The normal equations' two sides with these rows, or without them."""
    for at in range(0, len(vectors), _BATCH):
        part = _kernel(vectors[at : at + _BATCH], points)
        inner += sign * (part.T @ part)
        right += sign * (part.T @ target[at : at + _BATCH])


def _left_out(half: Floats, missed: Floats) -> Floats:
    """What groups are missed by without themselves: (1 − H)⁻¹ of what they are missed by, H = half · halfᵀ their block of the hat
    matrix (Cook & Weisberg 1982, 2.2.8). `half`: groups x rows x landmarks; `missed`: groups x rows x labels.
    """
    hat = half @ half.transpose(0, 2, 1)
    if hat.shape[1] == 1:
        alone: Floats = missed / (1 - np.minimum(hat, np.float32(0.999)))
        return alone
    values, axes = np.linalg.eigh(hat.astype(np.float64))
    turned = axes.transpose(0, 2, 1) @ missed
    found: Floats = (axes @ (turned / (1 - np.minimum(values, 0.999))[..., None])).astype(np.float32)
    return found


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

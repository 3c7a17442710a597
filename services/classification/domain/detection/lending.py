"""What a file's series say about each other: the prior of trend, season and noise is learnt over them instead of given.

A parametric empirical Bayes (Efron & Morris 1973, JASA 68:117) with a prior that may have any shape: the series' true coefficients are
drawn from a mixture of normals, of which each fit is a noisy look with a covariance of its own. The mixture is found by the EM algorithm
of extreme deconvolution (Bovy, Hogg & Roweis 2011, Annals of Applied Statistics 5:1657, eqs. 17-19), and a series' own posterior is the
mixture's given its fit (ibid., eq. 16). Where series are alike the components are narrow and lend much; where each is its own case they are as wide
as the series differ, and lend nothing. What is learnt at a fit uses the fits of that time alone: nothing from later, and no other file's.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST = 64
"""Series that a prior is learnt from; with fewer, what is given in advance stands."""
OLD = 156
"""Blocks a fit must know: before three years a season and a trend are not told apart."""
COMPONENTS = 32
TURNS = 50
ANEW = 26
"""Fits between searches from new beginnings; in between one turn of EM each."""
SCATTER = np.array([4e-4, 2e-5, 6e-5, 4e-5, 6e-5, 4e-5])
"""What a component's variance is held near by the weight of `HELD` series: standard deviations of .02 of the level and .004 to .008 of the rest."""
HELD = 4.0
FAR = 400.0
"""χ² beyond which beginnings are no farther apart than others."""
DIFFER = 0.06
"""τ²/φ² that a component is given the weight of one series for."""
SOME = 1.0
"""A week's mean from which noise is lent. Below, what is cut off and what is held for events is most of it: taken together it sank to 1.1 of 2."""
MANY = 100.0
"""Complainants a fit must know: with fewer, those that happen to have more seem to know more, and all are said too high (.3 of .14 a week)."""
GOLDEN = 0.6180339887498949
YEAR = 365.25


@dataclass(slots=True)
class Lending:
    """The mixture over coefficients (level, trend, waves; in the phase of the day of the fit), and who shares in what."""

    rows: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # of the last fit
    beta: Array = field(default_factory=lambda: np.zeros((0, 0)))  # their coefficients, each wave counted from day 0
    covariance: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))
    shares: Array = field(default_factory=lambda: np.zeros((0, 0)))  # rows × components
    mean: Array = field(default_factory=lambda: np.zeros((0, 0)))
    scatter: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))
    weight: Array = field(default_factory=lambda: np.zeros(0))
    fits: int = 0
    day: int = 0  # of the last fit
    old: int = OLD

    def learn(
        self, rows: Ints, beta: Array, covariance: Array, prior: tuple[Array, Array], day: int, years: Array
    ) -> bool:
        """Learn from the fits of some rows, and give each of them its posterior in `beta` and `covariance`; False: too few.

        `beta`: level and trend a year as of `day`, cosines and sines of waves counted from day 0; with their `covariance` under
        the `prior` (precisions, means) that they were fitted with. `years`: each one's length in days.
        """
        self.rows = rows if len(rows) >= LEAST else rows[:0]
        if not len(self.rows):
            self.fits = 0
            return False
        inverse = np.linalg.inv(covariance)
        information = inverse - prior[0][:, :, None] * np.eye(beta.shape[1])
        pull = (inverse @ beta[:, :, None])[:, :, 0] - prior[0] * prior[1]
        turn = _phase(day, years, beta.shape[1])
        back = turn.transpose(0, 2, 1)
        information = turn @ information @ back
        values, vectors = np.linalg.eigh((information + information.transpose(0, 2, 1)) / 2)
        information = (vectors * np.maximum(values, 1e-3)[:, None, :]) @ vectors.transpose(0, 2, 1)
        pull = (turn @ pull[:, :, None])[:, :, 0]
        if self.fits % ANEW == 0:
            self._begin(information, pull)
            for _ in range(TURNS):
                self._turn(information, pull)
        else:
            self._carry(day)
            self._turn(information, pull)
        self.fits, self.day = self.fits + 1, day
        self.shares, means, covariances = self._given(information, pull)
        mean = np.einsum("nk,nki->ni", self.shares, means)
        apart = means - mean[:, None]
        spread = np.einsum("nk,nkij->nij", self.shares, covariances)
        spread += np.einsum("nk,nki,nkj->nij", self.shares, apart, apart)
        self.beta, self.covariance = (back @ mean[:, :, None])[:, :, 0], back @ spread @ turn
        return True

    def _carry(self, day: int) -> None:
        """The components as of a later day."""
        width = self.mean.shape[1]
        year = np.full(1, YEAR)
        move = _phase(day, year, width)[0] @ _phase(self.day, year, width)[0].T
        move[0, 1] = (day - self.day) / YEAR
        self.mean = self.mean @ move.T
        self.scatter = move @ self.scatter @ move.T

    def noise(self, squares: Array, means: Array, usual: float, held: float) -> tuple[Array, Array]:
        """What the dispersion of each of `rows` is held near, and by how many complainants.

        `squares`, `means`: sums of squared residuals and of means, φ = squares / means. Within a component series differ by what chance
        alone makes of their φ and by τ², which is what is left (method of moments, DerSimonian & Laird 1986); posterior as for normals.
        `usual`, `held`: what each series' own φ is held near, and by how many complainants: a φ said too low takes its own noise for events,
        and what is taken for events is not counted as noise.
        """
        own = (squares + 1e-9) / np.maximum(means, 1e-9)
        group = (self.shares.T @ (squares + usual * held)) / (self.shares.T @ (means + held))
        level = np.exp(self.beta[:, :1])
        # Of one week's (y − μ)²/(φμ): 2 and the negative binomial's excess kurtosis, 6 (φ − 1)/μ + 1/(φμ).
        middle = (own[:, None] + group) / 2.0
        chance = 2.0 + 6.0 * (middle - 1.0).clip(0.0) / level + 1.0 / (middle * level)
        chance /= np.maximum(means[:, None] / level, 1.0)
        apart = np.log(own.clip(0.2))[:, None] - np.log(group)
        left = (self.shares * (apart**2 - chance)).sum(axis=0) + HELD * DIFFER
        between = np.maximum(left / (self.shares.sum(axis=0) + HELD), 1e-3)
        strength = np.minimum(chance / between, 100.0)
        # Alike ones are best known by their sums, unlike ones have their middle where most are.
        count = self.shares.sum(axis=0)
        alike = (self.shares * chance).sum(axis=0) / count
        alike = alike / (alike + between)
        middles = (self.shares * np.log(own.clip(0.2))[:, None]).sum(axis=0) / count
        group = np.exp(alike * np.log(group) + (1.0 - alike) * middles)
        pulled = means[:, None] * self.shares * strength * (level >= SOME)
        weight = pulled.sum(axis=1) + held
        return (pulled @ group + usual * held) / weight, weight

    def _begin(self, information: Array, pull: Array) -> None:
        """Beginnings far from each other, each in proportion to its distance from those before (Arthur & Vassilvitskii 2007)."""
        count = min(COMPONENTS, len(pull) // 8)
        width = pull.shape[1]
        found = np.linalg.solve(information + 4.0 * np.eye(width), pull[:, :, None])[:, :, 0]
        chosen = [0]
        distance: Array = np.full(len(pull), FAR)
        for turn in range(1, count):
            away = found - found[chosen[-1]]
            np.minimum(distance, np.einsum("ni,nij,nj->n", away, information, away), out=distance)
            total = np.cumsum(np.maximum(distance, 1e-6))
            chosen.append(int(np.searchsorted(total, total[-1] * (turn * GOLDEN % 1.0))))
        self.mean = np.asarray(found[chosen], dtype=np.float64)
        self.scatter = np.tile(np.diag(SCATTER * 12.0), (count, 1, 1))
        self.weight = np.full(count, 1.0 / count)

    def _given(self, information: Array, pull: Array) -> tuple[Array, Array, Array]:
        """Each series' probabilities of the components, and its posterior mean and covariance in each."""
        known = np.linalg.inv(self.scatter)
        towards = (known @ self.mean[:, :, None])[:, :, 0]
        total = pull[:, None] + towards
        covariances = np.linalg.inv(information[:, None] + known)
        means = (covariances @ total[..., None])[..., 0]
        log = 0.5 * (np.linalg.slogdet(known)[1] + np.linalg.slogdet(covariances)[1])
        log += 0.5 * (total * means).sum(axis=2) - 0.5 * (self.mean * towards).sum(axis=1) + np.log(self.weight)
        shares = np.exp(log - log.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return shares, means, covariances

    def _turn(self, information: Array, pull: Array) -> None:
        """One turn of EM. A component that fewer than two series share in is left."""
        shares, means, covariances = self._given(information, pull)
        kept = shares.sum(axis=0) > 2.0
        shares, means, covariances = shares[:, kept], means[:, kept], covariances[:, kept]
        count = shares.sum(axis=0)
        self.weight = count / count.sum()
        self.mean = np.einsum("nk,nki->ki", shares, means) / count[:, None]
        apart = means - self.mean
        spread = np.einsum("nk,nkij->kij", shares, covariances) + np.einsum("nk,nki,nkj->kij", shares, apart, apart)
        self.scatter = (spread + HELD * np.diag(SCATTER)) / (count + HELD)[:, None, None]
        self.mean, self.scatter = np.round(self.mean, 10), np.round(self.scatter, 12)


def _phase(day: int, years: Array, width: int) -> Array:
    """Turns coefficients of waves counted from day 0 into those counted from `day`, series × width × width."""
    count = (width - 2) // 2
    found = np.tile(np.eye(width), (len(years), 1, 1))
    for h in range(count):
        angle = 2 * np.pi * (h + 1) * day / years
        cos, sin = 2 + h, 2 + count + h
        found[:, cos, cos] = found[:, sin, sin] = np.cos(angle)
        found[:, cos, sin], found[:, sin, cos] = np.sin(angle), -np.sin(angle)
    return found

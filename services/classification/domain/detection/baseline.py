"""What is usual: a log-linear mean per series over blocks (a week), fitted to the past alone, for many series at once.

log E[y_b] = log exposure_b + level + trend · years + Σ_h (a_h cos 2πhτ_b + b_h sin 2πhτ_b) + steps, with var(y_b) = φ E[y_b]: a
quasi-Poisson regression (McCullagh & Nelder 1989, §9.2) with normal priors, fitted by Newton's method from where the last fit ended.

* Past outbreaks are down-weighted by Anscombe residuals (Farrington et al. 1996; threshold 2.58: Noufaily et al. 2013, §3.4), and by the
  probability that the filter gave them of being events when they were judged.
* Old lasting changes of level are found by the efficient score test for one more indicator column (Rao 1948; Cox & Hinkley 1974, §9.3).
* The priors let a young series know little: what it does not know widens the predictive variance x′A⁻¹x.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.classification.domain.detection.lending import MANY, Lending

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESIDUAL_LIMIT = 2.58
YEAR_DAYS = 365.25


@dataclass(frozen=True, slots=True)
class Shape:
    """How a baseline is fitted. Times in blocks."""

    block_days: int = 7
    harmonics: int = 2
    half_life: float = 180.0  # of a block's weight
    reach: int = 420  # blocks looked back
    gap: int = 0  # newest blocks left out
    trend_sd: float = 0.25  # a year
    season_sd: float = 0.5
    years: tuple[float, ...] = (YEAR_DAYS,)  # days: lengths the season's year may have, chosen per series
    years_from: int = 156  # blocks, from which on one year is told from another
    averaged: bool = False  # over what the mean may do without, instead of prior variances learnt
    step_sd: float = 0.8
    held: float = 0.1  # weight of the prior variances given here
    step_least: int = 15  # blocks a change must have lasted to be taken for the new usual
    trust: int = 17  # newest blocks weighed by how quiet the filter held them
    robust: float = RESIDUAL_LIMIT
    step_score: float = 20.0  # χ² on 1 d.f., maximised over dates
    look_every: int = 4
    look_from: int = 60
    stride: int = 3  # blocks between the dates a change is looked for at
    newton: int = 2


@dataclass(slots=True)
class Fit:
    """Coefficients and their covariance (times φ), a row per series. `steps`: block numbers, −1 for none."""

    beta: Array
    covariance: Array
    steps: Ints
    origin: Ints  # block before which the past is forgotten
    dispersion: Array
    year: Ints  # which of the shape's
    at: int = 0


def harmonics(days: Array, count: int, year: float = YEAR_DAYS) -> Array:
    """Columns cos and sin of each yearly harmonic; `days` since any fixed day, `year` in days."""
    angle = 2 * np.pi * np.asarray(days)[:, None] / year * np.arange(1, count + 1)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


class Baseline:
    """Fits of all series of a chunk, refitted as blocks are added. Row order is the caller's."""

    def __init__(self, series: int, shape: Shape, first: Ints, season: Array | None = None, zero: int = 0) -> None:
        """`first`: the block a series begins in. `season`: prior means of the harmonics, from parents or peers. `zero`: what
        number block 0 has in the calendar, so that seasons and the dates of fits do not depend on where the data begin."""
        self.shape, self.first, self.zero = shape, first, zero
        width = 2 + 2 * shape.harmonics + 2
        self.prior_mean = np.zeros((series, width))
        if season is not None:
            self.prior_mean[:, 2 : 2 + 2 * shape.harmonics] = season
        sds = [1.5, shape.trend_sd, *[shape.season_sd] * shape.harmonics * 2, shape.step_sd, shape.step_sd]
        half = np.array([1.0 / (1 + h) for h in range(shape.harmonics)] * 2)
        sds[2 : 2 + 2 * shape.harmonics] = list(shape.season_sd * half)
        self.usual = np.array(sds) ** 2  # prior variances before anything is known
        self.precision = np.tile(1.0 / self.usual, (series, 1))
        self.fit = Fit(
            beta=np.zeros((series, width)),
            covariance=np.tile(np.diag(np.array(sds) ** 2), (series, 1, 1)),
            steps=np.full((series, 2), -1, dtype=np.int64),
            origin=first.copy(),
            dispersion=np.full(series, 1.5),
            year=np.zeros(series, dtype=np.int64),
        )
        self.started = np.zeros(series, dtype=bool)
        self.lent = np.zeros(series)  # complainants a borrowed level weighs; 0: none is
        self.near = np.zeros(series, dtype=np.int64)  # block up to which a series is fitted to all but its newest
        self.lending: Lending | None = None  # learns a prior over the series, where they may lend each other strength
        self.lenders: Ints | None = None  # rows that still have data; None: all

    def begin(self, rows: Ints, first: Ints, level: Array, weight: Array, near: int) -> None:
        """These series begin anew with block `first`. They borrow a block's mean, which weighs as much as `weight` complainants (the shape
        of a gamma prior) until their own first blocks are fitted. Up to `near` blocks on only the newest is left out of their fits."""
        fit = self.fit
        self.first[rows], fit.origin[rows], self.near[rows] = first, first, first + near
        fit.beta[rows], fit.steps[rows], self.started[rows], fit.year[rows] = 0.0, -1, False, 0
        self.precision[rows] = 1.0 / self.usual
        self.prior_mean[rows, 0], self.lent[rows] = np.log(level), weight
        fit.beta[rows, 0] = np.log(level)
        fit.covariance[rows] = np.diag(self.usual)

    def design(self, blocks: Ints, at: int) -> Array:
        """Shared columns for some blocks, years of the shape × blocks × columns; trend counted from block `at`."""
        days = ((blocks + self.zero) * self.shape.block_days).astype(np.float64)
        years = (blocks - at) * self.shape.block_days / YEAR_DAYS
        line = np.stack([np.ones(len(blocks)), years], axis=1)
        waves = [harmonics(days, self.shape.harmonics, year) for year in self.shape.years]
        return np.stack([np.concatenate([line, each], axis=1) for each in waves])

    def _of_year(self) -> list[tuple[int, Ints | slice]]:
        """Each year's rows."""
        if len(self.shape.years) == 1:
            return [(0, slice(None))]
        found = [(number, np.flatnonzero(self.fit.year == number)) for number in range(len(self.shape.years))]
        return [(number, rows) for number, rows in found if len(rows)]

    def _times(self, rows_by_blocks: Array, x: Array) -> Array:
        """Sums over blocks of each row times its year's columns."""
        found = np.zeros((len(rows_by_blocks), x.shape[-1]))
        for number, rows in self._of_year():
            found[rows] = rows_by_blocks[rows] @ x[number]
        return found

    def refit(self, at: int, counts: Array, quiet: Array, offset: Array | None = None) -> None:
        """Fit to the blocks before `at`. `counts`, `quiet` (probability of no event): series × all blocks so far."""
        shape, fit = self.shape, self.fit
        near = self.near >= at
        end = at - (min(shape.gap, 1) if near.any() else shape.gap)
        start = max(0, at - shape.gap - shape.reach)
        if end - start < 4:
            return
        blocks = np.arange(start, end)
        x = self.design(blocks, at)
        y = counts[:, start:end]
        log_offset = np.zeros_like(y) if offset is None else offset[:, start:end]
        age = (at - blocks) / shape.half_life
        valid = (blocks[None, :] >= fit.origin[:, None]) & (blocks[None, :] >= self.first[:, None])
        if shape.gap and near.any():
            valid &= near[:, None] | (blocks < at - shape.gap)
        whole = valid * 0.5 ** age[None, :]
        weight = self._trusted(blocks, at, whole, quiet[:, start:end])
        self._shift(at)
        fresh = ~self.started & (weight.sum(axis=1) > 0)
        if fresh.any():
            total = (weight * y).sum(axis=1) + 0.5
            usual = (weight * np.exp(log_offset)).sum(axis=1)
            # A borrowed level weighs as so many complainants more. As a normal prior of its logarithm it would, where a slice has six
            # times its family's, be for ever drawn down, and a season made up of what is missing.
            total += np.where(self.lent > 0.0, self.lent - 0.5, 0.0)
            level = np.log(total / np.maximum(usual + self.lent * np.exp(-self.prior_mean[:, 0]), 1e-9))
            fit.beta[fresh, 0] = level[fresh]
            self.prior_mean[fresh, 0] = level[fresh]
            self.started |= fresh
        for turn in range(shape.newton):
            mean, robust = self._newton(x, blocks, y, weight, log_offset)
            if turn == 0:
                self._disperse(y, mean, weight * robust)
        if (at + self.zero) % shape.look_every == 0 and len(blocks) >= shape.look_from:
            self._choose_steps(x, blocks, y, whole, log_offset)
            weight = self._trusted(blocks, at, whole, quiet[:, start:end])
            for _ in range(3):
                self._newton(x, blocks, y, weight, log_offset)
            if len(self.shape.years) > 1 and len(blocks) >= self.shape.years_from:
                self._choose_year(x, blocks, y, weight, log_offset)
        if self.shape.averaged:
            own = fit.beta, fit.covariance
            self._average()
            if self.lending is not None:
                self._lend(self.lending, at, (weight * y).sum(axis=1), *own)
        else:
            self._shrink()
        # Nine digits are more than is known; what differs in the fifteenth (a library's order of summing) ends here.
        fit.beta, fit.covariance = np.round(fit.beta, 9), np.round(fit.covariance, 9)
        fit.dispersion = np.round(fit.dispersion, 9)

    def _trusted(self, blocks: Ints, at: int, whole: Array, quiet: Array) -> Array:
        """Weights by how quiet the filter held the newest blocks; not those that follow a change which is now the usual."""
        latest = self.fit.steps.max(axis=1)[:, None]
        settled = (latest >= 0) & (blocks >= latest) & (blocks < latest + self.shape.step_least + 12)
        judged = (at - blocks <= self.shape.trust)[None, :] & ~settled
        trusted: Array = whole * np.where(judged, np.maximum(quiet, 0.02), 1.0)
        return trusted

    def _choose_year(self, x: Array, blocks: Ints, y: Array, weight: Array, log_offset: Array) -> None:
        """Calendars of 52 weeks exist, and so does the sun's year; after seven years they are half a radian apart in the second wave.

        The year with the larger penalised quasi-likelihood is taken, both with the weights of the one in use.
        """
        fit = self.fit
        robust = anscombe_weights(y, self._mean(x, blocks, log_offset), fit.dispersion, self.shape.robust)
        likely, betas, covariances, usual = [], [], [], fit.year.copy()
        kept = fit.beta.copy(), fit.covariance.copy()
        for turn in range(len(self.shape.years)):
            fit.year = (usual + turn) % len(self.shape.years)
            fit.beta = kept[0].copy()
            for _ in range(2 if turn else 1):
                self._newton(x, blocks, y, weight, log_offset)
            mean = self._mean(x, blocks, log_offset)
            gain = (weight * robust * (y * np.log(mean) - mean)).sum(axis=1) / fit.dispersion
            gain -= 0.5 * (self.precision * (fit.beta - self.prior_mean) ** 2).sum(axis=1)
            likely.append(np.round(gain, 6))
            betas.append(fit.beta)
            covariances.append(fit.covariance)
        best, rows = np.stack(likely).argmax(axis=0), np.arange(len(y))
        fit.beta, fit.covariance = np.stack(betas)[best, rows], np.stack(covariances)[best, rows]
        fit.year = (usual + best) % len(self.shape.years)

    def _average(self) -> None:
        """The fit averaged over what the mean may do without: trend, second wave, both waves (Hoeting et al. 1999, eq. 1).

        Odds of a model without some coefficients: their posterior density where they are as the prior says, over their prior one
        (Dickey 1971, eq. 1.1), both normal; its own coefficients are the others given those.
        """
        fit, count = self.fit, self.shape.harmonics
        waves = [[2 + h, 2 + count + h] for h in range(count)]
        away: list[list[int]] = []
        for least in range(count + 1):
            gone = [column for wave in waves[least:] for column in wave]
            away += [gone, [1, *gone]]
        odds, betas, covariances = [], [], []
        for out in away:
            beta, covariance, log_odds = fit.beta, fit.covariance, np.zeros(len(fit.beta))
            if out:
                off = beta[:, out] - self.prior_mean[:, out]
                inside = covariance[:, out][:, :, out]
                solved = np.linalg.solve(inside, np.concatenate([off[:, :, None], covariance[:, out]], axis=2))
                log_odds = -0.5 * (off * solved[:, :, 0]).sum(axis=1) - 0.5 * np.linalg.slogdet(inside)[1]
                log_odds -= 0.5 * np.log(self.precision[:, out]).sum(axis=1)
                across = covariance[:, :, out]
                beta = beta - (across @ solved[:, :, :1])[:, :, 0]
                covariance = covariance - across @ solved[:, :, 1:]
            odds.append(log_odds)
            betas.append(beta)
            covariances.append(covariance)
        weight = np.exp(np.stack(odds) - np.max(odds, axis=0))
        weight /= weight.sum(axis=0)
        mean = sum(w[:, None] * beta for w, beta in zip(weight, betas, strict=True))
        covariance = np.zeros_like(fit.covariance)
        for w, beta, own in zip(weight, betas, covariances, strict=True):
            apart = beta - mean
            covariance += w[:, None, None] * (own + apart[:, :, None] * apart[:, None, :])
        fit.beta, fit.covariance = mean, covariance

    def _lend(self, lending: Lending, at: int, known: Array, beta: Array, covariance: Array) -> None:
        """Instead of the average, for series that are old enough, `known` by enough complainants and without steps: given what all are like."""
        fit, shape, p = self.fit, self.shape, 2 + 2 * self.shape.harmonics
        old = self.started & (at - np.maximum(self.first, fit.origin) >= lending.old) & (fit.steps < 0).all(axis=1)
        old &= known >= MANY
        rows = np.flatnonzero(old) if self.lenders is None else self.lenders[old[self.lenders]]
        prior = self.precision[rows, :p], self.prior_mean[rows, :p]
        day, years = (at + self.zero) * shape.block_days, np.array(shape.years)[fit.year[rows]]
        if not lending.learn(rows, beta[rows, :p], covariance[rows, :p, :p], prior, day, years):
            return
        fit.beta[rows, :p] = lending.beta
        fit.covariance[rows] = np.diag(self.usual)
        fit.covariance[rows, :p, :p] = lending.covariance

    def _shrink(self) -> None:
        """Prior variances of trend and of each harmonic, learnt per series: MacKay's fixed point (1992, eq. 4.4), τ² = Σβ² / Σγ with
        γ = 1 − var(β)/τ², held near its start by a little of it. A series without a season should not pay for one."""
        spent = 1.0 - np.diagonal(self.fit.covariance, axis1=1, axis2=2) * self.precision
        spent = np.clip(spent, 0.0, 1.0)
        moved = (self.fit.beta - self.prior_mean) ** 2
        held, count = self.shape.held, self.shape.harmonics
        for group in ([1], *([2 + h, 2 + count + h] for h in range(count))):
            top = moved[:, group].sum(axis=1) + held * self.usual[group[0]]
            self.precision[:, group] = ((spent[:, group].sum(axis=1) + held) / top)[:, None]

    def _shift(self, at: int) -> None:
        """Trend is counted from the block of the fit, so the level moves along it."""
        fit = self.fit
        moved = (at - fit.at) * self.shape.block_days / YEAR_DAYS
        fit.beta[:, 0] += fit.beta[:, 1] * moved
        fit.at = at

    def _linear(self, x: Array) -> Array:
        """What each row's coefficients make of its year's columns, rows × blocks."""
        found = np.zeros((len(self.fit.beta), x.shape[1]))
        for number, rows in self._of_year():
            found[rows] = self.fit.beta[rows, : x.shape[-1]] @ x[number].T
        return found

    def _mean(self, x: Array, blocks: Ints, log_offset: Array) -> Array:
        fit = self.fit
        p = x.shape[-1]
        eta = log_offset + self._linear(x)
        for slot in range(2):
            rows = np.flatnonzero(fit.steps[:, slot] >= 0)
            if len(rows):
                eta[rows] += fit.beta[rows, p + slot, None] * (blocks[None, :] >= fit.steps[rows, slot, None])
        return np.exp(np.clip(eta, -12, 16))

    def _newton(
        self, x: Array, blocks: Ints, y: Array, weight: Array, log_offset: Array, lenient: float = 1.0
    ) -> tuple[Array, Array]:
        fit = self.fit
        p = x.shape[-1]
        mean = self._mean(x, blocks, log_offset)
        robust = anscombe_weights(y, mean, fit.dispersion * lenient, self.shape.robust)
        scaled = weight * robust / fit.dispersion[:, None]
        information, residual = scaled * mean, scaled * (y - mean)
        series = len(y)
        hessian = np.zeros((series, p + 2, p + 2))
        products = (x[:, :, :, None] * x[:, :, None, :]).reshape(len(x), -1, p * p)
        hessian[:, :p, :p] = self._times(information, products).reshape(series, p, p)
        gradient = np.zeros((series, p + 2))
        gradient[:, :p] = self._times(residual, x)
        for slot in range(2):
            rows = np.flatnonzero(fit.steps[:, slot] >= 0)
            if not len(rows):
                continue
            mask = blocks[None, :] >= fit.steps[rows, slot, None]
            held = information[rows] * mask
            wide = np.zeros_like(information)
            wide[rows] = held
            cross = self._times(wide, x)[rows]
            hessian[rows, :p, p + slot] = cross
            hessian[rows, p + slot, :p] = cross
            hessian[rows, p + slot, p + slot] = held.sum(axis=1)
            gradient[rows, p + slot] = (residual[rows] * mask).sum(axis=1)
            if slot == 1:  # the second step is the later one
                hessian[rows, p, p + 1] = hessian[rows, p + 1, p] = held.sum(axis=1)
        gradient -= self.precision * (fit.beta - self.prior_mean)
        hessian[:, np.arange(p + 2), np.arange(p + 2)] += self.precision
        fit.covariance = np.linalg.inv(hessian)
        move = np.einsum("sij,sj->si", fit.covariance, gradient)
        fit.beta += np.clip(move, -1.0, 1.0)
        return mean, robust

    def _disperse(self, y: Array, mean: Array, weight: Array) -> None:
        """Pearson's χ² over degrees of freedom, shrunk to 1.3 with the weight of eight."""
        freedom = np.maximum(weight.sum(axis=1) - 4.0, 0.0)
        squares = (weight * (y - mean) ** 2 / np.maximum(mean, 0.05)).sum(axis=1)
        self.fit.dispersion = np.maximum(1.0, (squares + 1.3 * 8.0) / (freedom + 8.0))

    def _choose_steps(self, x: Array, blocks: Ints, y: Array, whole: Array, log_offset: Array) -> None:
        """Lasting changes, chosen afresh: none, then the best one, then the best other, while the score test asks for it.

        Chosen afresh because half a season looks like a change until the other half has been seen.
        """
        p = x.shape[-1]
        self.fit.steps[:] = -1
        self.fit.beta[:, p:] = 0.0
        for slot in range(2):
            for _ in range(3 if slot == 0 else 2):
                self._newton(x, blocks, y, whole, log_offset, lenient=3.0)
            value, where = self._scan(x, blocks, y, whole, log_offset)
            if slot == 1:
                value = np.where(self.fit.steps[:, 0] >= 0, value, 0.0)
            rows = np.flatnonzero(value > self.shape.step_score * (1 + slot))  # a second change has to say more
            if slot == 1:
                rows = rows[np.abs(where[rows] - self.fit.steps[rows, 0]) > 4]
            self.fit.steps[rows, slot] = where[rows]
            # From the plain ratio on: from where nothing came to where much does is too far for Newton's steps.
            after = whole[rows] * (blocks >= where[rows, None])
            held = (after * self._mean(x, blocks, log_offset)[rows]).sum(axis=1)
            self.fit.beta[rows, p + slot] = np.log(((after * y[rows]).sum(axis=1) + 0.5) / (held + 0.5))
        # Twenty times as much, or as little, is another series: it begins anew.
        anew = np.flatnonzero((np.abs(self.fit.beta[:, p]) > 3.0) & (self.fit.steps[:, 0] >= 0))
        self.fit.origin[anew] = self.fit.steps[anew, 0]
        self.fit.beta[anew], self.fit.steps[anew], self.started[anew] = 0.0, -1, False
        swapped = (self.fit.steps[:, 1] >= 0) & (self.fit.steps[:, 1] < self.fit.steps[:, 0])
        self.fit.steps[swapped] = self.fit.steps[swapped][:, ::-1]
        self.fit.beta[swapped, p:] = self.fit.beta[swapped, p:][:, ::-1]

    def _scan(self, x: Array, blocks: Ints, y: Array, weight: Array, log_offset: Array) -> tuple[Array, Ints]:
        """The largest efficient score statistic over dates, and its block."""
        shape, fit = self.shape, self.fit
        least, p = shape.step_least, x.shape[-1]
        mean = self._mean(x, blocks, log_offset)
        # Noise from successive differences (von Neumann 1941), which a change of level does not enter: φ = Σ(yₜ − yₜ₋₁)² / Σ(yₜ + yₜ₋₁).
        both = (weight[:, 1:] > 0) & (weight[:, :-1] > 0)
        squares = (both * (y[:, 1:] - y[:, :-1]) ** 2).sum(axis=1)
        noise = np.minimum(fit.dispersion, (squares + 10.4) / ((both * (y[:, 1:] + y[:, :-1])).sum(axis=1) + 8.0))
        noise = np.maximum(noise, 1.0)
        scaled = weight * anscombe_weights(y, mean, noise * 3.0) / noise[:, None]
        information = scaled * mean
        candidates = np.arange(len(blocks) - least, least, -shape.stride)
        after = np.cumsum(information[:, ::-1], axis=1)[:, ::-1]
        score = np.cumsum((scaled * (y - mean))[:, ::-1], axis=1)[:, ::-1]
        seen = np.cumsum(weight > 0, axis=1)
        best, where = np.zeros(len(y)), np.zeros(len(y), dtype=np.int64)
        known = fit.steps[:, 0] >= 0
        for candidate in candidates:
            cross = np.zeros((len(y), p + 2))
            cross[:, :p] = self._times(information[:, candidate:], x[:, candidate:])
            later = np.maximum(fit.steps[:, 0] - blocks[0], candidate)
            cross[known, p] = after[known, np.minimum(later, len(blocks) - 1)[known]]
            free = after[:, candidate] - np.einsum("si,sij,sj->s", cross, fit.covariance, cross)
            usable = (seen[:, candidate] >= least) & (seen[:, -1] >= shape.look_from)
            value = np.where(usable, score[:, candidate] ** 2 / np.maximum(free, 0.5), 0.0)
            better = value > best
            best, where = np.where(better, value, best), np.where(better, blocks[candidate], where)
        return best, where

    def typical(self, usual: Array) -> Array:
        """A block's mean as it is through the year, at the trend of today; `usual`, where nothing is known."""
        steps = (self.fit.beta[:, -2:] * (self.fit.steps >= 0)).sum(axis=1)
        level: Array = np.where(self.started, np.exp(np.clip(self.fit.beta[:, 0] + steps, -12, 16)), usual)
        return level

    def predict(self, blocks: Ints, log_offset: Array | None = None) -> tuple[Array, Array]:
        """Means of coming blocks and the variance of their logarithm, series × blocks."""
        x = self.design(blocks, self.fit.at)
        zero = np.zeros((len(self.first), len(blocks))) if log_offset is None else log_offset
        mean = self._mean(x, blocks, zero)
        steps = (self.fit.steps >= 0).astype(np.float64)
        variance = np.zeros_like(mean)
        for number in range(len(blocks)):
            row = np.concatenate([x[self.fit.year, number], steps], axis=1)
            variance[:, number] = np.einsum("si,sij,sj->s", row, self.fit.covariance, row)
        return mean, variance


def anscombe_weights(y: Array, mean: Array, dispersion: Array, limit: float = RESIDUAL_LIMIT) -> Array:
    """Weights 1 up to a standardised residual s of 2.58 and (2.58 / s)² above (Farrington et al. 1996, §3.4).

    s = 2 (√(y + 3/8) − √(μ + 3/8)) / √φ: Anscombe 1948; square roots alone cost a fifth of the usual cubic ones.
    """
    residual = (np.sqrt(y + 0.375) - np.sqrt(mean + 0.375)) * (2.0 / np.sqrt(dispersion))[:, None]
    np.maximum(residual, limit, out=residual)
    weights: Array = (limit / residual) ** 2
    return np.where(y >= 3, weights, 1.0)

"""One panel of very many series whose every digit is that of panels of `ROWS` series each.

What is computed element by element, or along a series' own row, does not depend on how many rows there are. Products of matrices do: which
kernel a library takes for a product, and with it the last digit, depends on its shape. So products are made `ROWS` rows at a time (one call
for a stack of them), and everything else of all rows at once. Ten thousand slices are 79 panels: their days cost a third of what
they cost panel by panel, where nearly all time went into calls for 128 numbers each.
"""

from typing import Any

import numpy as np

from services.classification.domain.detection import thresholds
from services.classification.domain.detection.baseline import Array, Baseline, Ints
from services.classification.domain.detection.filtering import Filter
from services.classification.domain.detection.panel import Panel
from services.classification.domain.detection.settings import Setting

ROWS = 128
"""Series a product is made of."""


def by_rows(left: Array, right: Array) -> Array:
    """`left @ right`, `ROWS` rows at a time."""
    found: Array = np.matmul(left.reshape(-1, ROWS, left.shape[1]), right).reshape(len(left), -1)
    return found


class _Filter(Filter):
    def ahead(self, posterior: Array, mean: Array, dispersion: Array) -> Array:
        if self.many is not None or len(posterior) % ROWS:
            return super().ahead(posterior, mean, dispersion)
        return by_rows(posterior, self.transition)


class _Baseline(Baseline):
    def _times(self, rows_by_blocks: Array, x: Array) -> Array:
        return by_rows(rows_by_blocks, x[0]) if len(x) == 1 else super()._times(rows_by_blocks, x)

    def _linear(self, x: Array) -> Array:
        return by_rows(self.fit.beta[:, : x.shape[-1]], x[0].T) if len(x) == 1 else super()._linear(x)


class Stack(Panel):
    """A panel whose number of series is a multiple of `ROWS` and may grow; the last series is what further ones begin as."""

    def __init__(self, setting: Setting, first: Ints, periods: int, zero: int = 0) -> None:
        """Raises ValueError for a number of series that is no multiple of `ROWS`."""
        if len(first) % ROWS:
            raise ValueError(f"a stack has a multiple of {ROWS} series")
        super().__init__(setting, first, periods, zero=zero)
        self.filter = _Filter(setting.kinds)
        self.base = _Baseline(self.series, setting.shape, -(-first // setting.block), zero=zero)

    def grow(self) -> None:
        """`ROWS` further series, where the last one stands."""
        self.keep(np.concatenate([np.arange(self.series), np.full(ROWS, self.series - 1)]))

    def go_back(self, held: dict[str, Any]) -> None:
        """To where it stood then; series that nobody had heard of stand where the last one stood."""
        super().go_back(_as_wide(held, self.series))


def _as_wide(held: dict[str, Any], series: int) -> dict[str, Any]:
    missing = series - len(held["panel"]["posterior"])
    if not missing:
        return held

    def widened(part: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value
            if name == "usual_week"
            else np.concatenate([value, np.repeat(value[-1:], missing, axis=0)], axis=0)
            for name, value in part.items()
        }

    return {name: part if name in {"at", "holidays"} else widened(part) for name, part in held.items()}


class Rarities:
    """What odds are how rare for each series, looked up once a block: level and dispersion are a block's."""

    def __init__(self, name: str, share: float) -> None:
        """`share`: of a quiet series' periods, whose odds are `base`."""
        self._name, self._share = name, share
        self._of: tuple[Array, Array] | None = None
        self._rows = np.zeros((0, len(thresholds.SCORES)))
        self.base = np.zeros(0)

    def at(self, level: Array, dispersion: Array) -> None:
        """Look up where anything has changed."""
        if self._of is not None and all(map(np.array_equal, self._of, (level, dispersion))):
            return
        table = thresholds.quantiles(self._name)
        parts = [slice(begin, begin + ROWS) for begin in range(0, len(level), ROWS)]
        rows = np.concatenate([thresholds.at_nodes(table, level[one], dispersion[one]) for one in parts])
        self._rows = np.maximum.accumulate(rows, axis=1)
        self.base = np.concatenate(
            [thresholds.cut_for_share(self._name, self._share, level[one], dispersion[one]) for one in parts]
        )
        self._of = level.copy(), dispersion.copy()

    def exact(self, odds: Array, rows: Ints) -> Array:
        """−log₁₀ of the share of periods in which a quiet series shows such odds, of some rows: `thresholds.score`, without what leans."""
        return thresholds.placed(self._rows[rows], odds[rows])

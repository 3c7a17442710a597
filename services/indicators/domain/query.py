"""A question to the read model: over which periods, split and filtered how, as known when, under which rulebook."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from services.indicators.domain.crosswalk import Carried, Carry
from services.indicators.domain.periods import Periods

Group = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """`as_of`: only what was recorded by then (microseconds since 1970); `rulebook`: codings as of that version.

    What was never decided under it is carried over by the crosswalk: from older versions (`forward`), from newer ones as well
    (`both`; then what is decided later can change an earlier version's report), or not at all (`none`). `carried`: how other
    versions' codes are called in it, read when the question is answered.

    `now` is the instant of asking: what is open is open at `min(end of period, as_of or now)`.
    """

    periods: Periods
    zone: ZoneInfo
    now: int
    group_by: tuple[str, ...] = ()
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    as_of: int | None = None
    rulebook: int | None = None
    carry: Carry = "forward"
    carried: tuple[Carried, ...] | None = None

    @property
    def known(self) -> int:
        """The last instant of which the state is known."""
        return self.now if self.as_of is None else self.as_of

    def only(self, label: str) -> "Query":
        """The same question about one period. Raises KeyError for a label that is not among the periods."""
        if label not in self.periods.labels:
            raise KeyError(label)
        at = self.periods.labels.index(label)
        edges = self.periods.edges[at : at + 2]
        return replace(self, periods=Periods(edges, (label,), self.periods.starts[at : at + 1]))

    def whole(self) -> "Query":
        """The same question about the range as one period."""
        edges = (self.periods.start, self.periods.end)
        return replace(self, periods=Periods(edges, (self.periods.labels[0],), self.periods.starts[:1]))

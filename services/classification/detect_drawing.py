"""One series drawn: counts, what was expected, where it alarmed. On a terminal and as SVG."""

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Self

from services.classification.counts_file import dates
from services.classification.domain.detection.engine import BURST, KINDS

if TYPE_CHECKING:
    from services.classification.counts_file import Named
    from services.classification.domain.detection.engine import Told

SHOWN = 180
HEIGHT = 12
WORDS = {
    "surge": ("brote", "surge"),
    "shift": ("cambio de nivel", "shift"),
    "drift": ("deriva lenta", "drift"),
    "chronic": ("crónica", "chronic"),
    "burst": ("subida aislada", "isolated burst"),
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """The last periods of a series, at most `SHOWN`."""

    name: str
    days: list[str]
    counts: list[int]
    expected: list[float]
    upper: list[float]
    kinds: list[int]
    alarms: list[bool]
    spanish: bool

    @classmethod
    def of(cls, named: "Named", freq: str, since: str | None, told: "Told", *, spanish: bool) -> Self:
        days = list(dates(named, freq))
        begin = max(len(days) - SHOWN, next((i for i, day in enumerate(days) if since is None or day >= since), 0))
        return cls(
            named.name,
            days[begin:],
            named.data.counts.tolist()[begin:],
            told.expected.tolist()[begin:],
            told.upper.tolist()[begin:],
            told.kind.tolist()[begin:],
            told.alarm.tolist()[begin:],
            spanish,
        )

    def runs(self) -> list[tuple[str, str, str, int, float]]:
        """Kind, first and last day, count and expected of every run of alarms or bursts."""
        found: list[tuple[str, str, str, int, float]] = []
        begin: int | None = None
        for place in range(len(self.days) + 1):
            marked = place < len(self.days) and (self.alarms[place] or self.kinds[place] == BURST)
            same = marked and begin is not None and self.alarms[place] == self.alarms[begin]
            if begin is not None and not same:
                part = slice(begin, place)
                kind = KINDS[self.kinds[place - 1]]
                found.append(
                    (kind, self.days[begin], self.days[place - 1], sum(self.counts[part]), sum(self.expected[part]))
                )
                begin = None
            if marked and begin is None:
                begin = place
        return found

    def terminal(self) -> str:
        """Bars of counts, `-` where expected, `!` above alarmed periods and `*` above isolated bursts."""
        top = max([1, *self.counts])
        lines = [f"{self.name}  {self.days[0]} – {self.days[-1]}  max {top}" if self.days else self.name]
        width = max(1, -(-len(self.counts) // 90))
        columns = [range(i, min(i + width, len(self.counts))) for i in range(0, len(self.counts), width)]
        heights = [max(self.counts[i] for i in column) / top * HEIGHT for column in columns]
        usual = [max(self.expected[i] for i in column) / top * HEIGHT for column in columns]
        for level in range(HEIGHT, 0, -1):
            bars = [
                "█" if height >= level - 0.5 else "-" if level - 0.5 <= mean < level + 0.5 else " "
                for height, mean in zip(heights, usual, strict=True)
            ]
            lines.append("  " + "".join(bars).rstrip())
        marks = [
            "!" if any(self.alarms[i] for i in column) else "*" if any(self.kinds[i] == BURST for i in column) else "·"
            for column in columns
        ]
        lines.append("  " + "".join(marks))
        lines += [self._told(*run) for run in self.runs()]
        return "\n".join(lines) + "\n"

    def _told(self, kind: str, begin: str, end: str, count: int, expected: float) -> str:
        word = WORDS[kind][0 if self.spanish else 1]
        if self.spanish:
            return f"  {begin} a {end}: {word}; {count} casos, se esperaban {expected:.1f}"
        return f"  {begin} to {end}: {word}; {count} cases, {expected:.1f} expected"

    def svg(self) -> str:
        """720 × 240; bars, expected line, upper limit, alarmed periods filled."""
        top = max([1.0, *self.counts, *self.upper])
        width = 700 / max(len(self.counts), 1)

        def y(value: float) -> float:
            return round(220 - 200 * value / top, 1)

        bars = []
        for i, count in enumerate(self.counts):
            shade = "#b3261e" if self.alarms[i] else "#e0a030" if self.kinds[i] == BURST else "#9aa5b1"
            bars.append(
                f'<rect x="{10 + i * width:.1f}" y="{y(count)}" width="{max(width - 0.5, 0.5):.1f}" '
                f'height="{round(220 - y(count), 1)}" fill="{shade}"><title>{self.days[i]}: {count}</title></rect>'
            )

        def line(values: list[float], style: str) -> str:
            points = " ".join(f"{10 + (i + 0.5) * width:.1f},{y(value)}" for i, value in enumerate(values))
            return f'<polyline points="{points}" fill="none" {style}/>'

        notes = "; ".join(self._told(*run).strip() for run in self.runs())
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 240" font-family="sans-serif" font-size="11" '
            f'role="img"><title>{escape(self.name)}</title><desc>{escape(notes)}</desc>'
            + "".join(bars)
            + line(self.expected, 'stroke="#1f4e79" stroke-width="1.5"')
            + line(self.upper, 'stroke="#1f4e79" stroke-dasharray="3 3"')
            + f'<text x="10" y="236">{self.days[0] if self.days else ""}</text>'
            + f'<text x="710" y="236" text-anchor="end">{self.days[-1] if self.days else ""}</text></svg>\n'
        )

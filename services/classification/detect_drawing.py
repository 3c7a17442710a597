"""One series drawn: counts, what was expected, where it alarmed. On a terminal and as SVG."""

from dataclasses import dataclass
from html import escape
from itertools import groupby
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

PAINT = {"!": "31", "*": "33"}
"""Red where it alarms, yellow where it is isolated (ECMA-48, select graphic rendition): the marks say the same without colour."""
SENTENCES = {
    "legend": (
        "█ casos  - lo esperado  ! alarma  * subida aislada  · nada",
        "█ cases  - expected  ! alarm  * isolated burst  · nothing",
    ),
    "several": (
        "cada barra son {n} períodos y muestra el más alto",
        "each bar stands for {n} periods and shows the highest",
    ),
    "quiet": ("sin alarmas ni subidas aisladas en estas fechas", "no alarm and no isolated burst on these dates"),
    "none": ("no hay fechas que mostrar desde ese día", "there are no dates to show from that day on"),
    "days": ("{begin} a {end}", "{begin} to {end}"),
    "run": (
        "{days}: {word}; {count} casos, se esperaban {expected}",
        "{days}: {word}; {count} cases, {expected} expected",
    ),
    "drawn": (
        "línea: lo esperado; a trazos: límite de lo normal; rojo: alarma; amarillo: subida aislada",
        "line: expected; dashed: limit of the ordinary; red: alarm; yellow: isolated burst",
    ),
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
        begin = max(
            len(days) - SHOWN, next((i for i, day in enumerate(days) if since is None or day >= since), len(days))
        )
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

    def terminal(self, width: int = 80, *, colour: bool = False) -> str:
        """Bars of counts, `-` where expected, `!` below alarmed periods and `*` below isolated bursts, in `width` characters.

        Where there are more periods than room, a bar stands for several and shows the highest of them.
        """
        if not self.days:
            return f"{self.name}\n  {self._say('none')}\n"
        top = max([1, *self.counts])
        gutter = max(len(str(top)), 2)
        room = max(width - gutter - 2, 20)
        each = -(-len(self.counts) // room)
        columns = [range(i, min(i + each, len(self.counts))) for i in range(0, len(self.counts), each)]
        heights = [max(self.counts[i] for i in column) / top * HEIGHT for column in columns]
        usual = [max(self.expected[i] for i in column) / top * HEIGHT for column in columns]
        marks = [
            "!" if any(self.alarms[i] for i in column) else "*" if any(self.kinds[i] == BURST for i in column) else "·"
            for column in columns
        ]

        def painted(row: list[str]) -> str:
            """The row without blanks at its end; neighbours of one colour are painted together."""
            kept = len("".join(row).rstrip())
            text = ""
            for mark, cells in groupby(zip(row[:kept], marks[:kept], strict=True), key=lambda cell: cell[1]):
                run = "".join(cell for cell, _ in cells)
                text += f"\x1b[{PAINT[mark]}m{run}\x1b[0m" if colour and mark in PAINT else run
            return text

        lines = [self.name]
        for level in range(HEIGHT, 0, -1):
            bars = [
                "█" if height >= level - 0.5 else "-" if level - 0.5 <= mean < level + 0.5 else " "
                for height, mean in zip(heights, usual, strict=True)
            ]
            side = top if level == HEIGHT else ""
            lines.append(f"{side:>{gutter}} {painted(bars)}".rstrip())
        lines.append(f"{0:>{gutter}} {painted(marks)}")
        first, last = self.days[0], self.days[-1]
        span = first if first == last else f"{first}{last:>{max(len(columns) - len(first), len(last) + 3)}}"
        lines.append(" " * (gutter + 1) + span)
        lines.append("")
        lines.append("  " + self._say("legend"))
        if each > 1:
            lines.append("  " + self._say("several", n=each))
        lines += [f"  {self._told(*run)}" for run in self.runs()] or ["  " + self._say("quiet")]
        return "\n".join(lines) + "\n"

    def _say(self, name: str, **values: object) -> str:
        return SENTENCES[name][0 if self.spanish else 1].format(**values)

    def _told(self, kind: str, begin: str, end: str, count: int, expected: float) -> str:
        word = WORDS[kind][0 if self.spanish else 1]
        mean = f"{expected:.1f}".replace(".", "," if self.spanish else ".")
        days = begin if begin == end else self._say("days", begin=begin, end=end)
        return self._say("run", days=days, word=word, count=count, expected=mean)

    def svg(self) -> str:
        """720 × 240; bars, expected line, upper limit, alarmed periods filled red and isolated ones yellow, all of it named."""
        top = max([1.0, *self.counts, *self.upper])
        width = 700 / max(len(self.counts), 1)

        def y(value: float) -> float:
            return round(220 - 190 * value / top, 1)

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

        notes = "; ".join(self._told(*run) for run in self.runs()) or self._say("quiet")
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 240" font-family="sans-serif" font-size="11" '
            f'role="img"><title>{escape(self.name)}</title><desc>{escape(notes)}</desc>'
            + "".join(bars)
            + line(self.expected, 'stroke="#1f4e79" stroke-width="1.5"')
            + line(self.upper, 'stroke="#1f4e79" stroke-dasharray="3 3"')
            + f'<text x="10" y="12">{escape(self.name[:30])}</text>'
            + f'<text x="710" y="12" text-anchor="end">{self._say("drawn")}</text>'
            + f'<text x="10" y="26">{top:.0f}</text>'
            + f'<text x="10" y="236">{self.days[0] if self.days else ""}</text>'
            + f'<text x="710" y="236" text-anchor="end">{self.days[-1] if self.days else ""}</text></svg>\n'
        )

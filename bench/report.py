"""What was measured, as `bench/results.json` and as a table that a person reads."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).resolve().parent / "results.json"


@dataclass(frozen=True, slots=True)
class Bar:
    """One number beside what bounds it, from the same run. `holds` is None where nothing is promised."""

    name: str
    what: str
    value: float | None
    unit: str
    bar: str
    holds: bool | None
    limit: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


def at_least(
    name: str, what: str, value: float, unit: str, share: float, limit: float, *,
    peers: Mapping[str, float] | None = None, note: str = "",
) -> Bar:  # fmt: skip
    """A rate that must reach a share of the limit that was measured beside it; the peers' rates are told."""
    bar = f">= {share:g} x limit"
    return Bar(name, what, value, unit, bar, value >= share * limit, limit=limit, peers=peers or {}, note=note)


def at_most(name: str, what: str, value: float, unit: str, bound: float, *, note: str = "") -> Bar:
    """A time or a size that must stay below a fixed bound."""
    return Bar(name, what, value, unit, f"<= {bound:g} {unit}", value <= bound, limit=bound, note=note)


def than_peers(
    name: str, what: str, value: float, unit: str, times: float, peers: Mapping[str, float], absent: Sequence[str]
) -> Bar:
    """A rate that must be so many times that of each peer. Absent peers are named; with none there, nothing is known."""
    note = f"absent: {', '.join(absent)}" if absent else ""
    holds = all(value >= times * rate for rate in peers.values()) if peers else None
    return Bar(name, what, value, unit, f">= {times:g} x peer", holds, peers=dict(peers), note=note)


def told(name: str, what: str, value: float, unit: str, *, limit: float | None = None, note: str = "") -> Bar:
    """A number that is reported and promises nothing."""
    return Bar(name, what, value, unit, "reported", None, limit=limit, note=note)


def middle(values: Sequence[float]) -> float:
    return float(median(values))


def write(bars: Sequence[Bar]) -> None:
    """Write the results; those of benchmarks that were not run this time stay as they were."""
    known: dict[str, object] = {}
    if RESULTS.exists():
        known = json.loads(RESULTS.read_text("utf-8"))
    ran = {bar.name.partition(".")[0] for bar in bars}
    kept = {name: row for name, row in known.items() if name.partition(".")[0] not in ran}
    for bar in bars:
        kept[bar.name] = {
            "what": bar.what,
            "value": _short(bar.value),
            "unit": bar.unit,
            "limit": _short(bar.limit),
            "peers": {name: _short(value) for name, value in bar.peers.items()},
            "bar": bar.bar,
            "holds": bar.holds,
            "note": bar.note,
        }
    RESULTS.write_text(json.dumps(dict(sorted(kept.items())), indent=2, ensure_ascii=False) + "\n", "utf-8")


def table(bars: Sequence[Bar]) -> str:
    """One line per bar: value, limit or peers, ratio, verdict."""
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}",
        "",
        f"{'':10} {'measured':>12}  {'beside':>26} {'ratio':>7}  {'bar':18} {'':5} what",
    ]
    for bar in bars:
        beside = _number(bar.limit) if bar.limit is not None else ""
        ratio = f"{bar.value / bar.limit:.2f}" if bar.value is not None and bar.limit else ""
        if bar.peers and bar.limit is None:
            beside = ", ".join(f"{name} {_number(rate)}" for name, rate in bar.peers.items())
            if bar.value is not None:
                ratio = f"{bar.value / max(bar.peers.values()):.1f}"
        verdict = {True: "holds", False: "FAILS", None: ""}[bar.holds]
        value = "-" if bar.value is None else _number(bar.value)
        lines.append(
            f"{bar.name:10} {value:>12}  {beside:>26} {ratio:>7}  {bar.bar:18} {verdict:5} {bar.what} ({bar.unit})"
            + (f"; {bar.note}" if bar.note else "")
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")

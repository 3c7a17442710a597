"""Vega-Lite specifications of the charts, and their drawing on the server.

A specification carries its data and says nothing of colours: the page (or `draw`) lays its theme over it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from babel.dates import get_day_names, get_month_names, get_period_names

from libs.events.offload import offload
from services.indicators.console.render import MESSAGES
from services.indicators.domain.arithmetic import TOO_FEW
from services.indicators.domain.periods import instant
from services.indicators.domain.query import Query
from services.indicators.domain.registry import UNITS
from services.indicators.views.lists import Bar, Names
from services.indicators.views.measures import Answer

Spec = dict[str, Any]

GROUPS: Final = 6  # lines a reader can tell apart; the rest is in the table
_TEXT: Final[dict[str, dict[str, str]]] = {
    "period": {"es": "Periodo", "en": "Period"},
    "value": {"es": "Valor", "en": "Value"},
    "low": {"es": "Intervalo, desde", "en": "Interval, from"},
    "high": {"es": "Intervalo, hasta", "en": "Interval, to"},
    "numerator": {"es": "Numerador", "en": "Numerator"},
    "denominator": {"es": "Denominador", "en": "Denominator"},
    "cases": {"es": "Casos", "en": "Cases"},
    "share": {"es": "Participación, %", "en": "Share, %"},
    "cumulative": {"es": "Acumulado, %", "en": "Cumulative, %"},
    "customers": {"es": "Clientes", "en": "Customers"},
    "motive": {"es": "Motivo", "en": "Motive"},
    "cause": {"es": "Causa", "en": "Cause"},
    "group": {"es": "Grupo", "en": "Group"},
    "unknown": {"es": "sin dato", "en": "not given"},
    "began": {"es": "empezó", "en": "began"},
    "acted": {"es": "acción", "en": "action"},
    "pareto": {"es": "Casos por {by}, de mayor a menor, con su acumulado", "en": "Cases by {by}, most first, with their running share"},
}  # fmt: skip

THEMES: Final[dict[str, Spec]] = {
    "light": {"text": "#3f4a4c", "line": "#dfe5e4", "accent": "#0b6e69", "second": "#a3480c", "band": "#0b6e69", "paper": "#ffffff"},
    "dark": {"text": "#b9c5c5", "line": "#2c3739", "accent": "#5cc8bd", "second": "#f0a56b", "band": "#5cc8bd", "paper": "#151c1d"},
}  # fmt: skip
# Told apart by people with any colour vision (after Okabe and Ito), the accent first.
PALETTES: Final[dict[str, list[str]]] = {
    "light": ["#0b6e69", "#c4570b", "#4a5fb3", "#b58a00", "#8e4585", "#3d8f4f", "#7b868a"],
    "dark": ["#5cc8bd", "#f0a56b", "#9db0f5", "#e6c65c", "#d79bd0", "#8ad49a", "#9aa5a8"],
}


def say(key: str, language: str) -> str:
    return _TEXT[key][language]


def locale(language: str) -> Spec:
    """Names of days and months and the decimal sign, for Vega (d3 locale definitions)."""
    days, short = get_day_names("wide", locale=language), get_day_names("abbreviated", locale=language)
    months, few = get_month_names("wide", locale=language), get_month_names("abbreviated", locale=language)
    order = [6, 0, 1, 2, 3, 4, 5]
    periods = get_period_names(locale=language)
    spanish = language == "es"
    return {
        "number": {"decimal": "," if spanish else ".", "thousands": "." if spanish else ",", "grouping": [3], "currency": ["$", ""]},
        "time": {
            "dateTime": "%A, %e de %B de %Y, %X" if spanish else "%x, %X", "date": "%d/%m/%Y" if spanish else "%m/%d/%Y",
            "time": "%H:%M:%S", "periods": [periods.get("am", "AM"), periods.get("pm", "PM")],
            "days": [days[one] for one in order], "shortDays": [short[one] for one in order],
            "months": [months[one] for one in range(1, 13)], "shortMonths": [few[one] for one in range(1, 13)],
        },
    }  # fmt: skip


def _base(title: str, language: str) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": title,
        "width": "container",
        "height": 220,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": {"locale": locale(language)},
    }


def word(dimension: str, value: str, language: str) -> str:
    """The word for a value that no rulebook names."""
    return say("unknown", language) if value == "unknown" else MESSAGES[language].get(f"{dimension}.{value}", value)


def _group_name(names: Names, dimensions: tuple[str, ...], group: tuple[str, ...], language: str) -> str:
    sections = {
        "motive": "motives",
        "cause": "causes",
        "component": "components",
        "factor": "factors",
        "procedure": "procedures",
    }
    parts = []
    for dimension, value in zip(dimensions, group, strict=True):
        text = names.get(sections.get(dimension, f"{dimension}s"), {}).get(value, {})
        parts.append(text.get(language) or word(dimension, value, language))
    return " · ".join(parts)


def wall(label: str) -> str:
    """A period's label as a wall-clock time for Vega, which must not shift it into the reader's own zone."""
    return f"{label[:16]}:00Z" if "T" in label else f"{label}T00:00:00Z"


def _tick(label: str) -> dict[str, int | bool]:
    """A place on a temporal axis. Vega's interpreter, which the strict content policy needs, gives `datetime(<milliseconds>)`
    another meaning than its compiler: an axis of such numbers has no labels in the browser, and has them on the server."""
    at = datetime.fromisoformat(wall(label)).astimezone(UTC)
    return {
        "year": at.year, "month": at.month, "date": at.day, "hours": at.hour, "minutes": at.minute, "utc": True,
    }  # fmt: skip


MARKS: Final = ("began", "acted")
"""What may be marked on a chart of counts, each with the date on which it was."""


def _marked(marks: Sequence[tuple[str, date]], query: Query, x: Spec, language: str) -> list[Spec]:
    """Layers with a rule at the period of each mark and its word above the drawing, where no bar is; higher where words would meet."""
    starts, end = query.periods.starts, instant(query.periods.end).astimezone(query.zone).date()
    layers: list[Spec] = []
    before, level = len(starts), 0
    for word, at in sorted(marks, key=lambda mark: mark[1]):
        if not starts[0] <= at < end:
            continue
        place = bisect_right(starts, at) - 1
        level = level + 1 if layers and 5 * (place - before) < len(starts) else 0
        before = place
        row = {"period": wall(query.periods.labels[place]), "word": say(word, language)}
        text = {"type": "text", "baseline": "bottom", "style": "limit", "strokeWidth": 0, "fontSize": 12}
        above = {"y": {"value": -3 - 15 * level}, "text": {"field": "word"}}
        layers += [
            {"data": {"values": [row]}, "mark": {"type": "rule", "strokeDash": [4, 4], "style": "limit"}, "encoding": {"x": x}},
            {"data": {"values": [row]}, "mark": text, "encoding": {"x": x, **above}},
        ]  # fmt: skip
    return layers


def series(answer: Answer, names: Names, language: str, marks: Sequence[tuple[str, date]] = ()) -> Spec:
    """An indicator over its periods: bars for counts, a line with its interval otherwise, stacked shares when split.

    `marks`: days of which bars of counts are to say something, each with a word of `MARKS`."""
    one, query = answer.indicator, answer.query
    title = one.names[language]
    weight: dict[tuple[str, ...], float] = {}
    for point in answer.points:
        weight[point.group] = weight.get(point.group, 0) + (point.measured.numerator or 0)
    kept = sorted(weight, key=lambda group: (-weight[group], group))[:GROUPS]
    rows = []
    for point in answer.points:
        m = point.measured
        if point.group not in kept or m.value is None or m.value == TOO_FEW:
            continue
        rows.append(
            {
                "period": wall(query.periods.labels[point.period]),
                "value": m.value, "low": m.low, "high": m.high, "numerator": m.numerator, "denominator": m.denominator,
                "group": _group_name(names, query.group_by, point.group, language), "rank": kept.index(point.group),
            }
        )  # fmt: skip
    hourly = any("T" in label for label in query.periods.labels[:1])
    unit = UNITS[one.unit][language]
    places = [_tick(text) for text in query.periods.labels]
    # From the first period asked about to the last: an axis over what there happens to be lays its other dates on one spot.
    span = {"domain": [places[0], places[-1]]} if len(places) > 1 else {}
    x: Spec = {
        "field": "period", "type": "temporal", "scale": {"type": "utc", **span}, "title": None,
        "axis": {"format": "%e %b %H:%M" if hourly else "%e %b", "labelOverlap": "greedy", "labelSeparation": 8, "grid": False, "values": places[:: max(1, -(-len(places) // 7))]},
    }  # fmt: skip
    y: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": unit,
        "axis": {"tickCount": 5},
        "scale": {"zero": True, "nice": True},
    }
    tooltip: list[Spec] = [
        {"field": "period", "type": "temporal", "title": say("period", language), "format": "%e %b %Y %H:%M" if hourly else "%e %b %Y"},
        {"field": "value", "type": "quantitative", "title": f"{title} ({unit})", "format": ",.4~g" if one.form in {"count", "distinct", "level"} else ",.1f"},
    ]  # fmt: skip
    if one.form not in {"count", "distinct", "level"}:
        tooltip += [
            {"field": name, "type": "quantitative", "title": say(name, language), "format": ",.4~g"}
            for name in ("numerator", "denominator")
        ]
    tooltip += [
        {"field": name, "type": "quantitative", "title": say(name, language), "format": ",.1f"}
        for name in ("low", "high")
        if one.form != "level"
    ]
    if query.group_by:
        tooltip.insert(1, {"field": "group", "type": "nominal", "title": say("group", language)})
    # The period's format is taken in UTC, as the wall times are written.
    for item in tooltip:
        if item["type"] == "temporal":
            item["timeUnit"] = "utcyearmonthdatehoursminutes"
    color: Spec = {
        "field": "group",
        "type": "nominal",
        "title": None,
        "legend": {"orient": "bottom", "columns": 2, "labelLimit": 260},
    }
    spec = _base(title, language) | {"data": {"values": rows}}
    if query.group_by:
        order = [_group_name(names, query.group_by, group, language) for group in kept]
        color["sort"] = order
        if one.by is not None and query.group_by == (one.by,):
            return spec | {"height": 280, "mark": {"type": "bar"}, "encoding": {"x": _banded(x), "y": y | {"stack": "zero"}, "color": color, "order": {"field": "rank", "type": "quantitative"}, "tooltip": tooltip}}  # fmt: skip
        return spec | {
            "height": 280,
            "mark": {"type": "line", "point": True},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip},
        }
    if one.form in {"count", "distinct"}:
        bars = {
            "mark": {"type": "bar", "cornerRadiusEnd": 2},
            "encoding": {"x": _banded(x), "y": y, "tooltip": tooltip},
        }
        also = _marked(marks, query, _banded(x), language)
        return spec | ({"layer": [bars, *also]} if also else bars)
    layers: list[Spec] = [{"mark": {"type": "line", "point": {"size": 28}}, "encoding": {"y": y, "tooltip": tooltip}}]
    if one.form != "level":
        band = {"y": {"field": "low", "type": "quantitative", "title": unit}, "y2": {"field": "high"}}
        layers.insert(0, {"mark": {"type": "area", "opacity": 0.15, "style": "band"}, "encoding": band})
    return spec | {"encoding": {"x": x}, "layer": layers}


def _banded(x: Spec) -> Spec:
    """Bars stand one a period; a temporal axis would make them hair-thin, an ordinal one keeps their width."""
    return {
        **x, "type": "ordinal", "timeUnit": "utcyearmonthdatehoursminutes",
        "scale": {"paddingInner": 0.25}, "axis": {name: value for name, value in x["axis"].items() if name != "values"} | {"labelAngle": 0},
    }  # fmt: skip


def pareto(bars: list[Bar], total: int, by: str, section: dict[str, dict[str, str]], language: str) -> Spec:
    """Values by their cases, most first, with the running share and the line at 80 %."""
    named = [(bar, section.get(bar.value, {}).get(language) or word(by, bar.value, language)) for bar in bars[:15]]  # fmt: skip
    rows = [
        {"value": name, "cases": bar.measured.numerator, "share": 100 * (bar.measured.numerator or 0) / total if total else 0, "cumulative": bar.cumulative, "customers": bar.customers}
        for bar, name in named
    ]  # fmt: skip
    by_name = _TEXT[by][language] if by in _TEXT else by
    title = say("pareto", language).format(by=by_name.lower())
    order = [row["value"] for row in rows]
    y: Spec = {"field": "value", "type": "nominal", "sort": order, "title": None, "axis": {"labelLimit": 220}}
    tooltip = [{"field": "value", "type": "nominal", "title": by_name}]
    tooltip += [
        {"field": name, "type": "quantitative", "title": say(name, language), "format": ",.4~g" if name in {"cases", "customers"} else ",.1f"}
        for name in ("cases", "share", "cumulative", "customers")
    ]  # fmt: skip
    return _base(title, language) | {
        "height": max(60, 30 * len(rows)),
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "bar", "cornerRadiusEnd": 2, "height": {"band": 0.62}},
                "encoding": {"y": y, "x": {"field": "share", "type": "quantitative", "title": "%", "scale": {"domain": [0, 100]}, "axis": {"tickCount": 5}}, "tooltip": tooltip},
            },
            {
                "mark": {"type": "line", "style": "second", "interpolate": "linear"},
                "encoding": {"y": y, "x": {"field": "cumulative", "type": "quantitative"}, "order": {"field": "cumulative", "type": "quantitative"}},
            },
            {"mark": {"type": "point", "filled": True, "size": 40, "style": "second"}, "encoding": {"y": y, "x": {"field": "cumulative", "type": "quantitative"}, "tooltip": tooltip}},
            {"mark": {"type": "rule", "strokeDash": [4, 4], "style": "limit"}, "encoding": {"x": {"datum": 80}}},
        ],
    }  # fmt: skip


def config(theme: str) -> Spec:
    """Colours and type of a theme, as a Vega-Lite config."""
    c = THEMES[theme]
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
    return {
        "background": "transparent",
        "font": font,
        "view": {"stroke": "transparent"},
        "mark": {"color": c["accent"]},
        "line": {"strokeWidth": 2},
        "axis": {
            "labelColor": c["text"], "titleColor": c["text"], "gridColor": c["line"], "domainColor": c["line"],
            "tickColor": c["line"], "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        },
        "legend": {"labelColor": c["text"], "titleColor": c["text"], "labelFontSize": 12, "symbolType": "square"},
        "range": {"category": PALETTES[theme]},
        "style": {
            "band": {"fill": c["band"]}, "limit": {"stroke": c["text"], "color": c["text"]}, "second": {"color": c["second"]},
        },
    }  # fmt: skip


def themed(spec: Spec, theme: str, width: int = 760) -> Spec:
    """A specification that stands alone: its own width, colours laid under what it says itself."""
    own = spec.get("config", {})
    return {**spec, "width": width, "background": THEMES[theme]["paper"], "config": {**config(theme), **own}}


async def draw(spec: Spec, form: str, theme: str) -> bytes:
    """The chart as SVG or PNG (2 × for sharp screens). V8 takes 0.1 s the first time, so it works in a thread."""
    return await offload(_draw, themed(spec, theme), form)


def _draw(spec: Spec, form: str) -> bytes:
    import vl_convert  # starts a JavaScript engine (100 MB): only processes that draw pay for it

    locales = spec["config"].pop("locale")
    options = {"vl_version": "6.1", "format_locale": locales["number"], "time_format_locale": locales["time"]}
    if form == "svg":
        text: str = vl_convert.vegalite_to_svg(spec, **options)
        return text.encode()
    drawn: bytes = vl_convert.vegalite_to_png(spec, scale=2, **options)
    return drawn

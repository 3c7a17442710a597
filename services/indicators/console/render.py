"""Pages in two languages: templates, messages, numbers and dates as the reader writes them."""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.indicators.domain.periods import instant

HERE = Path(__file__).parent
LANGUAGES = ("es", "en")
MESSAGES: dict[str, dict[str, str]] = {
    language: {
        key: text
        for path in (HERE / "locale" / f"{name}{language}.json" for name in ("", "findings.", "models."))
        for key, text in json.loads(path.read_text(encoding="utf-8")).items()
    }
    for language in LANGUAGES
}
# Spanish and English as most readers of each write them; es_419 has the decimal comma of Colombia and Spain.
_LOCALES = {"es": "es_CO", "en": "en_GB"}

_jinja = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Voice:
    """How one reader is spoken to: language and time zone."""

    def __init__(self, language: str, zone: ZoneInfo) -> None:
        self.language, self.zone, self.locale = language, zone, _LOCALES[language]

    def t(self, key: str, **values: Any) -> str:
        """A message. KeyError for one that is not in the catalogue: tests load every page."""
        text = MESSAGES[self.language][key]
        return text.format(**values) if values else text

    def maybe(self, prefix: str, code: Any) -> str:
        """The word for a code of a closed list; the code itself where the catalogue has none."""
        return MESSAGES[self.language].get(f"{prefix}.{code}", str(code))

    def n(self, value: Any, digits: int | None = None) -> str:
        """A number: whole ones whole, others with one decimal unless told."""
        if value is None:
            return "–"
        if isinstance(value, str):
            return self.t("too_few")
        if digits is None:
            digits = 0 if float(value).is_integer() else 1
        return format_decimal(
            round(value, digits), format="#,##0" + ("." + "0" * digits if digits else ""), locale=self.locale
        )

    def measure(self, value: Any) -> str:
        """A number whose size is not known beforehand: whole ones whole, others to three digits that say something."""
        if not isinstance(value, int | float) or value == 0 or float(value).is_integer():
            return self.n(value)
        if abs(value) < 0.001:
            return f"< {self.n(0.001, 3)}" if value > 0 else self.n(value, 6)
        return self.n(value, max(0, 2 - math.floor(math.log10(abs(value)))))

    def written_day(self, text: str) -> str:
        """A date as events write it (2026-03-05) in words."""
        return self.day(date.fromisoformat(text[:10]))

    def day(self, at: int | datetime | date) -> str:
        """A date in words: 5 mar 2026."""
        if isinstance(at, int):
            at = instant(at)
        if isinstance(at, datetime):
            at = at.astimezone(self.zone).date()
        return format_date(at, "d MMM y", locale=self.locale)

    def time(self, at: int | datetime) -> str:
        """A date with the time of day."""
        moment = instant(at) if isinstance(at, int) else at
        return format_datetime(moment.astimezone(self.zone), "d MMM y, HH:mm", locale=self.locale)

    def iso(self, at: int | datetime) -> str:
        return (instant(at) if isinstance(at, int) else at).isoformat()

    def since(self, seconds: float) -> str:
        """An age in its largest whole unit."""
        for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
            if seconds >= length:
                return self.t(f"age.{unit}", n=self.n(int(seconds // length)))
        return self.t("age.seconds", n=self.n(int(seconds)))


def page(template: str, voice: Voice, values: Mapping[str, Any]) -> str:
    """A page as text."""
    return _jinja.get_template(template).render(v=voice, t=voice.t, lang=voice.language, **values)

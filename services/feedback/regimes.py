"""Reads deadline packs. The holidays come from the `holidays` library, corrected by the pack."""

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from libs.events.catalogue.interactions import Kind
from services.feedback.domain.calendars import MAX_AMOUNT, Calendar, Term
from services.feedback.domain.regimes import Regime, Source, Terms

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_COUNTRY = "ZZ"
FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "rulebooks" / "regimes"


class BadRegime(ValueError):
    """A pack that cannot be used; says which file, which field and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Term(_Strict):
    amount: int = Field(gt=0, le=MAX_AMOUNT)
    unit: Literal["business_day", "calendar_day", "hour"]
    roll: bool = False

    def term(self) -> Term:
        return Term(self.amount, self.unit, self.roll)


class _Terms(_Strict):
    acknowledge: _Term | None = None
    resolve: _Term | None = None

    def over(self, default: Terms) -> Terms:
        return Terms(
            self.acknowledge.term() if self.acknowledge else default.acknowledge,
            self.resolve.term() if self.resolve else default.resolve,
        )


class _Default(_Strict):
    acknowledge: _Term
    resolve: _Term


class _Source(_Strict):
    title: str
    url: str | None = None
    checked: date


class _Calendar(_Strict):
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    subdivision: str | None = None
    zone: str
    weekend: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(
        default=["sat", "sun"], max_length=6
    )
    closed: list[date] = Field(default_factory=list)
    worked: list[date] = Field(default_factory=list)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value} is no time zone of the IANA list") from None
        return value


class _Both(_Strict):
    es: str
    en: str


class _Pack(_Strict):
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    name: _Both
    notice: _Both
    checked: date
    sources: list[_Source] = Field(min_length=1)
    calendar: _Calendar
    default: _Default
    kinds: dict[Kind, _Terms] = Field(default_factory=dict)
    motives: dict[str, _Terms] = Field(default_factory=dict)


def holiday_rule(code: str, subdivision: str | None, closed: list[date], worked: list[date]) -> Callable[[date], bool]:
    """Whether a local date is off; raises NotImplementedError for a country the library does not know."""
    off, on = frozenset(closed), frozenset(worked)
    if code == NO_COUNTRY:
        return lambda day: day in off
    import holidays  # a third of a second, and only a pack of a country needs it

    known = holidays.country_holidays(code, subdiv=subdivision)
    return lambda day: day in off or (day not in on and day in known)


def parse(text: str, name: str = "regime") -> Regime:
    """A regime from its YAML; raises BadRegime."""
    try:
        pack = _Pack.model_validate(yaml.safe_load(text))
        calendar = pack.calendar
        rule = holiday_rule(calendar.code, calendar.subdivision, calendar.closed, calendar.worked)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise BadRegime(f"{name}: {place}: {first['msg']}") from None
    except yaml.YAMLError as error:
        raise BadRegime(f"{name}: not YAML: {error}") from None
    except NotImplementedError as error:
        raise BadRegime(f"{name}: calendar.code: {error}") from None
    default = Terms(pack.default.acknowledge.term(), pack.default.resolve.term())
    return Regime(
        code=pack.code,
        name=pack.name.model_dump(),
        notice=pack.notice.model_dump(),
        checked=pack.checked,
        sources=tuple(Source(source.title, source.url, source.checked) for source in pack.sources),
        calendar=Calendar(
            code=calendar.code,
            zone=ZoneInfo(calendar.zone),
            holiday=rule,
            weekend=frozenset(WEEKDAYS.index(day) for day in calendar.weekend),
        ),
        default=default,
        kinds={str(kind): terms.over(default) for kind, terms in pack.kinds.items()},
        motives={motive: terms.over(default) for motive, terms in pack.motives.items()},
    )


def load(folder: Path = FOLDER) -> dict[str, Regime]:
    """Every pack of a folder by its code; raises BadRegime, also for a code given twice and for a folder without packs."""
    found: dict[str, Regime] = {}
    for path in sorted(folder.glob("*.yaml")):
        regime = parse(path.read_text(encoding="utf-8"), path.name)
        if regime.code in found:
            raise BadRegime(f"{path.name}: the code {regime.code} is taken by another pack")
        found[regime.code] = regime
    if not found:
        raise BadRegime(f"{folder} holds no deadline pack (*.yaml)")
    return found


class Regimes:
    """Which regime rules a case: the one set for its source, else the general one."""

    def __init__(self, packs: Mapping[str, Regime], general: str, by_source: Mapping[str, str]) -> None:
        for code in (general, *by_source.values()):
            if code not in packs:
                raise BadRegime(f"there is no deadline pack {code}; there are {', '.join(sorted(packs))}")
        self.packs = packs
        self._general = packs[general]
        self._by_source = {source: packs[code] for source, code in by_source.items()}

    def of(self, source: str) -> Regime:
        return self._by_source.get(source, self._general)

    def calendar(self, code: str) -> Calendar:
        """The calendar of a pack; of the general one where the pack has been taken away since."""
        return self.packs.get(code, self._general).calendar

"""Mappings: how rows of somebody's file become interactions. Declarative YAML; what is wrong is named with its remedy."""

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.intake.domain.interactions import CustomerIn, InteractionIn

_HOLE = re.compile(r"\{([^{}]*)\}")
_TOP = frozenset(InteractionIn.__annotations__) - {"source", "customer", "amount", "attributes"}
_CUSTOMER = frozenset(CustomerIn.__annotations__)
_TARGET = re.compile(r"customer\.[a-z0-9][a-z0-9_.\-]{0,39}|attributes\..{1,64}|amount\.(amount|currency)")
TRUE = frozenset({"1", "true", "yes", "y", "si", "sí", "s", "t", "x", "verdadero"})
FALSE = frozenset({"0", "false", "no", "n", "f", "falso", ""})


class WrongMapping(Exception):
    """The mapping cannot be used. The text names the place in the mapping and the remedy."""


class WrongRow(Exception):
    """One row cannot become an interaction; the others go on. `column` is where it failed, if one did."""

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.column = reason, column


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Csv(_Part):
    """How a CSV file is written."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    header: bool | list[str] = True

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab(cls, value: Any) -> Any:
        return "\t" if value in {"tab", "\\t"} else value


class Spread(_Part):
    """Rows without a date get one in this range, always the same one for the same row."""

    start: date = Field(alias="from")
    end: date = Field(alias="to")

    @model_validator(mode="after")
    def _ordered(self) -> "Spread":
        if self.end < self.start:
            raise ValueError("`to` lies before `from`")
        return self


class Missing(_Part):
    """What to do for rows without an id or a date."""

    external_id: Literal["digest", "refuse"] = "digest"
    occurred_at: Literal["file", "refuse"] | Spread = "refuse"


class When(_Part):
    """A condition on a row: the column's text, stripped, is one of `equals`, or empty."""

    column: str
    equals: list[str] | str | None = None
    empty: bool | None = None


class Skip(_Part):
    """Rows that are no interactions: passed over and counted, not refused."""

    empty_rows: bool = True
    when: list[When] = Field(default_factory=list)


class Rule(_Part):
    """Where a field's value comes from, and what is done to it on the way."""

    column: str | None = None
    first_of: list[str] | None = None
    template: str | None = None
    constant: str | int | float | bool | None = None
    map: dict[str, str] | None = None
    otherwise: str | None = None
    formats: list[str] | None = None
    zone: str | None = None
    type: Literal["text", "number", "boolean"] = "text"
    strip: bool = True
    optional: bool = False  # the file may lack the column

    @model_validator(mode="after")
    def _one_origin(self) -> "Rule":
        given = [name for name in ("column", "first_of", "template", "constant") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of: column, first_of, template, constant")
        if self.otherwise is not None and self.map is None:
            raise ValueError("`otherwise` belongs to a `map`")
        return self

    def columns(self) -> list[str]:
        """The columns this rule reads."""
        if self.column is not None:
            return [self.column]
        if self.first_of is not None:
            return self.first_of
        return _HOLE.findall(self.template or "")


class SourceRule(_Part):
    """What the source is registered with when it is not there yet."""

    name: str | None = None
    region: str | None = None
    defaults: dict[str, str] = Field(default_factory=dict)


def _rule(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class MappingFile(_Part):
    """A whole mapping file."""

    format: Literal["csv", "json", "ndjson", "parquet", "eml", "mbox"] | None = None
    encoding: str = "utf-8"
    csv: Csv = Csv()
    zone: str | None = None
    dates: list[str] = Field(default_factory=list)
    source: SourceRule = SourceRule()
    skip: Skip = Skip()
    constants: dict[str, str | int | float | bool] = Field(default_factory=dict)
    fields: dict[str, Rule] = Field(default_factory=dict)
    missing: Missing = Missing()

    @field_validator("fields", mode="before")
    @classmethod
    def _short_rules(cls, value: Any) -> Any:
        return {name: _rule(rule) for name, rule in value.items()} if isinstance(value, dict) else value

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError(f"no such encoding: {value}; common ones: utf-8, latin-1, cp1252, mac_roman") from None
        return value

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None:
            zone_of(value)
        return value

    @model_validator(mode="after")
    def _targets(self) -> "MappingFile":
        for name in (*self.fields, *self.constants):
            if name not in _TOP and not _TARGET.fullmatch(name):
                near = difflib.get_close_matches(name, [*_TOP, *(f"customer.{part}" for part in _CUSTOMER)], n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"{name} is no field of an interaction{hint}")
        for name, rule in self.fields.items():
            if rule.zone is not None:
                zone_of(rule.zone)
            if (rule.formats or rule.zone) and name != "occurred_at":
                raise ValueError(f"fields.{name}: formats and zone are for occurred_at")
        return self


def zone_of(name: str) -> tzinfo:
    """A time zone by its IANA name; ValueError with an example for anything else."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no such time zone: {name}; an example: America/Bogota") from None


def load(path: Path) -> MappingFile:
    """Read and check a mapping file; raises WrongMapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongMapping(f"{path}: cannot be read: {error}") from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WrongMapping(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise WrongMapping(f"{path}: a mapping begins with `fields:`")
    try:
        return MappingFile.model_validate(found)
    except ValidationError as error:
        found_errors = error.errors(include_url=False)
        # Of the branches of a choice the one that was meant is the one whose own rule speaks.
        first = next((item for item in found_errors if item["type"] == "value_error"), found_errors[0])
        where = ".".join(str(part) for part in first["loc"]) or "mapping"
        text = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(first["loc"][-1]), MappingFile.model_fields, n=1)
            text = "no such setting" + (f"; did you mean {near[0]}?" if near else "")
        raise WrongMapping(f"{path}: {where}: {text}") from None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its number from 1 without the header, the line it begins at, and its values by column."""

    number: int
    line: int | None
    values: Mapping[str, Any]


class Mapper:
    """Applies a mapping to the rows of one file."""

    def __init__(self, mapping: MappingFile, source: str, file_date: datetime) -> None:
        self._mapping, self._source, self._file_date = mapping, source, file_date
        self._zone = zone_of(mapping.zone) if mapping.zone else None
        self._seen: dict[bytes, int] = {}

    def check(self, columns: Sequence[str]) -> None:
        """Raises WrongMapping when the mapping names a column that the file does not have."""
        uses = [
            (f"fields.{name}", column)
            for name, rule in self._mapping.fields.items()
            if not rule.optional
            for column in rule.columns()
        ]
        uses += [(f"skip.when[{index}]", when.column) for index, when in enumerate(self._mapping.skip.when)]
        for place, column in uses:
            if column not in columns:
                near = difflib.get_close_matches(column, columns, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                listed = ", ".join(repr(name) for name in columns[:30])
                raise WrongMapping(
                    f"{place} names the column {column!r}, which the file does not have{hint} It has: {listed}"
                )

    def skipped(self, row: Row) -> bool:
        """Whether the row is no interaction at all."""
        skip = self._mapping.skip
        if skip.empty_rows and not any(_text(value).strip() for value in row.values.values()):
            return True
        return any(_holds(when, _text(row.values.get(when.column)).strip()) for when in skip.when)

    def element(self, row: Row) -> dict[str, Any]:
        """The interaction in a row; raises WrongRow."""
        element: dict[str, Any] = {"source": self._source}
        for name, constant in self._mapping.constants.items():
            _put(element, name, constant)
        for name, rule in self._mapping.fields.items():
            value = self._value(name, rule, row)
            if value is not None and value != "":
                _put(element, name, value)
        if "external_id" not in element:
            element["external_id"] = self._digest(row)
        if "occurred_at" not in element:
            element["occurred_at"] = self._date(element["external_id"])
        if "customer" not in element:
            # Nobody known: each contact has a person of its own, so that its words can be sealed and erased.
            element["customer"] = {"id": f"contact-{element['external_id']}"}
        return element

    def _value(self, name: str, rule: Rule, row: Row) -> Any:
        column: str | None = None
        if rule.constant is not None:
            return rule.constant
        if rule.template is not None:
            value: Any = _fill(rule.template, row.values)
        else:
            value = None
            for column in rule.columns():
                value = row.values.get(column)
                if _text(value).strip():
                    break
        if name == "occurred_at":
            return None if not _text(value).strip() else self._moment(value, rule, column)
        text = _text(value)
        if rule.strip:
            text = text.strip()
        if rule.map is not None:
            key = text.strip()
            if key in rule.map:
                text = rule.map[key]
            elif rule.otherwise is not None:
                text = rule.otherwise
            elif key:
                raise WrongRow(
                    f"{key[:80]!r} is not in the map of fields.{name}; add it there or give `otherwise`", column
                )
        if name == "customer.internal" or rule.type == "boolean":
            return _boolean(text, column)
        if rule.type == "number":
            return _number(text, column)
        return text

    def _moment(self, value: Any, rule: Rule, column: str | None) -> str:
        zone = zone_of(rule.zone) if rule.zone else self._zone
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime):
            return _zoned(value, zone, column)
        text = _text(value).strip()
        for form in rule.formats or self._mapping.dates or ["iso"]:
            try:
                return _zoned(_parsed(text, form), zone, column)
            except ValueError:
                continue
        tried = ", ".join(rule.formats or self._mapping.dates or ["iso"])
        raise WrongRow(
            f"{text[:60]!r} is no date of the form {tried}; give `dates` or fields.occurred_at.formats", column
        )

    def _digest(self, row: Row) -> str:
        if self._mapping.missing.external_id == "refuse":
            raise WrongRow("has no external_id; give fields.external_id or missing.external_id: digest")
        plain = "\x1f".join(f"{name}\x1e{_text(value)}" for name, value in sorted(row.values.items()))
        digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()
        # Two equal rows are two contacts; counting them gives the same ids when the file is read again.
        again = self._seen[digest] = self._seen.get(digest, 0) + 1
        return f"row-{digest[:12].hex()}" + (f"-{again}" if again > 1 else "")

    def _date(self, external_id: str) -> str:
        rule = self._mapping.missing.occurred_at
        if rule == "refuse":
            raise WrongRow("has no date; give fields.occurred_at, or missing.occurred_at: file, or {from, to}")
        if rule == "file":
            return self._file_date.isoformat()
        zone = self._zone or UTC
        start = datetime.combine(rule.start, time(), zone).astimezone(UTC)
        end = datetime.combine(rule.end + timedelta(days=1), time(), zone).astimezone(UTC)
        drawn = int.from_bytes(hashlib.sha256(f"{self._source}\x1f{external_id}".encode()).digest()[:8])
        return (start + timedelta(seconds=drawn % int((end - start).total_seconds()))).isoformat()


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)


def _holds(when: When, text: str) -> bool:
    if when.empty is not None and (text == "") != when.empty:
        return False
    if when.equals is not None:
        return text in ([when.equals] if isinstance(when.equals, str) else when.equals)
    return when.empty is not None


def _fill(template: str, values: Mapping[str, Any]) -> str:
    filled = _HOLE.sub(lambda hole: _text(values.get(hole[1])).strip(), template)
    # A template whose every hole is empty says nothing, whatever stands between the holes.
    return filled.strip() if any(_text(values.get(name)).strip() for name in _HOLE.findall(template)) else ""


def _put(element: dict[str, Any], name: str, value: Any) -> None:
    group, dot, member = name.partition(".")
    if dot:
        element.setdefault(group, {})[member] = value
    else:
        element[name] = value


def _boolean(text: str, column: str | None) -> bool | None:
    lowered = text.strip().lower()
    if lowered in TRUE:
        return True
    if lowered in FALSE:
        return False if lowered else None
    raise WrongRow(f"{text[:40]!r} is neither yes nor no", column)


def _number(text: str, column: str | None) -> int | float | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise WrongRow(f"{text[:40]!r} is no number", column) from None


def _parsed(text: str, form: str) -> datetime:
    if form == "iso":
        return datetime.fromisoformat(text)
    if form in {"unix", "unix_ms"}:
        return datetime.fromtimestamp(float(text) / (1000 if form == "unix_ms" else 1), UTC)
    return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is the mapping's, given to it by `_zoned`


def _zoned(moment: datetime, zone: tzinfo | None, column: str | None) -> str:
    if moment.tzinfo is None:
        if zone is None:
            raise WrongRow("the date has no time zone; give `zone`, for example America/Bogota", column)
        moment = moment.replace(tzinfo=zone)
    return moment.isoformat()


def plain(columns: Iterable[str]) -> MappingFile:
    """The mapping of a file whose columns are named like our fields: `text`, `customer.email` …; others are refused."""
    return MappingFile.model_validate({"fields": {name: {"column": name} for name in columns if name != "source"}})


MAIL = MappingFile.model_validate(
    {
        "constants": {"channel": "email"},
        "fields": {
            "external_id": "message_id",
            "occurred_at": "date",
            "customer.email": "from_address",
            "customer.name": "from_name",
            "subject": "subject",
            "text": "text",
        },
        "missing": {"occurred_at": "file"},
    }
)
"""Mail without a mapping of its own."""

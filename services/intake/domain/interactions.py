"""One interaction, from the bytes a sender wrote to the fact that is kept (R01, R02, R26, R39, R101)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Required, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic reads total/Required of this one on Python 3.11

from libs.events.catalogue.base import EventData
from libs.events.catalogue.interactions import Channel, Effects, InteractionRecorded, Kind, Money
from libs.events.ids import natural_id
from services.intake.domain.faults import Fault, Refused
from services.intake.domain.fields import (
    AHEAD,
    ATTRIBUTES,
    CURRENCIES,
    EARLIEST,
    Amount,
    AttributeName,
    AttributeValue,
    Currency,
    Email,
    Identifier,
    Language,
    Moment,
    Motive,
    Phone,
    Short,
    SourceId,
    Subject,
    Text,
    canonical_language,
)
from services.intake.domain.people import PLAIN, PhoneReader, extras_of, identify
from services.intake.domain.sources import Source

D = TypeVar("D", bound=EventData)


class CustomerIn(TypedDict, total=False):
    """The person, by the sender's own id or by identifiers; further members are identifiers (document, account …)."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # how pydantic reads it from a TypedDict

    id: Identifier | None
    email: Email | None
    phone: Phone | None
    name: Short | None
    segment: Short | None
    locale: Language | None
    internal: bool | None


class MoneyIn(TypedDict, total=False):
    """An amount as decimal text and an ISO 4217 currency."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # how pydantic reads it from a TypedDict

    amount: Required[Amount]
    currency: Required[Currency]


class InteractionIn(TypedDict, total=False):
    """One contact as a sender writes it."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # how pydantic reads it from a TypedDict

    source: Required[SourceId]
    external_id: Required[Identifier]
    kind: Kind | None
    channel: Channel | None
    occurred_at: Required[Moment]
    customer: Required[CustomerIn]
    text: Text | None
    subject: Subject | None
    language: Language | None
    touchpoint: Short | None
    product: Short | None
    location: Short | None
    team: Short | None
    agent: Short | None
    supplier: Short | None
    case_ref: Identifier | None
    amount: MoneyIn | None
    declared_motive: Motive | None
    attributes: Annotated[dict[AttributeName, AttributeValue], Field(max_length=ATTRIBUTES)] | None


ADAPTER: TypeAdapter[InteractionIn] = TypeAdapter(InteractionIn)
LIST: TypeAdapter[list[InteractionIn]] = TypeAdapter(list[InteractionIn])
KNOWN: Mapping[str, tuple[str, ...]] = {
    "": tuple(InteractionIn.__annotations__),
    "/amount": tuple(MoneyIn.__annotations__),
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid element that only waits for its person: `values` holds all of the event but `customer_id`."""

    id: str
    identifiers: dict[str, str]
    values: dict[str, Any]
    case_ref: str | None


def _not_blank(value: Any) -> bool:
    return bool(value) and not value.isspace()


def moment(at: datetime, now: datetime, pointer: str = "/occurred_at") -> datetime:
    """The instant in UTC; Refused when it lies before 1980 or more than five minutes ahead of `now`."""
    # First to UTC: comparing across two zone objects costs three times as much.
    at = at.astimezone(UTC)
    if at < EARLIEST:
        raise Refused(Fault(pointer, "too-early", {"earliest": EARLIEST.date().isoformat()}))
    if at > now and at > now + AHEAD:
        raise Refused(Fault(pointer, "in-future", {"latest": (now + AHEAD).isoformat(timespec="seconds")}))
    return at


def prepare(
    element: Mapping[str, Any], source: Source, now: datetime, effects: Effects, read_phone: PhoneReader
) -> Prepared:
    """Decide whether a well-formed element is a fact; Refused lists what is wrong with it.

    `element` is what `ADAPTER` returned. Null and empty members are taken as not given, so that the source's
    defaults fill them.
    """
    occurred_at = moment(element["occurred_at"], now)
    if not (
        _not_blank(element.get("text"))
        or _not_blank(element.get("subject"))
        or _not_blank(element.get("declared_motive"))
    ):
        raise Refused(Fault("/text", "nothing-said"))
    customer = element["customer"]
    extra = extras_of(customer) if customer.keys() - PLAIN else {}
    identifiers, phone = identify(source.id, source.region, customer, extra, read_phone)
    values = {**source.template, **element}
    if None in element.values() or "" in element.values():
        template = source.template
        for name, value in element.items():
            if value is None or value == "":
                values[name] = template.get(name)
    del values["source"], values["customer"]
    external_id = element["external_id"]
    interaction_id = natural_id("interaction", source.id, external_id)
    values["interaction_id"] = interaction_id
    values["occurred_at"] = occurred_at
    values["email"] = customer.get("email") or None
    values["phone"] = phone
    values["customer_name"] = customer.get("name") or None
    own = customer.get("id")
    if own:
        extra["id"] = own
    values["identifiers"] = extra or None
    if customer.get("segment"):
        values["segment"] = customer["segment"]
    if customer.get("locale"):
        values["locale"] = canonical_language(customer["locale"])
    if customer.get("internal"):
        values["internal"] = True
    if values["language"]:
        values["language"] = canonical_language(values["language"])
    money = values["amount"]
    if money is not None:
        if money["currency"] not in CURRENCIES:
            raise Refused(Fault("/amount/currency", "invalid-currency"))
        values["amount"] = Money.model_construct(amount=money["amount"], currency=money["currency"])
    values["effects"] = effects
    return Prepared(interaction_id, identifiers, values, values["case_ref"])


def trusted(model: type[D], values: dict[str, Any]) -> D:
    """A model over values that are already of its types: a second validation would cost 8 µs per event (M2).

    Only for values that came out of an adapter of this package; a test holds that it equals the validated model.
    """
    made = model.__new__(model)
    _set(made, "__dict__", values)
    _set(made, "__pydantic_fields_set__", _fields(model))
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


_set = object.__setattr__


@cache
def _fields(model: type[EventData]) -> set[str]:
    # One set for all: the models are frozen, nobody adds to it.
    return set(model.model_fields)


def recorded(prepared: Prepared, customer_id: str) -> InteractionRecorded:
    """The fact, once its person is known."""
    prepared.values["customer_id"] = customer_id
    return trusted(InteractionRecorded, prepared.values)

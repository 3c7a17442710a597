"""Kinds of values that interactions and case updates are made of, checked inside pydantic-core in one pass."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, GetPydanticSchema, StringConstraints
from pydantic_core import core_schema

# Upper limits in characters. A text of 100,000 is a book chapter; a mail with its quoted history stays below it.
TEXT, SUBJECT, SHORT, ID, SOURCE_ID = 100_000, 2_000, 200, 200, 64
MOTIVE = 500
ATTRIBUTES = 100
ATTRIBUTE_VALUE = 4_000

# 1900-01-01 is what spreadsheets write for "no date", 1970-01-01 what programs write. Nobody has complaints on file
# from before this that were recorded with a time of day.
EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
# Clocks of senders run ahead; five minutes is what signed webhooks allow as well.
AHEAD = timedelta(minutes=5)

RFC3339 = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,12})?([Zz]|[+-]\d{2}:\d{2})$"
WITHOUT_ZONE = re.compile(r"^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,12})?)?)?$")
LANGUAGE = r"^[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*$"
EMAIL = r"^[^@\s\p{Cc}]{1,64}@[^@\s\p{Cc}]{1,189}$"
PHONE = r"^(tel:|whatsapp:)?[+]?[0-9() ./\-\u{a0}]{3,32}((;|,| )?(ext|x|#)[. =]*[0-9]{1,8})?$"
AMOUNT = r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$"
CURRENCY = r"^[A-Z]{3}$"
SLUG = r"^[a-z0-9][a-z0-9._\-]{0,63}$"
VISIBLE = r"^[^\p{Cc}]*$"

# Pattern to code: how a failed pattern is called outside.
PATTERN_CODES = {
    RFC3339: "invalid-date",
    LANGUAGE: "invalid-language",
    EMAIL: "invalid-email",
    PHONE: "invalid-phone",
    AMOUNT: "invalid-amount",
    CURRENCY: "invalid-currency",
    SLUG: "invalid-source-id",
    VISIBLE: "invalid-id",
}


def _moment(_source: Any, _handler: Any) -> core_schema.CoreSchema:
    # pydantic alone would take "1700000000" and "2026-01-01" for instants; RFC 3339 with a zone is the contract.
    # The pattern runs first, then the parser, which cuts nanoseconds to microseconds.
    return core_schema.chain_schema(
        [
            core_schema.str_schema(pattern=RFC3339, max_length=48),
            core_schema.datetime_schema(tz_constraint="aware", microseconds_precision="truncate"),
        ]
    )


Moment = Annotated[datetime, GetPydanticSchema(_moment)]
# Ids come as numbers from half of all systems; they are names, so 17 and "17" are the same one.
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ID, strip_whitespace=True, pattern=VISIBLE),
    Field(coerce_numbers_to_str=True),
]
SourceId = Annotated[str, StringConstraints(min_length=1, max_length=SOURCE_ID)]
Short = Annotated[str, StringConstraints(max_length=SHORT, strip_whitespace=True)]
Language = Annotated[str, StringConstraints(max_length=35, pattern=LANGUAGE)]
Email = Annotated[str, StringConstraints(max_length=254, strip_whitespace=True, pattern=EMAIL)]
Phone = Annotated[
    str, StringConstraints(max_length=64, strip_whitespace=True, pattern=PHONE), Field(coerce_numbers_to_str=True)
]
Amount = Annotated[str, StringConstraints(max_length=24, pattern=AMOUNT)]
Currency = Annotated[str, StringConstraints(pattern=CURRENCY)]
# The customer's own words: nothing is stripped, nothing is normalised (R101).
Text = Annotated[str, StringConstraints(max_length=TEXT)]
Subject = Annotated[str, StringConstraints(max_length=SUBJECT)]
Motive = Annotated[str, StringConstraints(max_length=MOTIVE)]
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
AttributeText = Annotated[str, StringConstraints(max_length=ATTRIBUTE_VALUE)]
# Smart mode takes the exact type: true stays a boolean, 1 an integer, 1.0 a float.
# 64-bit integers: beyond them JSON readers disagree with each other.
AttributeInteger = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
AttributeValue = AttributeText | bool | AttributeInteger | Annotated[float, Field(allow_inf_nan=False)] | None

# ISO 4217, active codes and units of account used in contracts (UVR, UF as CLF, UDI as MXV).
CURRENCIES = frozenset(
    """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
    CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
    HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON
    RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
    USD UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG""".split()
)


@lru_cache(maxsize=512)
def canonical_language(tag: str) -> str:
    """RFC 5646 case: `es-co` and `ES-CO` are `es-CO`, `zh-hans-cn` is `zh-Hans-CN`."""
    head, *rest = tag.split("-")
    return "-".join(
        [
            head.lower(),
            *(
                part.upper() if len(part) == 2 else part.title() if len(part) == 4 and part.isalpha() else part.lower()
                for part in rest
            ),
        ]
    )


def given(element: Mapping[str, Any]) -> dict[str, Any]:
    """The members that say something: null and the empty string are how many senders write "not given"."""
    return {name: value for name, value in element.items() if value is not None and value != ""}

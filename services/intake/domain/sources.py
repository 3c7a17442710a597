"""A source: who may send, in which form, with which defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from libs.events.catalogue.interactions import Channel, Effects, InteractionRecorded, Kind
from services.intake.domain.faults import Fault, Refused
from services.intake.domain.fields import LANGUAGE, SHORT, SLUG, canonical_language

INTERACTIONS_FORM = "interactions"
# What a source may say once instead of in every element.
DEFAULTS = (
    "kind",
    "channel",
    "language",
    "touchpoint",
    "product",
    "location",
    "team",
    "agent",
    "supplier",
    "segment",
    "locale",
)


_CLOSED: Mapping[str, tuple[str, ...]] = {"kind": tuple(Kind), "channel": tuple(Channel)}


def _blank() -> dict[str, Any]:
    fields = InteractionRecorded.model_fields
    return {name: None if part.is_required() else part.get_default() for name, part in fields.items()}


@dataclass(frozen=True, slots=True)
class Source:
    """A registered sender. `region` (ISO 3166, two letters) tells how to read its national phone numbers."""

    id: str
    name: str
    form: str
    active: bool = True
    region: str | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)
    template: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Everything an event of this source holds unless the element says otherwise: one dict merge per element.
        values = _blank()
        values.update(self.defaults)
        values["kind"] = Kind(self.defaults.get("kind", "unknown"))
        values["channel"] = Channel(self.defaults.get("channel", "other"))
        values["effects"] = Effects.LIVE
        values["origin"] = self.id
        object.__setattr__(self, "template", values)


FORMS_ALIASES: Mapping[str, str] = {
    "webhook": "standard-webhooks",
    "standard_webhooks": "standard-webhooks",
    "standardwebhooks": "standard-webhooks",
    "interaction": INTERACTIONS_FORM,
    "api": INTERACTIONS_FORM,
}
_ID = re.compile(SLUG)
_REGION = re.compile(r"[A-Za-z]{2}")
_LANGUAGE = re.compile(LANGUAGE)


def checked(source: Source, defaults: Mapping[str, str]) -> Source:
    """The source with these defaults, everything in its proper spelling; Refused lists what is wrong."""
    faults: list[Fault] = []
    if not _ID.fullmatch(source.id):
        faults.append(Fault("/id", "invalid-source-id"))
    if source.region is not None and not _REGION.fullmatch(source.region):
        faults.append(Fault("/region", "invalid-region"))
    kept: dict[str, str] = {}
    for name, given in defaults.items():
        at, value = f"/defaults/{name[:64]}".replace("~", "~0"), given.strip()
        if name not in DEFAULTS:
            faults.append(Fault(at, "unknown-default", {"allowed": ", ".join(DEFAULTS)}))
        elif len(value) > SHORT:
            faults.append(Fault(at, "too-long", {"limit": SHORT}))
        elif name in _CLOSED and value and value not in _CLOSED[name]:
            faults.append(Fault(at, "not-allowed", {"allowed": ", ".join(_CLOSED[name])}))
        elif name in {"language", "locale"} and value and not _LANGUAGE.fullmatch(value):
            faults.append(Fault(at, "invalid-language"))
        elif value:
            kept[name] = canonical_language(value) if name in {"language", "locale"} else value
    texts = {"/name": source.name, **{f"/defaults/{name}": value for name, value in kept.items()}}
    faults += [Fault(at, "nul-character") for at, text in texts.items() if "\0" in text]
    if faults:
        raise Refused(*faults)
    return replace(source, region=source.region and source.region.upper(), defaults=kept)

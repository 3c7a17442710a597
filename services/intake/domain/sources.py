"""A source: who may send, in which form, with which defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from libs.events.catalogue.interactions import Channel, Effects, InteractionRecorded, Kind

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

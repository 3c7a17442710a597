"""Fitted models of the coder, on `lazo.classifications`. Key: `models`; no person is named in them but those who decided."""

from datetime import datetime

from pydantic import Field

from libs.events.catalogue.base import EventData, event
from libs.events.catalogue.coding import Move
from libs.events.catalogue.topics import CLASSIFICATIONS


@event("lazo.model.fitted.v1", CLASSIFICATIONS)
class ModelFitted(EventData):
    """A model was fitted from corrections and kept. It decides nothing until it is promoted."""

    model_id: str = Field(description="SHA-256 of its manifest, which names every file by length and SHA-256")
    at: datetime
    by: str | None = Field(default=None, description="who asked for it; None: enough new corrections had come")
    rulebook_version: int
    data: str = Field(description="SHA-256 of the training data")
    corrections: int = Field(description="texts that people coded, held-back ones not counted")
    sure: int = Field(description="texts that were coded with certainty, so that it also learns what people never see")
    held_back: int = Field(description="corrections it did not learn from: models are compared on them")
    through: int = Field(description="number of the last correction that was looked at")
    encoder: str | None = Field(default=None, description="the sentence encoder it was fitted with; None: words alone")
    libraries: dict[str, str] = Field(default_factory=dict)
    measures: dict[str, float] = Field(default_factory=dict)
    size: int = Field(description="bytes of its files")


@event("lazo.model.promoted.v1", CLASSIFICATIONS)
class ModelPromoted(EventData):
    """A model decides from the next contact on."""

    model_id: str
    at: datetime
    by: str | None = Field(default=None, description="None: it was better on the held-back corrections")
    because: str = Field(description="asked or better")
    before: str | None = Field(default=None, description="the model that decided until then")
    measures: dict[str, float] = Field(default_factory=dict, description="both on the held-back corrections")


@event("lazo.model.rolled-back.v1", CLASSIFICATIONS)
class ModelRolledBack(EventData):
    """The model before decides again; words and the on-line learner alone where there was none."""

    model_id: str = Field(description="the model that decides no more")
    at: datetime
    by: str
    to: str | None = Field(default=None, description="the model that decides again")


@event("lazo.model.shadow-started.v1", CLASSIFICATIONS)
class ModelShadowStarted(EventData):
    """A model runs beside the one in force: it is asked about every contact, and what it says is only counted."""

    model_id: str
    at: datetime
    by: str


@event("lazo.model.shadow-ended.v1", CLASSIFICATIONS)
class ModelShadowEnded(EventData):
    """What the shadow would have decided, beside what was decided."""

    model_id: str
    at: datetime
    by: str
    because: str = Field(description="asked, promoted or replaced")
    texts: int
    same: int
    review_live: int
    review_shadow: int
    moved: list[Move] = Field(default_factory=list, description="motive that was decided and the shadow's, by count")

"""What feedback alone can be told: `LAZO_FEEDBACK_…`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from libs.events.catalogue.interactions import Kind
from services.feedback.regimes import FOLDER


class FeedbackSettings(BaseSettings):
    """Terms, kinds and waiting times. Days are calendar days."""

    model_config = SettingsConfigDict(
        env_prefix="LAZO_FEEDBACK_", env_ignore_empty=True, extra="ignore", validate_default=True
    )

    kinds: Annotated[frozenset[Kind], NoDecode] = Field(
        default=frozenset({Kind.COMPLAINT, Kind.CLAIM, Kind.REQUEST}), description="kinds of contact that become cases"
    )
    regime: str = Field(default="default", description="deadline pack for sources without one of their own")
    regimes: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="deadline packs by source: source=pack[,source=pack…]"
    )
    regimes_folder: Path = Field(default=FOLDER, description="folder of the deadline packs")
    survey_days: float = Field(default=3, ge=0, le=365, description="from closing to asking whether it helped")
    request_days: float = Field(default=30, gt=0, le=3650, description="until an answer or a survey expires")
    acknowledgement_days: float = Field(
        default=7, gt=0, le=3650, description="until an acknowledgement nobody sent expires"
    )
    contact_es: str = Field(default="", max_length=300, description="how to reach a person, as Spanish messages say it")
    contact_en: str = Field(default="", max_length=300, description="how to reach a person, as English messages say it")
    organisation: str = Field(default="", max_length=100, description="name on the customer's page")

    @field_validator("kinds", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("regimes", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs: dict[str, str] = {}
        for part in value.split(","):
            source, sign, pack = (piece.strip() for piece in part.partition("="))
            if not (source and sign and pack):
                raise ValueError(f"{part.strip()!r} is not source=pack")
            pairs[source] = pack
        return pairs

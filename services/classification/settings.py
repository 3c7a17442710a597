"""What classification alone can be told: `LAZO_CLASSIFICATION_…`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.classification.domain.escalation import DEFAULT
from services.classification.domain.slices import DEFAULT as SERIES


class ClassificationSettings(BaseSettings):
    """The monitor's false alarms, waiting times and calendar."""

    model_config = SettingsConfigDict(
        env_prefix="LAZO_CLASSIFICATION_", env_ignore_empty=True, extra="ignore", validate_default=True
    )

    false_alarms_per_month: float = Field(
        default=0.25, gt=0, le=100, description="alarms a month that quiet slices may give, over all slices together"
    )
    minimum_customers: int = Field(default=5, ge=2, le=1000, description="fewer complainants are never an alarm")
    series: str = Field(
        default=SERIES,
        description="what is watched beside each motive at each contact point: attributes (`segment` too, for who marks relations by it), and pairs of "
        "them (`motive*team`), which make many slices",
    )
    lateness_hours: float = Field(
        default=6, ge=0, le=720, description="how much later than another a source's fact may come and be on time"
    )
    quiet_hours: float = Field(
        default=12, ge=0, le=720, description="after a day's end the clock closes it, whoever is silent"
    )
    gather_seconds: float = Field(
        default=5, ge=0, le=3600, description="how long facts of the past are gathered before they are judged"
    )
    time_zone: str = Field(default="UTC", description="whose midnights part the monitor's days")
    holidays: str = Field(
        default="",
        description="country whose holidays the monitor expects (`CO`, or `DE-BY`), and dates beside them or, with a minus, not: "
        "`CO, 2026-11-27, -2026-12-08`",
    )
    claim_minutes: float = Field(
        default=15, gt=0, le=1440, description="how long an item of the review queue stays with whoever claimed it"
    )
    second_share: float = Field(
        default=0.05, ge=0, le=1, description="share of people's decisions that a second person codes too, blind"
    )
    recodings_per_second: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="contacts a second when the past is coded again; the rest is for new ones",
    )
    topics_hours: float = Field(
        default=24, gt=0, le=24 * 365, description="how often texts that fit nothing are searched for topics"
    )
    encoder: bool = Field(
        default=True,
        description="code with the sentence encoder where its wheel is installed, once people have corrected; loaded at each start: a second, 120 MB",
    )
    fit_after: int = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="corrections after which a model is fitted in the background; 0: only by hand",
    )
    promote: bool = Field(
        default=True, description="put a fitted model in force by itself when it is better on held-back corrections"
    )
    escalation: str = Field(
        default=DEFAULT,
        description="levels that are told of a finding, lowest first, each with conditions of which one suffices: "
        "customers, severe (customers with a grave motive), days (nothing done)",
    )
    chain_days: int = Field(
        default=30,
        ge=1,
        le=365,
        description="a customer who returns over the same motive within so many days goes on with a chain",
    )

"""Settings of this service alone: `LAZO_INDICATORS_…`."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def zone_of(name: str) -> ZoneInfo:
    """A time zone of the IANA database. ValueError for a name that is none (paths included)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write it as in America/Bogota") from None


def _checked(name: str) -> str:
    zone_of(name)
    return name


class IndicatorsSettings(BaseSettings):
    """What the indicators can be told."""

    model_config = SettingsConfigDict(env_prefix="LAZO_INDICATORS_", env_ignore_empty=True, extra="ignore")

    time_zone: Annotated[str, AfterValidator(_checked)] = Field(
        default="America/Bogota", description="time zone of days, weeks and months where nobody asked for one"
    )
    minimum: int = Field(default=5, ge=1, le=1_000, description="observations below which a rate reads “too few”")
    batch: int = Field(default=5_000, ge=1, le=50_000, description="events taken in one transaction")

"""What intake can be told beyond what every service can: `LAZO_INTAKE_…`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IntakeSettings(BaseSettings):
    """Beside `libs.service.settings.Settings`."""

    model_config = SettingsConfigDict(
        env_prefix="LAZO_INTAKE_", env_ignore_empty=True, extra="ignore", validate_default=True
    )

    unread_limit: int = Field(default=100_000, ge=1, description="webhook bodies kept in quarantine before we say 503")

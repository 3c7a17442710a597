"""What intake can be told beyond what every service can."""

from pydantic import Field

from libs.service.settings import Settings


class IntakeSettings(Settings):
    """`LAZO_…` variables of intake; see `Settings` for those of every service."""

    unread_limit: int = Field(default=100_000, ge=1, description="webhook bodies kept in quarantine before we say 503")

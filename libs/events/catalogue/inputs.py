"""What the monitor cannot see in complaints: what changed in the house, and how many there were who could complain.

Both on `lazo.rulebook`; key: the section, `changes` or `exposure`.
"""

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field

from libs.events.catalogue.base import EventData, event
from libs.events.catalogue.topics import RULEBOOK


@event("lazo.change.recorded.v1", RULEBOOK)
class ChangeRecorded(EventData):
    """Something began to be done otherwise. The same id again corrects it; `withdrawn`: it did not happen."""

    change_id: str
    kind: str = Field(
        description="procedure, norm, policy, supplier, release, product, campaign, information, staff or other"
    )
    at: datetime = Field(description="when it came into force")
    what: str
    code: str | None = Field(default=None, description="rulebook code of the procedure, norm or supplier")
    version: int | None = None
    where: dict[str, str] = Field(default_factory=dict, description="dimension to value; empty: everywhere")
    recorded_at: datetime
    by: str
    withdrawn: bool = False


class Exposure(BaseModel):
    """How many there were in a slice in a period, both days included."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    unit: str = Field(description="contracts: how many there are on each day; orders, contacts: how many in the period")
    slice: dict[str, str] = Field(default_factory=dict, description="dimension to value; empty: all")
    since: date
    until: date
    amount: float = Field(ge=0)


@event("lazo.exposure.recorded.v1", RULEBOOK)
class ExposureRecorded(EventData):
    """Figures of one delivery. The same unit, slice and period again replaces the figure before."""

    recorded_at: datetime
    by: str
    figures: list[Exposure]

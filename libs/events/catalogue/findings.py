"""`lazo.findings`: verdicts, findings, corrective actions. Key: the finding id."""

from datetime import date, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from libs.events.catalogue.base import EventData, event
from libs.events.catalogue.topics import FINDINGS


class Verdict(StrEnum):
    ISOLATED = "isolated"  # puntual y aislada (R12)
    SYSTEMIC = "systemic"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"


class Nature(StrEnum):
    PROCEDURE = "procedure"  # R13
    NORM = "norm"  # R14
    EXPLANATION = "explanation"  # R15
    HUMAN = "human"
    SUPPLIER = "supplier"
    SYSTEM = "system"
    PRODUCT = "product"
    UNKNOWN = "unknown"


class Evaluation(BaseModel):
    """The numbers a verdict used, so that anyone can recompute it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: str
    window_start: datetime
    window_end: datetime
    observed: float
    expected: float
    upper: float
    score: float
    customers: int
    contacts: int
    baseline: list[float] = Field(default_factory=list)
    parameters: dict[str, float] = Field(default_factory=dict)


@event("lazo.verdict.reached.v1", FINDINGS)
class VerdictReached(EventData):
    """Isolated, systemic or not enough evidence, for one slice and one window. A revision supersedes the one before."""

    verdict_id: str
    finding_id: str
    slice: dict[str, str] = Field(description="dimension to value, e.g. motive and touchpoint")
    verdict: Verdict
    nature: Nature = Nature.UNKNOWN
    evaluation: Evaluation
    since: datetime = Field(description="first contact counted in the window")
    interaction_ids: list[str] = Field(default_factory=list, description="contacts of the window, newest 500")
    rulebook_version: int
    revision: int = 1


@event("lazo.finding.opened.v1", FINDINGS)
class FindingOpened(EventData):
    finding_id: str
    slice: dict[str, str]
    nature: Nature = Nature.UNKNOWN
    verdict_id: str
    opened_at: datetime
    since: datetime
    title: dict[str, str] = Field(default_factory=dict, description="language to text")


class _FindingCommand(EventData):
    finding_id: str
    at: datetime
    by: str
    reason: str | None = None


@event("lazo.finding.confirmed.v1", FINDINGS)
class FindingConfirmed(_FindingCommand):
    nature: Nature | None = None


@event("lazo.finding.dismissed.v1", FINDINGS)
class FindingDismissed(_FindingCommand):
    pass


@event("lazo.finding.assigned.v1", FINDINGS)
class FindingAssigned(_FindingCommand):
    owner: str


@event("lazo.finding.reopened.v1", FINDINGS)
class FindingReopened(_FindingCommand):
    pass


@event("lazo.finding.closed.v1", FINDINGS)
class FindingClosed(_FindingCommand):
    pass


@event("lazo.action.planned.v1", FINDINGS)
class ActionPlanned(_FindingCommand):
    action_id: str
    description: str
    owner: str
    due: date
    expected_ratio: float = Field(description="success: rate after over rate before is at most this")
    window_days: int


@event("lazo.action.implemented.v1", FINDINGS)
class ActionImplemented(_FindingCommand):
    action_id: str
    implemented_at: datetime


@event("lazo.action.judged.v1", FINDINGS)
class ActionJudged(_FindingCommand):
    action_id: str
    judgement: str = Field(description="effective, not_effective, harmful or undecided")
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    before: int = 0
    after: int = 0
    plain_ratio: float | None = Field(
        default=None, description="complainants a day after over before, nothing taken out"
    )
    common_ratio: float | None = Field(default=None, description="the same of the slices the action did not touch")
    expected: float | None = Field(default=None, description="complainants after, had the action done nothing")
    displaced: float | None = Field(default=None, description="share of the saved complaints that came back elsewhere")
    displaced_to: str | None = None
    helped: int = Field(default=0, description="customers who said it got better")
    harmed: int = Field(default=0, description="customers who said it got worse")
    weeks_needed: int | None = Field(default=None, description="more weeks that would decide, where undecided")
    probabilities: dict[str, float] = Field(default_factory=dict, description="of each judgement but undecided")

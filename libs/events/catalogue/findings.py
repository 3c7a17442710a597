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


class Borrowed(BaseModel):
    """What a slice took over from others because its place had just opened, as long as its own days did not say otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    begins: date = Field(description="day of its first contact; it has no days before")
    level: float = Field(description="what an average day brings, of the lane that was judged")
    weight: float = Field(description="complainants of its own that the level weighs as much as")
    dispersion: float = Field(description="variance over mean")
    dispersion_weight: float = Field(description="complainants that the dispersion weighs as much as")
    slices: int = Field(description="how many slices lent it; 0: none was known, and fixed values stand")
    kin: bool = Field(description="those of its motive, or of its attribute; false: all slices there were")


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
    calendar: str | None = Field(
        default=None, description="whose holidays were expected, and from where they are known"
    )
    holidays: list[date] = Field(default_factory=list, description="holidays of the past that was read, and of the day")
    borrowed: Borrowed | None = Field(
        default=None, description="where the slice began with a place that opened: what it took over"
    )


class NatureTerm(BaseModel):
    """One piece of evidence about a failure's nature and how it weighs: log-odds by nature, for and against."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    evidence: str = Field(description="causes, explained, upheld, followed, known, concentrated, supplier or change")
    value: float = Field(description="what was seen: a share from 0 to 1; for a change its days from the onset")
    of: float = Field(description="of how many: customers, cases or contacts")
    weights: dict[str, float] = Field(default_factory=dict, description="nature to log-odds (natural logarithm)")
    detail: str | None = Field(default=None, description="which team, supplier or nature; what changed")
    ref: str | None = Field(default=None, description="id of the change")


@event("lazo.verdict.reached.v1", FINDINGS)
class VerdictReached(EventData):
    """Isolated, systemic or not enough evidence, for one slice and one window. A revision supersedes the one before."""

    verdict_id: str
    finding_id: str
    slice: dict[str, str] = Field(description="dimension to value, e.g. motive and touchpoint")
    located: dict[str, str] | None = Field(
        default=None, description="the narrowest values that explain it, where those are not the slice itself"
    )
    verdict: Verdict
    nature: Nature = Nature.UNKNOWN
    evaluation: Evaluation
    since: datetime = Field(description="first contact counted in the window")
    interaction_ids: list[str] = Field(default_factory=list, description="contacts of the window, newest 500")
    rulebook_version: int
    revision: int = 1
    reasons: list[NatureTerm] = Field(default_factory=list, description="what speaks for and against each nature")
    natures: dict[str, float] = Field(default_factory=dict, description="nature to probability, from prior and reasons")
    nature_method: str | None = Field(default=None, description="which table of weights")
    taught_by: list[str] = Field(
        default_factory=list, description="findings whose dismissal raised the threshold that this was judged by"
    )


@event("lazo.finding.opened.v1", FINDINGS)
class FindingOpened(EventData):
    finding_id: str
    slice: dict[str, str]
    nature: Nature = Nature.UNKNOWN
    verdict_id: str
    opened_at: datetime
    since: datetime
    title: dict[str, str] = Field(default_factory=dict, description="language to text")
    split_from: str | None = Field(default=None, description="the finding it was a part of")


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
    metric: str = Field(default="complainants", description="complainants, contacts or rate (complainants by exposure)")
    slice: dict[str, str] = Field(default_factory=dict, description="where success is looked for; empty: the finding's")


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
    days: int | None = Field(default=None, description="days after the action that were looked at")
    again_at: datetime | None = Field(
        default=None, description="when it is judged again, where undecided; None: this was the last time"
    )
    metric: str | None = Field(
        default=None, description="what was measured; complainants in place of a rate where exposure is not known"
    )


@event("lazo.action.cancelled.v1", FINDINGS)
class ActionCancelled(_FindingCommand):
    """It will not be done; another may be planned."""

    action_id: str


class CauseNode(BaseModel):
    """A place in the tree of causes: an answer to "why?", or a branch of one of the six components."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    node_id: str
    parent: str | None = Field(default=None, description="the node it explains; None: the problem itself")
    text: str
    component: str | None = Field(
        default=None, description="product, procedures, facilities, systems, information, people"
    )
    cause: str | None = Field(default=None, description="rulebook code")
    evidence: str | None = Field(default=None, description="what shows that it is so")
    interaction_ids: list[str] = Field(default_factory=list)
    root: bool = Field(default=False, description="where an action has to begin")


@event("lazo.finding.investigated.v1", FINDINGS)
class FindingInvestigated(_FindingCommand):
    """Why it happens, as a tree. The newest stands for all before it (R11, R95)."""

    method: str = Field(description="five_whys or ishikawa")
    nodes: list[CauseNode]
    conclusion: str | None = None
    nature: Nature | None = None


@event("lazo.finding.corrected.v1", FINDINGS)
class FindingCorrected(_FindingCommand):
    """A person says that it is of another nature."""

    nature: Nature


@event("lazo.finding.escalated.v1", FINDINGS)
class FindingEscalated(_FindingCommand):
    """It is due at a higher level: by its size, its harm or its age (R34)."""

    level: str
    because: dict[str, float] = Field(description="customers, days or harm to what it had come to")


@event("lazo.finding.grouped.v1", FINDINGS)
class FindingGrouped(_FindingCommand):
    """It is a part of another finding, where work on it goes on; `into` None: it stands alone again."""

    into: str | None = None


@event("lazo.finding.split.v1", FINDINGS)
class FindingSplit(_FindingCommand):
    """Narrower slices of it became findings of their own."""

    parts: dict[str, dict[str, str]] = Field(description="id of the new finding to its slice")


@event("lazo.finding.joined.v1", FINDINGS)
class FindingJoined(EventData):
    """Contacts that belong to a finding: those that were there when it opened, and each one that came later."""

    finding_id: str
    at: datetime
    nature: Nature = Nature.UNKNOWN
    title: dict[str, str] = Field(default_factory=dict)
    interaction_ids: list[str]
    left: list[str] = Field(default_factory=list, description="contacts that were coded otherwise since")


@event("lazo.proposal.made.v1", FINDINGS)
class ProposalMade(_FindingCommand):
    """A norm, policy or procedure should change (R23)."""

    proposal_id: str
    subject: str = Field(description="norm, policy or procedure")
    code: str = Field(description="rulebook code of it")
    text: str
    owner: str | None = Field(default=None, description="who decides")


@event("lazo.proposal.settled.v1", FINDINGS)
class ProposalSettled(_FindingCommand):
    """What became of it."""

    proposal_id: str
    outcome: str = Field(description="accepted, rejected, withdrawn or enacted")
    rulebook_version: int | None = Field(default=None, description="that enacts it")


@event("lazo.threshold.taught.v1", FINDINGS)
class ThresholdTaught(EventData):
    """A dismissal makes the monitor ask for more in that slice; `withdrawn` takes the lesson back."""

    finding_id: str
    slice: dict[str, str]
    factor: float = Field(gt=0, le=1, description="the p an alarm needs is multiplied by this")
    at: datetime
    by: str
    reason: str | None = None
    withdrawn: bool = False

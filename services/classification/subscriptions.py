"""What classification does with the log, and when time passes."""

from dataclasses import dataclass

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import CustomerErased, InteractionRecorded
from libs.events.catalogue.topics import CLASSIFICATIONS, FEEDBACK, INTERACTIONS
from libs.events.subscriptions import ConsumerSpec, Subscription
from libs.events.timers import TimerHandler
from services.classification import outcomes
from services.classification.books import RECODE
from services.classification.coding import Coding
from services.classification.desk import ESCALATE, JOIN, JUDGE_ACTION
from services.classification.emerging import TOPICS, Emerging
from services.classification.escalating import Escalating
from services.classification.joining import Joining
from services.classification.judging import Judging
from services.classification.learner import LEARN, Lessons
from services.classification.monitoring import DAY, GATHER, Monitor
from services.classification.recoding import RECODING, Recoding
from services.classification.refitting import Refitting


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the handlers are made with."""

    coding: Coding
    monitor: Monitor
    judging: Judging
    emerging: Emerging
    lessons: Lessons
    recoding: Recoding
    refitting: Refitting
    joining: Joining
    escalating: Escalating


def subscriptions(deps: Dependencies) -> list[Subscription]:
    """The table: every event type classification acts upon."""
    return [
        Subscription("classification.coding", "reactor", (InteractionRecorded,), deps.coding.code),
        Subscription("classification.forgetting", "reactor", (CustomerErased,), deps.coding.keeping.forget),
        Subscription("classification.unlearning", "reactor", (CustomerErased,), deps.lessons.forget),
        Subscription("classification.outcomes", "projector", outcomes.TYPES, outcomes.take),
        # Before the monitor: a verdict reached in this batch reads its evidence from what joining wrote down.
        Subscription("classification.joining", "reactor", (InteractionClassified,), deps.joining.take),
        Subscription("classification.monitor", "reactor", (InteractionClassified,), deps.monitor.take),
    ]


def consumers(deps: Dependencies) -> list[ConsumerSpec]:
    """Coding scales with the partitions. The monitor needs all facts of a slice and has a group of its own."""
    *coding, cases, joining, monitor = subscriptions(deps)
    watching = [joining, monitor]
    return [
        ConsumerSpec("classification", (INTERACTIONS,), coding),
        ConsumerSpec("classification.outcomes", (FEEDBACK,), [cases], patience=4),  # read when an action is judged
        ConsumerSpec(
            "classification.monitor", (CLASSIFICATIONS,), watching, max_records=2_000, exclusive=True, patience=3
        ),
    ]


def timer_handlers(deps: Dependencies) -> dict[str, TimerHandler]:
    """What happens when time passes."""
    return {
        RECODE: deps.coding.recode,
        DAY: deps.monitor.pass_day,
        GATHER: deps.monitor.gathered,
        JUDGE_ACTION: deps.judging.due,
        JOIN: deps.joining.gather,
        ESCALATE: deps.escalating.due,
        TOPICS: deps.emerging.due,
        LEARN: deps.refitting.learn,
        RECODING: deps.recoding.run,
    }

"""What a person should look at first, and which decisions are coded a second time, blind."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256

from libs.events.catalogue.classifications import InteractionClassified
from services.classification.domain.rulebook import UNKNOWN

NOVELTY = 0.5
"""What a text adds that the coder has no words for: it teaches more than one more of a known sort."""
SEVERITY: Mapping[str | None, float] = {"low": 0.0, "medium": 0.5, "high": 1.0}
"""What is at stake: a wrong code of high severity counts twice one of low."""
PER_DAY = 0.05
"""What a day of waiting adds. After 20 days nothing that came today goes before, so nothing waits for ever."""
KNOWN = 4.0
"""Evidence at which half of a text is known: the score that "unknown" competes with in `coder.FLOOR`."""
SECOND = 0.75
"""Gain of a second, blind coding on the same scale: between an unknown text and a close race."""

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def gain(data: InteractionClassified, decided_at: datetime) -> float:
    """The place in the queue: larger comes first, whenever one looks.

    Expected gain = chance that a person decides otherwise × what that is worth, plus waiting:

        (1 − confidence) · (1 + 0.5 · novelty + severity) + 0.05 · days waiting

    Confidence is calibrated, so 1 − confidence is that chance (least-confidence sampling, Lewis & Gale 1994). Novelty is 1 for
    an unknown motive, else 1 / (1 + evidence / 4): little evidence means that few of the text's words are known. Waiting is
    counted as if it began in 2020 and with its sign turned, so that the order of two items never changes while they wait and
    can stand in an index; `waiting` makes it the number to show.
    """
    return worth(data) - PER_DAY * _days(_EPOCH, decided_at)


def worth(data: InteractionClassified) -> float:
    """The gain without the waiting."""
    weight = sum(max(one.weight, 0.0) for one in data.evidence if one.code == data.motive)
    novelty = 1.0 if data.motive == UNKNOWN else 1.0 / (1.0 + weight / KNOWN)
    severity = SEVERITY.get(data.severity, 0.0)
    return (1.0 - data.confidence) * (1.0 + NOVELTY * novelty + severity)


def waiting(stored: float, now: datetime) -> float:
    """A stored gain as it stands now."""
    return stored + PER_DAY * _days(_EPOCH, now)


def second_gain(decided_at: datetime) -> float:
    """The place of a second coding in the same queue."""
    return SECOND - PER_DAY * _days(_EPOCH, decided_at)


def sample(interaction_id: str) -> float:
    """A number in [0, 1) that the interaction always gets: those below the share are coded twice, whoever asks."""
    digest = sha256(b"second coding\x1f" + interaction_id.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _days(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() / 86_400

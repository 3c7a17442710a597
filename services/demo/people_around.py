"""What the people around the system do: agents work on cases, customers answer. Pure: drawn from the seed and the contact,
so that a demonstration that was stopped goes on as if it had not been."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from libs.events.ids import natural_id
from services.demo.plan import PLANTED
from services.demo.year import SOURCE, Contact

PROCEDURES = {
    "billing.refund": "pr-refund",
    "contract.permanence": "pr-permanence",
    "billing.invoice": "pr-billing-claim",
    "billing.wrong_charge": "pr-billing-claim",
    "contract.cancel": "pr-cancel",
}
"""What agents say they followed, where they say it."""
_PLANTED = {planted.name: planted for planted in PLANTED}


@dataclass(frozen=True, slots=True)
class Update:
    """A case update and when the contact centre's system sends it."""

    at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a customer answers to the survey, `delay` after it was sent."""

    delay: timedelta
    helped: str
    score: int
    comment: str | None


def case_id(contact: Contact) -> str:
    """The id that feedback gives the contact's case."""
    return natural_id("case", natural_id("interaction", SOURCE, contact.body["external_id"]))


def work(seed: int, contact: Contact) -> list[Update]:
    """The steps of the contact's case: assigned in hours, answered in days, now and then reopened, then closed."""
    if not contact.case:
        return []
    draw = random.Random(f"{seed}/{contact.body['external_id']}/work")  # a story, not a secret
    ref = contact.body["case_ref"]
    agent, team = contact.body["agent"], contact.body["team"]
    updates: list[Update] = []

    def step(at: datetime, status: str, **more: str) -> datetime:
        body = {
            "source": SOURCE,
            "external_id": f"{ref}-{len(updates) + 1}",
            "case_ref": ref,
            "status": status,
            "occurred_at": at.isoformat().replace("+00:00", "Z"),
            "agent": agent,
            "team": team,
            **more,
        }
        updates.append(Update(at, body))
        return at

    at = step(contact.at + timedelta(hours=draw.uniform(0.1, 7)), "assigned")
    followed = {"procedure": PROCEDURES[contact.motive]} if contact.motive in PROCEDURES else {}
    at = step(at + timedelta(hours=min(600.0, draw.lognormvariate(3.7, 0.9))), "responded", **followed)
    at = step(at + timedelta(hours=draw.uniform(0.2, 30)), "resolved", outcome=_outcome(draw, contact))
    if draw.random() < (0.10 if contact.fair else 0.03):
        at = step(at + timedelta(days=draw.uniform(1, 9)), "reopened")
        at = step(at + timedelta(days=draw.uniform(0.5, 6)), "resolved", outcome=_outcome(draw, contact))
    step(at + timedelta(hours=draw.uniform(4, 40)), "closed")
    return updates


def _outcome(draw: random.Random, contact: Contact) -> str:
    nature = _PLANTED[contact.planted].nature if contact.planted else ""
    if nature == "explanation":
        return draw.choices(("explained", "partly_upheld"), (0.85, 0.15))[0]
    if nature == "norm":  # the rule was applied as it stands
        return draw.choices(("not_upheld", "partly_upheld", "explained"), (0.65, 0.2, 0.15))[0]
    if contact.fair:
        return draw.choices(("upheld", "partly_upheld", "explained"), (0.7, 0.2, 0.1))[0]
    return draw.choices(("not_upheld", "explained", "partly_upheld"), (0.55, 0.35, 0.1))[0]


def reply(seed: int, contact: Contact, answers: Mapping[str, Sequence[str]]) -> Reply | None:
    """Three in ten customers answer; angry ones more often, and those whose cause went on seldom say it got better."""
    draw = random.Random(f"{seed}/{contact.body['external_id']}/reply")  # a story, not a secret
    if draw.random() > 0.22 + 0.25 * contact.temper:
        return None
    better, same = (0.62, 0.26) if contact.fair else (0.36, 0.44)
    if contact.planted:
        better, same = (0.25, 0.45)
    helped = draw.choices(("better", "same", "worse"), (better, same, 1 - better - same))[0]
    score = {"better": (4, 5, 5), "same": (2, 3, 3), "worse": (1, 1, 2)}[helped][draw.randrange(3)]
    comment = draw.choice(answers[helped]) if draw.random() < 0.5 else None
    return Reply(timedelta(hours=draw.uniform(0.5, 80)), helped, score, comment)

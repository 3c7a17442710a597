"""The generated year: who contacts the operator about what, when and where; with six planted failures and their actions.

Pure: everything follows from the seed and the first day. The truth of it is stated in `truth()`, for tests.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

from services.demo.people import Person, population
from services.demo.plan import BASE, LOCATIONS, PLANTED, PRODUCTS, SEASON, WEEKDAY, Motive, Planted
from services.demo.text import Phrasebook, compose

SOURCE = "crm"


@dataclass(frozen=True, slots=True)
class Contact:
    """One interaction as the contact centre sends it, and what is true about it."""

    at: datetime
    body: dict[str, Any]
    motive: str
    planted: str | None
    case: bool
    temper: float
    fair: bool  # the complaint is justified: decides outcome and the customer's later answer
    cause: str | None = None  # what the text says it came from; None: it does not say


@dataclass(slots=True)
class Year:
    seed: int
    start: datetime
    days: list[list[Contact]] = field(default_factory=list)

    def truth(self) -> dict[str, Any]:
        """What was planted, and each contact's true motive and the cause its text names: for tests, never read by the services."""
        return {
            "seed": self.seed,
            "start": self.start.isoformat(),
            "planted": [_planted_truth(planted, self.start) for planted in PLANTED],
            "contacts": {
                c.body["external_id"]: {"motive": c.motive, "cause": c.cause, "planted": c.planted}
                for day in self.days
                for c in day
            },
        }


def _planted_truth(planted: Planted, start: datetime) -> dict[str, Any]:
    stated = asdict(planted)
    stated["starts"] = (start + timedelta(days=planted.first_day)).date().isoformat()
    stated["ends"] = (start + timedelta(days=planted.last_day)).date().isoformat()
    return stated


def generate(seed: int, start: datetime, days: int = 365, per_day: float = 69.0) -> Year:
    """The same seed and start give the same year. `per_day` is the mean of ordinary contacts a day."""
    random = Random(seed)
    books = {language: Phrasebook.load(language) for language in ("es", "en")}
    people = population(random, size=9000, locations=LOCATIONS)
    weights = list(accumulate(0.3 + person.temper for person in people))
    year = Year(seed, start.astimezone(UTC))
    numbers = iter(range(1, 10_000_000))
    for day in range(days):
        date = year.start + timedelta(days=day)
        level = WEEKDAY[date.weekday()] * (1 + SEASON * math.cos(2 * math.pi * (date.timetuple().tm_yday - 5) / 365))
        level *= random.gammavariate(40, 1 / 40)  # overdispersion: variance about 1 + mean/40 of Poisson's
        contacts: list[Contact] = []
        for motive in BASE:
            mean = per_day * motive.weight * level
            for _ in range(_poisson(random, mean)):
                person = random.choices(people, cum_weights=weights)[0]
                contacts.append(_contact(random, books, date, person, motive, next(numbers)))
        for planted in PLANTED:
            contacts += _planted_contacts(random, books, date, day, planted, people, level, numbers)
        contacts.sort(key=lambda contact: contact.at)
        year.days.append(contacts)
    return year


def _planted_contacts(
    random: Random,
    books: Mapping[str, Phrasebook],
    date: datetime,
    day: int,
    planted: Planted,
    people: Sequence[Person],
    level: float,
    numbers: Any,
) -> list[Contact]:
    if not planted.first_day <= day <= planted.last_day:
        return []
    motive = next(m for m in BASE if m.code == planted.motive)
    if planted.one_customer:
        person = next(p for p in people if p.temper > 0.75 and p.language == "es")
        count = planted.total // (planted.last_day - planted.first_day + 1)
        return [_contact(random, books, date, person, motive, next(numbers), planted) for _ in range(count)]
    extra = planted.extra_per_day * (1.0 if planted.flat else level)
    if planted.ramp_days:
        extra *= min(1.0, (day - planted.first_day + 1) / planted.ramp_days)
    if planted.action_day is not None and day >= planted.action_day:
        extra *= planted.action_factor
    if planted.location:
        people = [p for p in people if p.location == planted.location]
    return [
        _contact(random, books, date, random.choice(people), motive, next(numbers), planted)
        for _ in range(_poisson(random, extra))
    ]


def _contact(
    random: Random,
    books: Mapping[str, Phrasebook],
    date: datetime,
    person: Person,
    motive: Motive,
    number: int,
    planted: Planted | None = None,
) -> Contact:
    hour = min(23.99, max(0.0, random.gauss(13.5, 3.6)))
    at = date.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(seconds=int(hour * 3600) + number % 60)
    kind = _drawn(random, motive.kinds)
    channel = _drawn(random, motive.channels)
    cause = None
    if planted and random.random() < 0.8:
        cause = planted.cause
    elif not planted and motive.causes and random.random() < 0.3:
        cause = random.choice(motive.causes)
    body: dict[str, Any] = {
        "source": SOURCE,
        "external_id": f"I-{number:07d}",
        "kind": kind,
        "channel": channel,
        "occurred_at": at.isoformat().replace("+00:00", "Z"),
        "customer": person.as_customer(),
        "text": compose(random, books[person.language], motive.code, cause, person.name),
        "language": person.language,
        "touchpoint": planted.touchpoint if planted else _drawn(random, motive.touchpoints),
        "product": _drawn(random, PRODUCTS),
        "location": person.location,
        "team": f"team-{1 + person.number % 6}",
        "agent": f"agent-{1 + (person.number * 7 + at.hour) % 40:02d}",
    }
    if motive.supplier:
        body["supplier"] = motive.supplier
    case = kind in {"complaint", "claim", "request"}
    if case:
        body["case_ref"] = f"CASE-{number:07d}"
    return Contact(
        at=at,
        body=body,
        motive=motive.rulebook,
        planted=planted.name if planted else None,
        case=case,
        temper=person.temper,
        fair=bool(planted) or random.random() < 0.55,
        cause=cause,
    )


def _drawn(random: Random, shares: Mapping[str, float]) -> str:
    return random.choices(list(shares), list(shares.values()))[0]


def _poisson(random: Random, mean: float) -> int:
    """Knuth's product method (TAOCP vol. 2, 3.4.1); means here stay below 100."""
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count

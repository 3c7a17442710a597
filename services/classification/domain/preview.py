"""What history would become under another rulebook (G11). Pure: decisions and judged days go in, differences come out.

The contacts themselves are the caller's to read; nothing here keeps one of them, only counts by code.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from libs.events.catalogue.findings import Verdict
from services.classification.domain.coder import Decision
from services.classification.domain.crosswalk import Crosswalk
from services.classification.domain.episodes import Episode
from services.classification.domain.peers import Peers
from services.classification.domain.rulebook import UNKNOWN
from services.classification.domain.slices import BASE, PEERED, PEERS, by_name, named, series_at, stored
from services.classification.domain.watch import Key, Watch

LOCATION, CAUSE = PEERS, "*cause"
"""Series of verdicts: places among their peers; causes, which another rulebook may name otherwise."""
NEAR = timedelta(days=14)
"""Episodes of a slice whose first days are no further apart are one episode seen twice: the longest window of the monitor."""
MOVED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Past:
    """A contact's coding as it stands."""

    motive: str
    cause: str
    review: bool
    by_person: bool


@dataclass(frozen=True, slots=True)
class Future:
    """What it would be. `how`: coded, kept (a person's word), crosswalk (there is no text to code)."""

    motive: str
    cause: str
    review: bool
    how: str


def become(past: Past, decision: Decision | None, motives: Crosswalk, causes: Crosswalk) -> Future:
    """The coding under the other rulebook. `decision`: what its coder says of the text; None where the text was erased.

    A person's word stays, under today's name. Of a motive that was split, the part the coder sees is taken; where it sees
    none of them, the larger part, and a person should look.
    """
    if decision is not None and not past.by_person:
        return Future(decision.motive, decision.cause, decision.review, "coded")
    seen = None if decision is None else decision.motive
    motive, sure = _part(motives, past.motive, seen)
    cause, _ = _part(causes, past.cause, None if decision is None else decision.cause)
    review = (past.review and not past.by_person) or not sure
    return Future(motive, cause, review, "kept" if past.by_person else "crosswalk")


def _part(walk: Crosswalk, code: str, seen: str | None) -> tuple[str, bool]:
    shares = walk.to(code)
    if seen is not None and seen in shares:
        return seen, True
    largest = max(shares, key=lambda part: (shares[part], part))
    return largest, len(shares) == 1


@dataclass(slots=True)
class Tally:
    """Counts moved from code to code. Its size is that of the rulebooks, whatever the number of contacts."""

    motives: Counter[tuple[str, str]] = field(default_factory=Counter)
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    how: Counter[str] = field(default_factory=Counter)
    review: Counter[str] = field(default_factory=Counter)

    def add(self, past: Past, future: Future) -> None:
        self.motives[past.motive, future.motive] += 1
        self.causes[past.cause, future.cause] += 1
        self.how[future.how] += 1
        self.review["before"] += past.review
        self.review["after"] += future.review

    def report(self, walks: Mapping[str, Crosswalk]) -> dict[str, Any]:
        """Per section: totals before and after, what moved, and what the crosswalk alone would have said."""
        return {
            name: _moves(moved, walks[name]) for name, moved in (("motives", self.motives), ("causes", self.causes))
        }

    def became(self, motive: str) -> str | None:
        """Where most contacts of a motive went; None where no half of them went to one."""
        return _most(self.motives, motive)

    def cause_became(self, cause: str) -> str | None:
        """The same of a cause."""
        return _most(self.causes, cause)


def _most(moved: Counter[tuple[str, str]], code: str) -> str | None:
    targets = {after: number for (before, after), number in moved.items() if before == code}
    total = sum(targets.values())
    if not total:
        return None
    best = max(targets, key=lambda target: (targets[target], target))
    return best if targets[best] >= MOVED_SHARE * total else None


def _moves(moved: Counter[tuple[str, str]], walk: Crosswalk) -> dict[str, Any]:
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for (old, new), number in moved.items():
        before[old] += number
        after[new] += number
    changed = sorted(((pair, number) for pair, number in moved.items() if pair[0] != pair[1]), key=_largest_first)
    return {
        "before": dict(sorted(before.items())),
        "after": dict(sorted(after.items())),
        "moved": [{"from": old, "to": new, "contacts": number} for (old, new), number in changed],
        "crosswalk": dict(sorted(walk.carried(before).items())),
    }


def _largest_first(item: tuple[tuple[str, str], int]) -> tuple[int, tuple[str, str]]:
    return -item[1], item[0]


@dataclass(frozen=True, slots=True)
class Seen:
    """One episode as the monitor judged it."""

    series: str  # as `slices` names them; location: among its peers
    motive: str
    place: str
    since: date
    verdict: str
    observed: float
    expected: float

    @property
    def slice(self) -> dict[str, str]:
        return named((by_name(self.series) or PEERED).slice_of(self.motive, self.place))

    def document(self) -> dict[str, Any]:
        return {
            "slice": self.slice,
            "since": self.since.isoformat(),
            "verdict": self.verdict,
            "observed": self.observed,
            "expected": round(self.expected, 2),
        }


def seen_by(watch: Watch, peers: Peers) -> list[Seen]:
    """Every episode the two judges have found, in order of slice and day."""
    found = [_of_episode(watch, key, episode) for key in watch.keys for episode in watch.episodes(key)]
    found += [
        Seen(LOCATION, motive, place, chronic.day, Verdict.SYSTEMIC.value, chronic.observed, chronic.expected)
        for (motive, place), chronic in peers.found.items()
    ]
    return sorted(found, key=lambda seen: (seen.series, seen.motive, seen.place, seen.since))


def _of_episode(watch: Watch, key: Key, episode: Episode) -> Seen:
    series, (motive, place) = series_at(key).name, stored(key)
    numbers = episode.numbers
    since = watch.day_of(episode.start)
    return Seen(series, motive, place, since, episode.verdict.value, numbers.observed, numbers.expected)


def compare(before: Sequence[Seen], after: Sequence[Seen], tally: Tally) -> dict[str, Any]:
    """Verdicts that would appear, vanish or be another; one that only goes by another name is told as *moved*."""
    left = list(after)
    gone: list[Seen] = []
    changed: list[dict[str, Any]] = []
    stay = 0
    for old in before:
        new = _same(old, left, old.motive, old.place)
        if new is None:
            gone.append(old)
            continue
        left.remove(new)
        if new.verdict == old.verdict:
            stay += 1
        else:
            changed.append({"before": old.document(), "after": new.document()})
    moved: list[dict[str, Any]] = []
    vanish: list[Seen] = []
    for old in gone:
        motive, place = tally.became(old.motive), old.place
        if old.series == CAUSE:
            motive, place = old.motive, tally.cause_became(old.place) or old.place
        new = None if motive is None else _same(old, left, motive, place)
        if new is None:
            vanish.append(old)
        else:
            left.remove(new)
            moved.append({"before": old.document(), "after": new.document()})
    return {
        "stay": stay,
        "changed": changed,
        "moved": moved,
        "appear": [seen.document() for seen in left],
        "vanish": [seen.document() for seen in vanish],
    }


def _same(old: Seen, among: Iterable[Seen], motive: str, place: str) -> Seen | None:
    near = [
        new
        for new in among
        if (new.series, new.motive, new.place) == (old.series, motive, place) and abs(new.since - old.since) <= NEAR
    ]
    return min(near, key=lambda new: abs(new.since - old.since), default=None)


def systemic(seen: Iterable[Seen]) -> list[dict[str, str]]:
    """The slices that would have a finding: those with a systemic verdict, each once. `unknown` motives count too.

    A wide slice counts where no other stood out that it overlaps with: otherwise it would be a member of that one's finding.
    """
    found = sorted(
        (one for one in seen if one.verdict == Verdict.SYSTEMIC.value), key=lambda one: (one.since, one.series != BASE)
    )
    slices: dict[tuple[str, str, str], dict[str, str]] = {}
    named_: list[dict[str, str]] = []
    for one in sorted(found, key=lambda each: each.series not in {BASE, LOCATION}):
        if one.series not in {BASE, LOCATION} and any(_overlap(one.slice, other) for other in named_):
            continue
        slices.setdefault((one.series, one.motive, one.place), one.slice)
        named_.append(one.slice)
    return [slices[key] for key in sorted(slices)]


def _overlap(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(other.get(name, value) == value for name, value in one.items())


def renamed(slice_: Mapping[str, str], tally: Tally) -> dict[str, str]:
    """The slice by the name most of its contacts would have."""
    found = dict(slice_)
    if "motive" in found:
        found["motive"] = tally.became(found["motive"]) or UNKNOWN
    if "cause" in found:
        found["cause"] = tally.cause_became(found["cause"]) or UNKNOWN
    return found

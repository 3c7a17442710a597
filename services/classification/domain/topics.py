"""Emerging topics: texts that fit nothing in the rulebook and are alike (R73). They are proposed to people and code nothing.

A word counts by how much likelier it is among the texts that fit nothing than among those that were coded: greetings and
threats are everywhere and weigh nothing, what a new thing is called is only here. Groups are grown greedily round the text with
the most neighbours, so that the same texts always give the same groups, whatever order they come in.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from libs.events.ids import natural_id
from services.classification.domain.normalise import STOPWORDS, folded, guess_language, plain, stem

SMALLEST, FEWEST_PEOPLE = 5, 3
"""Texts and distinct customers it takes. One customer who writes often is no topic, and what fewer than three customers wrote
could point at one of them."""
ALIKE = 0.3
"""Cosine from which two texts are neighbours. On the generated year's 881 texts without a motive: below 0.2 thanks and questions
run together, above 0.45 half of them stay alone."""
MOST_TEXTS, MOST_FEATURES, MOST_WORDS = 1_000, 4_096, 120
_MOST_LIFT = 4.0
_NAMED = 6

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Text:
    """One text as it is compared; `roots` are stems and pairs of neighbouring stems."""

    interaction_id: str
    customer_id: str
    occurred_at: datetime
    roots: frozenset[str]
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, interaction_id: str, customer_id: str, occurred_at: datetime, text: str) -> "Text":
        read = folded(plain(text).text)[:MOST_WORDS]
        language = guess_language(read) or "es"
        stop = STOPWORDS.get(language, frozenset())
        telling = [word for word in read if word not in stop]
        roots = [stem(word, language if language in STOPWORDS else "es") for word in telling]
        pairs = (f"{one} {other}" for one, other in itertools.pairwise(roots))
        return cls(interaction_id, customer_id, occurred_at, frozenset([*roots, *pairs]), tuple(telling))


@dataclass(frozen=True, slots=True)
class Topic:
    """`members`: interaction ids, the most typical first. `words`: used by several of the customers, telling ones first."""

    topic_id: str
    members: tuple[str, ...]
    customers: int
    words: tuple[str, ...]
    first_at: datetime
    last_at: datetime

    @property
    def size(self) -> int:
        return len(self.members)


def group(
    texts: Iterable[Text], others: Sequence[Text] = (), before: Mapping[str, frozenset[str]] | None = None
) -> list[Topic]:
    """The topics among `texts`, largest first; of more than `MOST_TEXTS` the newest count.

    `others`: texts that were coded, to tell what is said everywhere. `before`: topics as they were, by id; a group that holds
    most of one of them is that topic, grown.
    """
    given = sorted(texts, key=lambda one: (one.occurred_at, one.interaction_id))[-MOST_TEXTS:]
    given = [one for one in given if one.roots]
    if len(given) < SMALLEST:
        return []
    weights = _weights(given, others)
    rows = _rows(given, weights)
    found: list[tuple[int, npt.NDArray[np.intp]]] = []
    free = np.ones(len(given), dtype=bool)
    near = rows @ rows.T >= ALIKE
    while True:
        counts = (near & free[None, :]).sum(axis=1) * free
        centre = int(np.argmax(counts))
        if counts[centre] < SMALLEST:
            break
        members = _grown(rows, np.flatnonzero(near[centre] & free), free)
        free[members] = False
        free[centre] = False
        if len(members) >= SMALLEST and len({given[place].customer_id for place in members}) >= FEWEST_PEOPLE:
            found.append((centre, members))
    named = _identified(
        [(given[centre].interaction_id, [given[place] for place in members]) for centre, members in found], before or {}
    )
    topics = [
        Topic(
            topic_id,
            tuple(one.interaction_id for one in members),
            len({one.customer_id for one in members}),
            _words(members, weights),
            min(one.occurred_at for one in members),
            max(one.occurred_at for one in members),
        )
        for topic_id, members in named
    ]
    return sorted(topics, key=lambda topic: (-topic.size, topic.topic_id))


def _weights(given: Sequence[Text], others: Sequence[Text]) -> dict[str, float]:
    inside = Counter(root for one in given for root in one.roots)
    outside = Counter(root for one in others for root in one.roots)
    weights: dict[str, float] = {}
    for root, count in inside.items():
        if count < 2:
            continue
        rare = 1.0 + math.log((len(given) + 1) / (count + 0.5))
        lift = (
            math.log((count / len(given)) / ((outside[root] + 0.5) / (len(others) + 1))) if len(others) >= 50 else 1.0
        )
        if lift > 0:
            weights[root] = rare * min(lift, _MOST_LIFT)
    most = sorted(weights, key=lambda root: (-inside[root], root))[:MOST_FEATURES]
    return {root: weights[root] for root in most}


def _rows(given: Sequence[Text], weights: Mapping[str, float]) -> Matrix:
    places = {root: place for place, root in enumerate(sorted(weights))}
    rows = np.zeros((len(given), max(len(places), 1)), dtype=np.float32)
    for number, one in enumerate(given):
        for root in one.roots:
            if root in places:
                rows[number, places[root]] = weights[root]
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    scaled: Matrix = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return scaled


def _grown(rows: Matrix, members: npt.NDArray[np.intp], free: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The free texts near the middle of the members, nearest first."""
    middle = rows[members].sum(axis=0)
    length = float(np.sqrt(middle @ middle))
    if length == 0:
        return members
    likeness = rows @ (middle / np.float32(length))
    chosen = np.flatnonzero((likeness >= ALIKE) & free)
    return chosen[np.lexsort((chosen, -np.round(likeness[chosen], 5)))]


def _identified(
    groups: Sequence[tuple[str, list[Text]]], before: Mapping[str, frozenset[str]]
) -> list[tuple[str, list[Text]]]:
    """Each group with its id: that of the topic it shares most with, where that is at least half of the smaller of both."""
    pairs = []
    for number, (_, members) in enumerate(groups):
        ids = {one.interaction_id for one in members}
        for topic_id, held in before.items():
            shared = len(ids & held)
            if shared and 2 * shared >= min(len(ids), len(held)):
                pairs.append((-shared, topic_id, number))
    taken: dict[int, str] = {}
    for _, topic_id, number in sorted(pairs):
        if number not in taken and topic_id not in taken.values():
            taken[number] = topic_id
    return [
        (taken.get(number, natural_id("topic", centre)), members) for number, (centre, members) in enumerate(groups)
    ]


def _words(members: Sequence[Text], weights: Mapping[str, float]) -> tuple[str, ...]:
    """What several of the customers wrote, as they wrote it most often. A word of fewer could be somebody's name."""
    users: dict[str, set[str]] = {}
    for one in members:
        for word in set(one.words):
            users.setdefault(word, set()).add(one.customer_id)
    enough = max(FEWEST_PEOPLE, len(members) // 10)

    def telling(word: str) -> float:
        return max(weights.get(stem(word, "es"), 0.0), weights.get(stem(word, "en"), 0.0)) * len(users[word])

    shared = [word for word, who in users.items() if len(who) >= enough and telling(word) > 0]
    return tuple(sorted(shared, key=lambda word: (-telling(word), word))[:_NAMED])

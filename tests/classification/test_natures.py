"""Of what nature a failure is: from evidence, with weights that anyone can add up again."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.catalogue.findings import Nature
from services.classification.domain.natures import NATURES, PRIOR, Change, Seen, Share, Spread, conclude, read

EVEN = Spread("team-1", 0.2, 0.17, 60)


@pytest.mark.parametrize(
    ("nature", "seen"),
    [
        (Nature.PROCEDURE, Seen(causes={Nature.PROCEDURE: 30, Nature.HUMAN: 4}, upheld=Share(17, 20), spread=EVEN)),
        (Nature.NORM, Seen(causes={Nature.NORM: 12}, upheld=Share(3, 20), followed=Share(18, 20), known=Share(20, 20))),
        (Nature.EXPLANATION, Seen(causes={Nature.EXPLANATION: 9}, explained=Share(17, 20), upheld=Share(3, 20))),
        (Nature.HUMAN, Seen(causes={Nature.HUMAN: 8}, spread=Spread("agent-7", 0.8, 0.03, 40), followed=Share(2, 20))),
        (Nature.SUPPLIER, Seen(causes={Nature.SUPPLIER: 60}, supplier=Share(58, 60), supplier_name="fibranorte")),
        (Nature.SYSTEM, Seen(causes={Nature.SYSTEM: 5}, changes=[Change("r-9", "release", 1.0)])),
        (Nature.PRODUCT, Seen(causes={Nature.PRODUCT: 9}, upheld=Share(9, 9))),
        (Nature.UNKNOWN, Seen()),
    ],
)
def test_each_nature_is_read_from_what_speaks_for_it_R13_R14_R15_R32(nature: Nature, seen: Seen) -> None:
    """R13, R14, R15, R32"""
    assert read(seen).nature is nature


def test_people_of_a_supplier_are_the_suppliers_where_the_cause_is_a_slip_R32() -> None:
    slips = {Nature.HUMAN: 0.8}
    assert read(Seen(causes=slips, supplier=Share(0, 40))).nature is Nature.HUMAN
    assert read(Seen(causes=slips, supplier=Share(39, 40), supplier_name="instalatec")).nature is Nature.SUPPLIER


def test_all_teams_alike_speaks_against_a_slip_and_one_agent_far_above_for_one() -> None:
    causes = {Nature.HUMAN: 1.0, Nature.PROCEDURE: 1.0}
    alike = read(Seen(causes=causes, spread=Spread("a", 0.18, 0.17, 80)))
    alone = read(Seen(causes=causes, spread=Spread("a", 0.9, 0.17, 80)))
    assert (alike.nature, alone.nature) == (Nature.PROCEDURE, Nature.HUMAN)


def test_a_rule_that_was_known_and_failed_is_a_bad_rule_and_one_nobody_knew_was_not_applied_G10() -> None:
    causes = {Nature.HUMAN: 1.0, Nature.PROCEDURE: 1.0}
    known, unknown = read(Seen(causes=causes, known=Share(30, 30))), read(Seen(causes=causes, known=Share(0, 30)))
    assert known.natures["procedure"] > 2 * unknown.natures["procedure"]
    assert unknown.natures["human"] > 2 * known.natures["human"]


def test_a_change_weighs_by_how_near_it_lies_to_the_onset_and_far_ones_say_nothing() -> None:
    near, far, never = (
        read(Seen(causes={Nature.PROCEDURE: 1}, changes=[Change("c", "norm", days)])) for days in (1, 18, 40)
    )
    assert near.natures["norm"] > far.natures["norm"] > never.natures["norm"]
    assert not [term for term in never.terms if term.evidence == "change"]


SHARES = st.builds(lambda of, part: Share(round(of * part), of), st.integers(0, 60), st.floats(0, 1))
SEEN = st.builds(
    Seen,
    causes=st.dictionaries(st.sampled_from(list(Nature)), st.floats(0, 80), max_size=4),
    explained=SHARES,
    upheld=SHARES,
    followed=SHARES,
    known=SHARES,
    spread=st.none() | st.builds(Spread, st.just("x"), st.floats(0, 1), st.floats(0, 1), st.floats(0, 90)),
    supplier=st.none() | SHARES,
    changes=st.lists(st.builds(Change, st.just("c"), st.sampled_from(["norm", "release", "other"]), st.floats(-90, 90)), max_size=4),
)  # fmt: skip


@given(SEEN)
def test_whatever_is_seen_the_published_weights_give_the_published_probabilities_again_G8(seen: Seen) -> None:
    """The second way of adding up: products of odds instead of sums of logarithms."""
    found = read(seen)
    assert conclude(found.terms) == found
    if not found.terms:
        assert found.nature is Nature.UNKNOWN
        return
    products: dict[Nature, float] = {nature: PRIOR[nature] for nature in NATURES}
    for term in found.terms:
        for name, weight in term.weights.items():
            products[Nature(name)] *= exp(weight)
    total = sum(products.values())
    for nature in NATURES:
        assert found.natures[nature.value] == pytest.approx(products[nature] / total, abs=1e-4)
    assert sum(found.natures.values()) == pytest.approx(1, abs=1e-3)
    assert (found.nature is Nature.UNKNOWN) == (max(products.values()) / total < 0.5)
    for term in found.terms:
        if term.evidence != "causes":
            assert max(map(abs, term.weights.values())) <= 2.5 + 1e-9
        assert all(abs(weight) < 3 * log(7) for weight in term.weights.values())

"""From the codes of one version to those of another: renamings, splits, merges, retirements; counts always add up."""

from datetime import date
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classification.domain.coder import Coder, Contact
from services.classification.domain.crosswalk import between, crosswalk
from services.classification.domain.rulebook import Rulebook
from services.classification.rulebook_file import read
from tests.classification.test_coder import NOW
from tests.classification.test_rulebook import SMALL, codes

MOTIVES = """\
motives:
  - {code: wait, name: {es: Espera, en: Waiting}, terms: {es: [espera], en: [waiting]}}
  - {code: queue, name: {es: Fila, en: Queue}, terms: {es: [fila], en: [queue]}}
  - {code: fee, name: {es: Comisión, en: Fee}, terms: {es: [comisión], en: [fee]}}
  - {code: card, name: {es: Tarjeta, en: Card}, terms: {es: [tarjeta], en: [card]}}
causes:
"""
FIRST = SMALL[: SMALL.index("motives:\n  - code: wait")] + MOTIVES + SMALL[SMALL.index("  - {code: few") :]
FIRST = FIRST.replace("motives: [wait]", "motives: [wait, queue, fee, card]")
# wait and queue are merged, fee is split, card is renamed; in a third version one half of the fee is split again.
SECOND = (
    FIRST.replace("{es: Espera, en: Waiting},", "{es: Espera, en: Waiting}, becomes: [attention],")
    .replace("{es: Fila, en: Queue},", "{es: Fila, en: Queue}, becomes: [attention],")
    .replace(
        "{es: Comisión, en: Fee},",
        "{es: Comisión, en: Fee}, becomes: [{code: fee.monthly, share: 0.75}, {code: fee.once, share: 0.25}],",
    )
    .replace("{es: Tarjeta, en: Card},", "{es: Tarjeta, en: Card}, becomes: [plastic],")
    .replace(
        "causes:\n",
        """\
  - {code: attention, name: {es: Espera o fila, en: Waiting or queue}, terms: {es: [espera, fila], en: [waiting, queue]}}
  - {code: fee.monthly, name: {es: Comisión mensual, en: Monthly fee}, terms: {es: [mensual], en: [monthly]}}
  - {code: fee.once, name: {es: Comisión única, en: One-off fee}, terms: {es: [única], en: [once]}}
  - {code: plastic, name: {es: Tarjeta plástica, en: Plastic card}, terms: {es: [tarjeta], en: [card]}}
causes:
""",
        1,
    )
    .replace("motives: [wait, queue, fee, card]", "motives: [attention, fee.monthly, fee.once, plastic]")
)
THIRD = (
    SECOND.replace(
        "{es: Comisión mensual, en: Monthly fee},",
        "{es: Comisión mensual, en: Monthly fee}, becomes: [fee.account, fee.card],",
    )
    .replace(
        "causes:\n",
        """\
  - {code: fee.account, name: {es: Comisión de cuenta, en: Account fee}}
  - {code: fee.card, name: {es: Comisión de tarjeta, en: Card fee}}
causes:
""",
        1,
    )
    .replace("fee.monthly, fee.once, plastic]", "fee.account, fee.card, fee.once, plastic]")
)


def book(text: str) -> Rulebook:
    reading = read(text)
    assert reading.sound, list(reading.found)
    assert reading.book is not None
    return reading.book


BOOKS = [(number, book(text)) for number, text in enumerate((FIRST, SECOND, THIRD), start=1)]


def test_a_split_a_merge_and_a_renaming_carry_their_crosswalk_G1() -> None:
    walk = crosswalk(BOOKS[0][1], BOOKS[1][1])
    assert walk.to("wait") == walk.to("queue") == {"attention": 1}
    assert walk.to("fee") == {"fee.monthly": Fraction(3, 4), "fee.once": Fraction(1, 4)}
    assert walk.only("card") == "plastic"
    assert walk.only("fee") is None
    assert not any(step.even for step in walk.steps.values())
    assert walk.carried({"wait": 3, "queue": 4, "fee": 10, "card": 1, "unknown": 5}) == {
        "attention": 7,
        "fee.monthly": 8,
        "fee.once": 2,
        "plastic": 1,
        "unknown": 5,
    }


def test_versions_further_apart_are_joined_step_by_step_and_say_where_nobody_knew_the_shares_G1() -> None:
    walk = between(BOOKS, 1, 3)
    assert walk.to("fee") == {"fee.account": Fraction(3, 8), "fee.card": Fraction(3, 8), "fee.once": Fraction(1, 4)}
    assert walk.steps["fee"].even
    assert not walk.steps["wait"].even
    assert between(BOOKS, 2, 2).to("fee.once") == {"fee.once": 1}
    back = between(BOOKS, 3, 1)
    assert back.to("attention") == {"queue": Fraction(1, 2), "wait": Fraction(1, 2)}
    assert back.steps["attention"].even
    assert back.to("fee.card") == {"fee": 1}
    assert back.to("never.there") == {"unknown": 1}
    with pytest.raises(KeyError):
        between(BOOKS, 1, 9)


@given(
    st.dictionaries(st.sampled_from(["wait", "queue", "fee", "card", "unknown", "never.there"]), st.integers(0, 10**6)),
    st.sampled_from([(1, 2), (1, 3), (2, 3), (3, 1), (3, 2), (2, 1)]),
)
def test_the_crosswalks_counts_add_up_whatever_they_are_G1(counts: dict[str, int], way: tuple[int, int]) -> None:
    walk = between(BOOKS, *way)
    assert all(sum(step.to.values()) == 1 for step in walk.steps.values())
    assert sum(walk.carried(counts).values()) == sum(counts.values())


def test_a_code_retired_on_a_day_stands_for_contacts_before_it_and_its_successor_after() -> None:
    text = FIRST.replace(
        "{es: Fila, en: Queue},", "{es: Fila, en: Queue}, until: 2026-01-31, successor: wait,"
    )  # contacts of January are about the queue for ever
    walk = crosswalk(BOOKS[0][1], book(text))
    assert walk.to("queue") == {"wait": 1}
    assert crosswalk(BOOKS[0][1], book(text), day=date(2026, 1, 31)).to("queue") == {"queue": 1}
    assert crosswalk(BOOKS[0][1], book(text), day=date(2026, 2, 1)).to("queue") == {"wait": 1}


def test_random_rulebooks_give_crosswalks_that_end_and_add_up_even_with_cycles_in_them() -> None:
    random = Random(3)
    for _ in range(50):
        names = [f"m{number}" for number in range(8)]
        document = book(FIRST).model_dump(mode="json")
        document["motives"] = [
            {
                "code": name,
                "name": {"es": name, "en": name},
                "becomes": random.sample(names, random.choice((0, 0, 1, 2))),
            }
            for name in names
        ]
        wild = Rulebook.model_validate(document)
        for back in (False, True):
            walk = crosswalk(wild, wild, back=back)
            counts = {name: random.randrange(1000) for name in names}
            assert sum(walk.carried(counts).values()) == sum(counts.values())


def test_what_was_recast_is_never_coded_again_not_even_about_the_past_G1() -> None:
    before, after = Coder(BOOKS[0][1], 1), Coder(BOOKS[1][1], 2)
    gone = {"wait", "queue", "fee", "card"}
    assert gone <= {motive.code for motive in before.motives}
    assert not gone & {motive.code for motive in after.motives}
    declared = Contact("hola", NOW.replace(year=2023), declared_motive="Espera")
    assert before.code(declared).motive == "wait"
    assert after.code(declared).motive == "attention", "a contact centre goes on declaring the old name"
    split = Contact("hola", NOW, declared_motive="Comisión")
    assert after.code(split).motive == "unknown", "a split code says too little"


def test_check_finds_crosswalks_that_cannot_stand_R06_G1() -> None:
    def broken(old: str, new: str, text: str = SECOND) -> list[str]:
        assert old in text
        return [code for code, warning in codes(text.replace(old, new)) if not warning]

    assert codes(SECOND, FIRST) == []
    assert codes(THIRD, FIRST, SECOND) == []
    assert broken("share: 0.25", "share: 0.35") == ["shares_not_whole"]
    assert broken("{code: fee.once, share: 0.25}", "{code: fee.once}") == ["shares_not_whole"]
    assert broken("becomes: [plastic]", "becomes: [gone]") == ["unknown_reference"]
    assert broken("becomes: [plastic]", "becomes: [card]") == ["cycle"]
    assert broken("becomes: [plastic]", "becomes: [plastic, plastic]") == ["duplicate_code"]
    assert broken("becomes: [plastic]", "becomes: [plastic], successor: plastic") == ["two_endings"]
    assert broken("becomes: [plastic]", "successor: plastic") == ["motive_without_procedure", "successor_without_end"]
    assert codes(SECOND.replace("becomes: [plastic]", "becomes: [attention]"), SECOND) == [("crosswalk_changed", False)]
    retired = SECOND.replace(
        "{es: Comisión única, en: One-off fee},", "{es: Comisión única, en: One-off fee}, until: 2026-06-30,"
    )
    assert codes(retired, SECOND) == [("no_successor", True)]
    assert codes(SECOND, SECOND, retired) == [("code_reused", False)]

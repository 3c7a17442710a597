"""What is said of a single complaint, in words."""

import pytest

from services.classification.single import sentence


@pytest.mark.parametrize(
    ("slices", "kin", "spanish", "english"),
    [
        (5, True, "de quejas parecidas de otras partes (grupos: 5; al día: 1,25)", "similar complaints elsewhere (groups: 5; a day: 1.25)"),
        (31, False, "de todas las quejas (grupos: 31; al día: 1,25)", "from all complaints (groups: 31; a day: 1.25)"),
        (0, False, "se supuso 1,25 al día", "so 1.25 a day was assumed"),
    ],
)  # fmt: skip
def test_of_a_complaint_at_a_place_that_opened_it_is_said_from_where_what_is_usual_was_taken_R09(
    slices: int, kin: bool, spanish: str, english: str
) -> None:
    taken = {"begins": "2026-01-02", "level": 1.25, "weight": 2.4, "dispersion": 1.7, "slices": slices, "kin": kin}
    found = {"because": "usual", "evaluation": {"borrowed": taken}}
    for language, part, begins, weight in (
        ("es", spanish, "Empezó el 2026-01-02 con algo nuevo", "con el peso de 2,4 quejas propias"),
        ("en", english, "It began on 2026-01-02 with something new", "counting as much as 2.4 complaints of its own"),
    ):
        said = sentence(found, language)
        assert all(words in said for words in (part, begins, weight, sentence({"because": "usual", "evaluation": None}, language)))  # fmt: skip
    # Verdicts of before state nothing of it.
    assert sentence({"because": "usual", "evaluation": {"observed": 3}}, "en") == "There are as many complaints in this slice as ever: nothing says that it is more than one case."  # fmt: skip

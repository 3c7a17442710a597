"""What a finding is called."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.classification.domain.rulebook import Rulebook
from services.classification.rulebook_file import read
from services.classification.titles import part_title, title


@pytest.fixture(scope="module")
def book() -> Rulebook:
    found = read((Path(__file__).parents[2] / "deploy/rulebooks/operator.yaml").read_text("utf-8"))
    assert found.book is not None
    return found.book


@pytest.mark.parametrize(
    ("where", "chronic", "es", "en"),
    [
        (
            {"location": "pasto", "product": "mobile"},
            False,
            "Telefonía móvil: más clientes de lo habitual en Pasto",
            "Mobile phone: more customers than usual in Pasto",
        ),
        (
            {"motive": "install.delay", "location": "pasto"},
            True,
            "Demora en la instalación: pesa más en Pasto que en otros lugares",
            "Installation delayed: weighs more in Pasto than elsewhere",
        ),
        (
            {"motive": "billing.refund", "touchpoint": "store", "supplier": "instalatec"},
            False,
            "Devolución de dinero pendiente, InstalaTec (cuadrillas de instalación): más clientes de lo habitual en Tienda",
            "Refund pending, InstalaTec (installation crews): more customers than usual at Store",
        ),
        (
            {"location": "pasto"},
            False,
            "Pasto: más clientes de lo habitual",
            "Pasto: more customers than usual",
        ),
        (
            {"product": "satellite", "location": "Tunja"},
            False,
            "satellite: más clientes de lo habitual en Tunja",
            "satellite: more customers than usual in Tunja",
        ),
    ],
)
def test_a_finding_is_called_by_the_names_of_the_rulebook_and_by_the_value_where_it_has_none(
    book: Rulebook, where: Mapping[str, str], chronic: bool, es: str, en: str
) -> None:
    assert title(where, book, chronic) == {"es": es, "en": en}


def test_a_part_of_a_finding_is_called_by_what_it_was_narrowed_to_in_the_rulebooks_words(book: Rulebook) -> None:
    whole = {"es": "Reembolsos", "en": "Refunds"}
    said = part_title(whole, {"motive": "billing.refund"}, {"motive": "billing.refund", "location": "bogota"}, book)
    assert said == {"es": "Reembolsos (Bogotá)", "en": "Refunds (Bogotá)"}


def test_without_a_rulebook_a_finding_is_called_by_its_values_and_what_has_no_motive_is_said() -> None:
    said = title({"motive": "unknown", "location": "pasto"}, None, False)
    assert said["es"] == "motivo sin codificar: más clientes de lo habitual en pasto"

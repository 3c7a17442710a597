"""What the complaints behind a finding have in common, over the public API: size, acts, demands, agreements, levels."""

from datetime import date, timedelta
from typing import Any

import pytest

from libs.service.testing import Running
from services.classification.domain.agreements import Standing, check, days_of
from services.classification.domain.sections import Agreement
from tests.classification.streams import ORIGIN, contact, emit
from tests.classification.test_finding_work import API, PLAN, do, equal_to_their_folds, opened, world
from tests.classification.test_monitoring import at
from tests.classification.test_service import OPERATOR, publish

FORM = "refund_needs_paper_form"


async def asked(run: Running, language: str = "en", finding: str = "f1") -> dict[str, Any]:
    answer = await run.client.get(f"{API}/findings/{finding}/dossier", headers={"accept-language": language})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_finding_says_how_many_whom_and_since_when_and_its_size_decides_who_is_told() -> None:
    """R04, R05, R34: distinct customers beside contacts, what most have in common, and the level that knows of so many."""
    async with world() as (run, _):
        days = [ORIGIN + timedelta(days=5 + index % 14) for index in range(60)]
        facts = [
            contact(index, day, customer=f"k{index % 55}", location="pasto" if index < 40 else None, segment="sme", severity="high" if index < 3 else None)
            for index, day in enumerate(days)
        ]  # fmt: skip
        await emit(run, facts)
        await run.settle()
        await opened(run)
        await run.settle()
        found = await asked(run)
        assert (found["size"]["customers"], found["size"]["contacts"], found["size"]["severe"]) == (55, 60, 3)
        assert (found["size"]["first_at"][:10], found["size"]["last_at"][:10]) == ("2025-01-11", "2025-01-24")
        late = {f"k{index % 55}" for index, day in enumerate(days) if day > date(2025, 1, 19)}
        assert found["size"]["lately"] == len(late)  # the clock stands on 26 January, at noon
        assert found["whom"]["location"] == [{"value": "pasto", "customers": 40, "share": round(40 / 55, 4)}]
        assert "touchpoint" not in found["whom"], "that is the finding's slice: all of them"
        assert [(one["level"], one["told"]) for one in found["levels"]["levels"]] == [
            ("area", False),
            ("direction", True),
            ("general", False),
        ]
        assert found["levels"]["seen"]["customers"] == 55
        first, severe, whom, told, following = found["sentences"]
        assert first.startswith("Customers: 55. Contacts: 60, from 11 Jan 2025 to 24 Jan 2025.")
        assert severe == "With a grave motive: 3 customers."
        assert "Pasto (40)" in whom
        assert "sme (55)" in whom
        assert told == "By its size, gravity or age these know of it: direction."
        assert following.endswith(
            "general direction, will be told from 200 customers or 100 customers with a grave motive or 60 days without anything done."
        )
        assert "dirección general" in (await asked(run, "es"))["sentences"][-1]
        await emit(run, [contact(59, days[59], motive="care.rude", revision=2)])
        await run.settle()
        assert (await asked(run))["size"]["contacts"] == 59, "coded otherwise, it belongs to the finding no more"
        assert (await run.client.get(f"{API}/findings/none/dossier")).status_code == 404


async def test_acts_and_omissions_are_counted_behind_a_finding_and_a_person_may_say_otherwise_of_one_case() -> None:
    """R16: from the cause when coded, of this contact alone when a person says so; both stand in the finding's evidence."""
    async with world() as (run, _):
        day = ORIGIN + timedelta(days=15)
        await emit(run, [contact(index, day, cause=FORM, act="act") for index in range(3)])
        await emit(run, [contact(10, day, cause="case_lost_between_teams", act="omission"), contact(11, day)])
        await emit(run, [contact(12, day, cause="case_lost_between_teams")])  # coded before acts were written down
        await opened(run)
        await run.settle()
        acts = (await asked(run))["acts"]
        assert acts == {"act": 3, "omission": 2, "unknown": 1, "act_share": 0.6, "omission_share": 0.4}
        label = f"{API}/interactions/i-0/label"
        body = {"motive": "billing.refund", "cause": FORM, "by": "ana"}
        by_cause = (await run.client.post(label, json=body)).json()
        assert (by_cause["act"], by_cause["parts"]["act"]["follows_from"]) == ("act", "cause")
        said = (await run.client.post(label, json=body | {"act": "omission"})).json()
        assert (said["act"], said["revision"]) == ("omission", 3)
        assert (said["parts"]["act"]["decided_by"], said["parts"]["act"]["by"]) == ("person", "ana")
        again = (await run.client.post(label, json=body | {"act": "omission"})).json()
        assert again["revision"] == 3
        other = (await run.client.post(label, json={"motive": "billing.refund", "by": "eva"})).json()
        assert (other["act"], other["parts"]["act"]["by"]) == ("omission", "ana"), "not touched: it stays as she said"
        wrong = await run.client.post(label, json=body | {"act": "perhaps"})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/act")
        await run.settle()
        found = await asked(run)
        assert (found["acts"]["act"], found["acts"]["omission"]) == (2, 3)
        assert (
            "Of 5 contacts it is known whether something was done or left undone: 3 omissions and 2 acts."
            in " ".join(found["sentences"])
        )
        moved = (
            await run.client.post(label, json={"motive": "billing.refund", "cause": "unknown", "by": "eva"})
        ).json()
        assert moved["act"] is None, "of another cause nobody has said anything"
        await run.settle()
        await equal_to_their_folds(run)


async def test_what_was_needlessly_demanded_of_customers_is_told_apart_from_what_failed() -> None:
    """R19: causes that only burden the customer are marked in the rulebook and counted, with what the procedure asks for today."""
    async with world() as (run, _):
        day = ORIGIN + timedelta(days=15)
        await emit(run, [contact(index, day, cause=FORM, customer=f"k{index // 2}") for index in range(6)])
        await emit(run, [contact(10, day, cause="case_lost_between_teams"), contact(11, day)])
        await emit(run, [contact(12, day, procedure="pr-contract-papers", procedure_version=1)])
        await opened(run)
        await run.settle()
        found = await asked(run)
        assert found["demands"]["customers"] == 3
        assert [(one["cause"], one["customers"]) for one in found["demands"]["causes"]] == [(FORM, 3)]
        assert [one["procedure"] for one in found["demands"]["asked_for"]] == ["pr-contract-papers"]
        told = " ".join((await asked(run, "es"))["sentences"])
        assert "no les aporta nada: 3 (La devolución exige formatos)" in told
        assert "Documento que prueba el vínculo" in told


async def test_an_agreement_with_a_supplier_that_is_not_kept_is_said_in_the_finding() -> None:
    """R32: against all complaints of the supplier's work in the days agreed on; a rate only where exposure is known."""
    async with world() as (run, _):
        day = ORIGIN + timedelta(days=15)
        crews = [contact(index, day, supplier="instalatec", customer=f"k{index % 39}") for index in range(41)]
        couriers = [contact(100 + index, day, supplier="rapienvios") for index in range(30)]
        await emit(run, [*crews, *couriers, contact(200, day, supplier="somebody")])
        await opened(run)
        await run.settle()

        async def standing() -> dict[str, str]:
            found = (await asked(run))["suppliers"]
            return {each["name"]["en"]: each["standing"] for one in found for each in one["agreements"]}

        crew, courier = (
            "Fewer than 40 customers who complain a month",
            "Up to 50 customers who complain per 10,000 deliveries",
        )
        before = await standing()
        assert (before[crew], before[courier]) == ("kept", "no_exposure")
        assert before["Visit within the agreed time slot"] == "not_measured"
        # One more customer, and of another problem: what was agreed on is about all of the supplier's work.
        await emit(run, [contact(300, day, supplier="instalatec", motive="care.rude", customer="k999")])
        orders = {
            "unit": "orders",
            "since": "2024-12-01",
            "until": "2025-01-31",
            "amount": 8_000,
            "slice": {"supplier": "rapienvios"},
        }
        assert (await run.client.post(f"{API}/exposure", json=orders)).status_code == 201
        await run.settle()
        after = await standing()
        assert (after[crew], after[courier]) == ("broken", "broken")
        rate = next(
            each for one in (await asked(run))["suppliers"] for each in one["agreements"] if each["unit"] == "orders"
        )
        assert rate["measured"] == pytest.approx(30 / (8_000 * 30 / 62) * 10_000, abs=1e-3)
        told = " ".join((await asked(run, "es"))["sentences"])
        assert (
            "Acuerdo incumplido, «Menos de 40 clientes con quejas al mes»: 40 clientes que se quejan del 23 dic 2024 al 21 ene 2025; se acordó como máximo 39."
            in told
        )
        assert "En el libro de reglas no hay ningún acuerdo con somebody." in told
        assert "Agreement not kept, 'Fewer than 40 customers" in " ".join((await asked(run))["sentences"])


def agreed(**fields: Any) -> Agreement:
    given = {"name": {"en": "x"}, "since": date(2025, 1, 10), "measure": "complainants", "at_most": 5}
    return Agreement.model_validate(given | fields)


@pytest.mark.parametrize(
    ("agreement", "last", "complainants", "standing"),
    [
        (agreed(), date(2025, 3, 1), 5, Standing.KEPT),
        (agreed(), date(2025, 3, 1), 6, Standing.BROKEN),
        (agreed(at_most=None, at_least=5), date(2025, 3, 1), 6, Standing.KEPT),
        (agreed(), date(2025, 1, 9), 6, Standing.NOT_YET),
        (agreed(until=date(2025, 2, 28)), date(2025, 3, 1), 6, Standing.ENDED),
        (agreed(measure="availability"), date(2025, 3, 1), 6, Standing.NOT_MEASURED),
        (agreed(measure="complainants", at_most=None), date(2025, 3, 1), 6, Standing.NOT_MEASURED),
        (agreed(measure="complainants_per_10000", unit="orders"), date(2025, 3, 1), 6, Standing.NO_EXPOSURE),
    ],
)
def test_an_agreement_is_checked_only_where_it_stands_and_can_be_measured(
    agreement: Agreement, last: date, complainants: int, standing: Standing
) -> None:
    """R32"""
    assert check(agreement, last, complainants, None).standing is standing


def test_days_before_an_agreement_are_not_counted_against_it() -> None:
    """R32"""
    assert days_of(agreed(), date(2025, 1, 12)) == (date(2025, 1, 10), date(2025, 1, 12))
    assert days_of(agreed(days=2), date(2025, 1, 12)) == (date(2025, 1, 11), date(2025, 1, 12))


async def test_an_action_that_is_overdue_is_told_to_the_next_level_and_one_in_hand_is_not() -> None:
    """R94, R34, R05: an action is tracked by its due date; while it is in hand nobody above is told of the finding's age."""
    async with world() as (run, clock):
        await opened(run)
        await run.settle()
        await do(run, "confirm")
        assert (await do(run, "plan-action", PLAN)).status_code == 200

        async def standing() -> tuple[float, list[str]]:
            levels = (await asked(run))["levels"]
            return levels["seen"]["days"], [one["level"] for one in levels["levels"] if one["told"]]

        clock.advance(at(44))  # 19 February; due on the 20th
        await run.settle()
        assert await standing() == (0.0, [])
        clock.advance(at(47))
        await run.settle()
        assert await standing() == (26.5, ["area"])
        await equal_to_their_folds(run)


async def test_a_rate_that_was_agreed_on_without_what_it_is_divided_by_is_refused() -> None:
    """R32"""
    async with world() as (run, _):
        wrong = OPERATOR.replace(b"at_most: 50, unit: orders", b"at_most: 50, unit: parcels")
        answer = await publish(run, wrong)
        assert answer.status_code == 422
        assert [error["code"] for error in answer.json()["errors"]] == ["agreement_unit"]
        assert (await do(run, "confirm")).status_code == 404

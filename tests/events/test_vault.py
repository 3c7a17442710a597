"""The vault: one person per set of identifiers whoever races, keys that open and, once erased, never again (G5)."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from libs.events.clock import SimulatedClock
from libs.events.engines import reading
from libs.events.identifiers import normalised
from libs.events.vault import NewerVault, Unopenable, Vault, WrongMasterKey
from libs.events.vault_tables import identifiers, persons

MASTER = bytes(range(32))
START = datetime(2026, 3, 1, 9, tzinfo=UTC)


class Ticker:
    """Real seconds, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def vault_at(target: str | Path, **options: object) -> AsyncIterator[Vault]:
    vault = await Vault.open(str(target), MASTER, SimulatedClock(START), **options)
    try:
        yield vault
    finally:
        await vault.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "vault.db")
    fresh: Callable[[], str] = request.getfixturevalue("fresh_postgres")
    return fresh()


async def test_the_same_identifiers_name_the_same_person_in_one_batch_and_later(target: str) -> None:
    async with vault_at(target) as vault:
        first, second, third = await vault.resolve(
            [{"email": "Ana@Example.com "}, {"email": "ana@example.com"}, {"email": "luis@example.com"}]
        )
        assert first == second != third
        assert first.startswith("cus_")
    async with vault_at(target) as again:
        assert await again.resolve([{"email": "ANA@example.com"}]) == [first]
        assert await again.find({"email": "luis@example.com"}) == third
        assert await again.find({"email": "nobody@example.com"}) is None


async def test_any_identifier_leads_to_the_person_and_new_ones_are_learnt(target: str) -> None:
    async with vault_at(target) as vault:
        [ana] = await vault.resolve([{"email": "ana@example.com", "phone": "+57 300 123 4567"}])
        assert await vault.resolve([{"phone": "+573001234567", "document": "CC 52.123-456"}]) == [ana]
        assert await vault.resolve([{"document": "cc52123456"}]) == [ana]


async def test_a_customer_number_belongs_to_its_source(target: str) -> None:
    async with vault_at(target) as vault:
        one, other, again = await vault.resolve(
            [{"source": "crm", "id": "77"}, {"source": "shop", "id": "77"}, {"source": "crm", "id": "77"}]
        )
        assert one == again != other


async def test_a_shared_phone_does_not_make_two_customers_one(target: str) -> None:
    """Who sends `id` or `document` says who it is; a phone is only asked when nobody contradicts it."""
    async with vault_at(target) as vault:
        [mother] = await vault.resolve([{"source": "crm", "id": "1", "phone": "+573001234567"}])
        [daughter] = await vault.resolve([{"source": "crm", "id": "2", "phone": "+573001234567"}])
        assert mother != daughter
        assert await vault.resolve([{"source": "crm", "id": "2", "phone": "+573001234567"}]) == [daughter]
        assert await vault.resolve([{"phone": "+573001234567"}]) == [mother]
        # The same person in another system: nothing contradicts.
        assert await vault.resolve([{"source": "shop", "id": "900", "phone": "+573001234567"}]) == [mother]


async def test_whoever_races_for_a_person_gets_the_same_one(target: str) -> None:
    """Four vaults stand for four processes; all meet the same 60 new people at once, in different orders."""
    vaults = [await Vault.open(target, MASTER, SimulatedClock(START)) for _ in range(4)]
    people = [{"email": f"p{n}@example.com", "phone": f"+57300000{n:04}"} for n in range(60)]
    try:
        answers = await asyncio.gather(
            *(vault.resolve(people if turn % 2 else people[::-1]) for turn, vault in enumerate(vaults * 3))
        )
        expected = await vaults[0].resolve(people)
        for turn, answer in enumerate(answers):
            assert (answer if turn % 2 else answer[::-1]) == expected
        async with reading(vaults[0].engine) as connection:
            assert (await connection.execute(select(func.count()).select_from(persons))).scalar_one() == 60
            assert (await connection.execute(select(func.count()).select_from(identifiers))).scalar_one() == 120
    finally:
        for vault in vaults:
            await vault.close()


async def test_a_big_batch_of_new_people_is_taken_at_once(target: str) -> None:
    async with vault_at(target) as vault:
        people = [{"source": "crm", "id": str(n), "email": f"p{n}@example.com"} for n in range(5_000)]
        found = await vault.resolve(people)
        assert len(set(found)) == 5_000
        assert len(await vault.keys(found)) == 5_000
        assert await vault.resolve(people) == found


async def test_erasing_takes_the_key_and_the_identifiers_and_a_proof_remains(target: str) -> None:
    """G5"""
    async with vault_at(target) as vault:
        ana, luis = await vault.resolve([{"email": "ana@example.com", "phone": "1"}, {"email": "luis@example.com"}])
        assert set(await vault.keys([ana, luis])) == {ana, luis}
        assert await vault.erase(ana) is True
        assert set(await vault.keys([ana, luis])) == {luis}
        assert await vault.find({"phone": "1"}) is None
        assert await vault.erased_at(ana) == START
        assert await vault.erased_at(luis) is None
        assert await vault.erase(ana) is False
        assert await vault.erase("cus_never") is False
        [stranger] = await vault.resolve([{"email": "ana@example.com"}])
        assert stranger != ana


async def test_another_process_follows_an_erasure_within_the_cache_life(target: str) -> None:
    """G5"""
    ticker = Ticker()
    async with vault_at(target) as eraser, vault_at(target, cache_life=30.0, monotonic=ticker) as other:
        [ana] = await other.resolve([{"email": "ana@example.com"}])
        await other.keys([ana])
        await eraser.erase(ana)
        for ticker.seconds in range(30):  # traffic must not keep an entry alive
            await other.keys([ana])
            await other.resolve([{"email": "ana@example.com"}])
        ticker.seconds = 30
        assert await other.keys([ana]) == {}
        assert await other.resolve([{"email": "ana@example.com"}]) != [ana]


async def test_a_key_read_while_its_person_is_erased_is_not_cached(target: str) -> None:
    async with vault_at(target) as vault:
        for turn in range(20):
            [person] = await vault.resolve([{"email": f"p{turn}@example.com"}])
            await asyncio.gather(vault.keys([person]), vault.erase(person), vault.keys([person]))
            assert await vault.keys([person]) == {}


async def test_nothing_in_the_files_names_a_person_and_erased_keys_are_overwritten(tmp_path: Path) -> None:
    """G5: even with the master key, a copy of the files after the erasure opens nothing."""
    folder = tmp_path / "data"
    folder.mkdir()
    async with vault_at(folder / "vault.db") as vault:
        [ana, luis] = await vault.resolve(
            [
                {"email": "ana.clear@example.com", "phone": "+573009998877", "document": "CC998877665"},
                {"email": "l@example.com"},
            ]
        )
        async with reading(vault.engine) as connection:
            wrapped = bytes(
                (await connection.execute(select(persons.c.wrapped_key).where(persons.c.id == ana))).scalar_one()
            )
            hashes = [
                bytes(row[0])
                for row in await connection.execute(select(identifiers.c.hash).where(identifiers.c.person_id == ana))
            ]
        assert wrapped in _bytes(folder)
        await vault.erase(ana)
        # Taken while the vault is open, as a backup would.
        shutil.copytree(folder, tmp_path / "copy")
    for place in (folder, tmp_path / "copy"):
        everything = _bytes(place)
        for clear in (b"ana.clear", b"3009998877", b"998877665", wrapped, *hashes):
            assert clear not in everything
        assert luis.encode() in everything


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def test_a_wrong_master_key_is_told_at_once(target: str) -> None:
    async with vault_at(target):
        pass
    with pytest.raises(WrongMasterKey):
        await Vault.open(target, bytes(reversed(range(32))), SimulatedClock(START))


async def test_a_vault_of_a_newer_version_is_left_alone(target: str) -> None:
    async with vault_at(target) as vault, vault.engine.begin() as connection:
        await connection.execute(text("UPDATE vault_meta SET value = :v WHERE name = 'version'"), {"v": b"99"})
    with pytest.raises(NewerVault, match="99"):
        await Vault.open(target, MASTER, SimulatedClock(START))


async def test_processes_that_make_a_vault_at_once_share_its_keys(target: str) -> None:
    vaults = await asyncio.gather(*(Vault.open(target, MASTER, SimulatedClock(START)) for _ in range(4)))
    assert len({vault.hash("x") for vault in vaults}) == 1
    signing = await asyncio.gather(*(vault.system_key("signing") for vault in vaults))
    assert len(set(signing)) == 1
    for vault in vaults:
        await vault.close()


async def test_bodies_are_sealed_for_a_purpose_and_forgotten_with_it(target: str) -> None:
    async with vault_at(target) as vault:
        sealed = await vault.seal_bytes("quarantine/1", b"<raw>")
        assert b"<raw>" not in sealed
        assert await vault.open_bytes("quarantine/1", sealed) == b"<raw>"
        await vault.seal_bytes("quarantine/2", b"")
        with pytest.raises(Unopenable):
            await vault.open_bytes("quarantine/2", sealed)
        with pytest.raises(Unopenable):
            await vault.open_bytes("quarantine/1", sealed[:-1] + bytes([sealed[-1] ^ 1]))
        assert await vault.forget("quarantine/1") is True
        with pytest.raises(Unopenable, match="gone"):
            await vault.open_bytes("quarantine/1", sealed)


async def test_hashes_depend_on_the_vault_and_on_where_one_part_ends(tmp_path: Path) -> None:
    async with vault_at(tmp_path / "a.db") as one, vault_at(tmp_path / "b.db") as other:
        assert one.hash("a", "bc") == one.hash("a", "bc")
        assert one.hash("a", "bc") != one.hash("ab", "c")
        assert one.hash("a") != other.hash("a")


@pytest.mark.parametrize(
    ("scheme", "value", "expected"),
    [
        ("email", " Ana@Example.COM\n", "ana@example.com"),
        ("phone", "+57 (300) 123-4567", "+573001234567"),
        ("phone", "0057 300 1234567", "+573001234567"),
        ("phone", "300 123 4567", "3001234567"),
        ("document", "cc 52.123.456", "CC52123456"),
        ("loyalty", " aB-1 ", "aB-1"),
    ],
)
def test_identifiers_have_one_spelling(scheme: str, value: str, expected: str) -> None:
    assert normalised(scheme, value) == expected


async def test_somebody_without_an_identifier_is_refused(tmp_path: Path) -> None:
    async with vault_at(tmp_path / "vault.db") as vault:
        for nobody in ({}, {"email": "  "}, {"source": "crm"}, {"phone": "n/a"}):
            with pytest.raises(ValueError, match="identifier"):
                await vault.resolve([nobody])
        with pytest.raises(ValueError, match="longer"):
            await vault.resolve([{"email": "a" * 600}])


async def test_the_cache_is_bounded(tmp_path: Path) -> None:
    async with vault_at(tmp_path / "vault.db", cache_size=100) as vault:
        for start in range(0, 1_000, 50):
            await vault.resolve([{"email": f"p{n}@example.com"} for n in range(start, start + 50)])
        assert len(vault._persons._young) + len(vault._persons._old) <= 200


async def test_an_entry_unlooked_for_longer_than_its_life_is_gone(tmp_path: Path) -> None:
    ticker = Ticker()
    async with vault_at(tmp_path / "vault.db", cache_life=30.0, monotonic=ticker) as vault:
        [ana] = await vault.resolve([{"email": "ana@example.com"}])
        await vault.keys([ana])
        ticker.seconds = 31
        vault._keys.tick()
        assert vault._keys.get(ana) is None


def test_a_short_master_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(None, os.urandom(16), SimulatedClock(START + timedelta(0)))  # type: ignore[arg-type]  # refused before use

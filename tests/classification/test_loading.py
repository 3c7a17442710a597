"""A watch made from the tables' counts: in pieces, in one snapshot, and as if the counts had come by themselves."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert

from libs.service.testing import running
from services.classification import loading, tables
from services.classification.app import build as classification
from services.classification.counting import PEERS, USUAL, watched_of
from services.classification.domain.peers import Peers
from services.classification.domain.slices import BASE, DEFAULT, parse
from services.classification.domain.watch import Watch
from tests.classification.streams import ORIGIN


def rows() -> list[dict[str, Any]]:
    """Slices of three series, one of them of no series that is watched, heard of on different days."""
    rng = np.random.default_rng(3)
    named = [(BASE, "m1", "t1"), (BASE, "m0", "t0"), ("*motive", "m0", ""), (PEERS, "m0", "l0"), ("gone", "m", "x")]
    first = [int(day) for day in rng.integers(40, size=len(named))]
    many = rng.poisson(1.0, (len(named), 60))
    return [
        {"series": series, "motive": motive, "place": place, "day": ORIGIN + timedelta(days=day), "fresh": int(many[number, day]), "contacts": int(many[number, day]) + 1}
        for number, (series, motive, place) in enumerate(named)
        for day in range(first[number], 60)
        if many[number, day]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("piece", "database"), [(7, "sqlite"), (100_000, "sqlite"), pytest.param(7, "postgres", marks=pytest.mark.postgres)]
)
async def test_counts_are_read_in_pieces_of_one_snapshot_and_make_the_watch_that_they_would_have_made_by_themselves_R27(
    piece: int, database: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """While they are read others write: what is committed meanwhile is in none of the pieces."""
    monkeypatch.setattr(loading, "PIECE", piece)
    since, told = ORIGIN + timedelta(days=20), sorted(rows(), key=lambda row: (row["day"], row["motive"], row["place"]))
    watched = {one.counts: one for one in watched_of(parse(DEFAULT))}
    alone, peers = Watch(), Peers()
    for row in told:
        if row["day"] < since:
            continue
        if row["series"] in watched:
            key = watched[row["series"]].slice_of(row["motive"], row["place"])
            alone.add(key, row["day"], row["fresh"], row["contacts"])
        if row["series"] == PEERS:
            peers.add(row["motive"], row["place"], row["day"], row["fresh"])
    assert len(alone.keys) >= 3
    given = {} if database == "sqlite" else {"database": request.getfixturevalue("postgres_url")}
    async with running(classification, **given) as run:
        store = run.services["classification"].runtime.store
        async with store.unit() as unit:
            await unit.connection.execute(insert(tables.days), told)
        taken: list[int] = []
        take = loading._Read.take

        def spied(self: Any, some: Any) -> None:
            taken.append(len(some))
            take(self, some)

        monkeypatch.setattr(loading._Read, "take", spied)
        watch, held = Watch(), Peers()
        async with store.reading() as connection:
            await loading.load(
                connection, ORIGIN + timedelta(days=59), watched, Watch(), Peers()
            )  # the snapshot stands
            taken.clear()
            async with store.unit() as unit:
                late = {**told[0], "motive": "late", "day": since}
                await unit.connection.execute(insert(tables.days), [late])
            await loading.load(connection, since, watched, watch, held)
    assert max(taken) <= piece
    assert sum(taken) == sum(row["day"] >= since for row in told)
    assert watch.origin == alone.origin
    assert watch.keys == alone.keys
    columns = min(watch.fresh.shape[1], alone.fresh.shape[1])
    for name in ("fresh", "contacts"):
        one, other = (getattr(each, name)[: len(watch.keys), :columns] for each in (watch, alone))
        assert one.tolist() == other.tolist()
        assert getattr(watch, name).sum() == getattr(alone, name).sum()
    assert held.counts == peers.counts


async def test_a_table_without_counts_makes_an_empty_watch() -> None:
    watch = Watch()
    async with running(classification) as run:
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            await loading.load(connection, ORIGIN, {one.counts: one for one in USUAL}, watch, Peers())
    assert watch.keys == []
    assert watch.origin is None

"""The monitor's judgements kept across restarts: one row, written as weeks are over, ignored where anything it stands on has changed.

It is a copy of what the counts say and never more: its checksum, the settings it was made under and the form it is written in have to
agree, and a count that changes before its day removes it in the transaction that changes it.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.offload import offload
from services.classification import tables
from services.classification.domain.judges import METHOD
from services.classification.domain.monitor import Rules
from services.classification.domain.slices import Series
from services.classification.domain.watch import Watch
from services.classification.held import VERSION, Unreadable, pack, unpack

LEAST = 100_000
"""Days of slices judged, from which on a snapshot pays: fewer are judged again within four seconds."""
NAME = "monitor"
SELDOM = 10
"""Times as long as making one took, until the next is made of judging that is under way."""

logger = logging.getLogger("lazo.classification")


class Snapshots:
    def __init__(self, rules: Rules, series: Iterable[Series], zone: str) -> None:
        under = [VERSION, METHOD, np.__version__, asdict(rules), sorted(one.name for one in series), zone]
        self._under = hashlib.sha256(json.dumps(under, sort_keys=True).encode()).hexdigest()
        self._at: date | None = None
        self._again = 0.0

    async def keep(self, connection: AsyncConnection, watch: Watch) -> None:
        """Once a week of judged days; while judging is under way, as often as it takes a tenth of the time."""
        if watch.judged_days() < LEAST or watch.newest_kept() is None:
            return
        began = time.monotonic()
        if began < self._again if watch.underway else watch.newest_kept() == self._at:
            return
        made = await offload(watch.packed, pack)
        if made is None:
            return
        at, body = made
        table = tables.snapshots
        await connection.execute(delete(table).where(table.c.name == NAME))
        row: dict[str, Any] = {"name": NAME, "under": self._under, "at": at, "body": body}
        await connection.execute(insert(table).values(row | {"checksum": hashlib.sha256(body).hexdigest()}))
        self._at = at
        self._again = time.monotonic() + SELDOM * (time.monotonic() - began)

    async def spoil(self, connection: AsyncConnection, oldest: date) -> None:
        """Counts of that day have changed."""
        table = tables.snapshots
        await connection.execute(delete(table).where(table.c.name == NAME, table.c.at > oldest))
        if self._at is not None and self._at > oldest:
            self._at = None

    async def resume(self, connection: AsyncConnection, watch: Watch) -> bool:
        """Go on from what was kept, where it is still true; otherwise nothing is done."""
        table = tables.snapshots
        row = (await connection.execute(select(table).where(table.c.name == NAME))).one_or_none()
        if row is None or row.under != self._under:
            return False
        if hashlib.sha256(row.body).hexdigest() != row.checksum:
            logger.warning("the monitor's snapshot is not as it was written; its days are judged again")
            return False
        try:
            await offload(unpack, row.body, watch)
        except Unreadable as error:
            logger.warning("the monitor's snapshot cannot be read (%s); its days are judged again", error)
            return False
        return True

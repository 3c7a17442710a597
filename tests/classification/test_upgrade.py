"""A database made by the release before, brought to the newest schema: what is counted is what the contacts there make (R27)."""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import MetaData, insert, select

from libs.events.clock import SimulatedClock
from libs.service.environment import Environment
from libs.service.migration import differences, location_of, migrate
from libs.service.settings import Settings, load
from libs.service.testing import MASTER_KEY, running
from services.classification import tables
from services.classification.app import build as classification
from services.classification.counting import Counted, fold
from tests.classification.streams import ORIGIN
from tests.classification.test_corrected import facts, sums
from tests.classification.test_monitoring import UTC_ZONE, at, pass_time


async def old_database(folder: Path, clock: SimulatedClock) -> dict[str, Counted]:
    """Tables as of 0005, filled as that release filled them: contacts without what was not counted by, sums of two series."""
    environment = await Environment.open(load(Settings, data=folder, master_key=MASTER_KEY, access_log=False), clock)
    try:
        engine = environment.engine("classification")
        await migrate(engine, location_of("classification"), service="classification", revision="0005")
        old = MetaData()
        async with engine.begin() as connection:
            await connection.run_sync(old.reflect)
            contacts, particulars, days = (old.tables[name] for name in ("contacts", "particulars", "days"))
            assert not {"product", "team", "procedure", "component"} & set(contacts.c.keys())
            assert "snapshots" not in old.tables
            counted = [_as_counted(fact, clock) for fact in facts()]
            for one in counted:
                known = {name: getattr(one, name) for name in contacts.c.keys()}
                await connection.execute(insert(contacts).values(known))
            for number, one in enumerate(counted):
                if number % 7:  # some had no particulars: coded before there were any
                    await connection.execute(insert(particulars).values(_particulars(particulars, one)))
            rows = [
                dict(zip(("series", "motive", "place", "day", "fresh", "contacts"), (*key, *value), strict=True))
                for key, value in fold(counted).items()
                if key[0] in {"touchpoint", "location"}
            ]
            await connection.execute(insert(days), rows)
            mark = old.tables["watermarks"]
            latest = max(one.day for one in counted)
            seen = {"crm": max(one.occurred_at for one in counted).isoformat()}
            values = {"stamp": "old", "seen": seen, "latest": latest, "through": latest - timedelta(days=1), "gathering": False}
            await connection.execute(insert(mark).values(name="monitor", **values))
    finally:
        await environment.close()
    return {one.interaction_id: one for one in counted}

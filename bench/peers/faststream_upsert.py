"""Peer of M4: FastStream, one message at a time, one upsert each (its documented way), on asyncpg.

.bench/peers/bin/python bench/peers/faststream_upsert.py --kafka HOST:PORT --topic T --group G --url postgresql://… --events 10000
"""

import argparse
import asyncio
import json
import logging
import time
from typing import Any

import asyncpg
from faststream import FastStream
from faststream.kafka import KafkaBroker

UPSERT = (
    "INSERT INTO counts (day, kind, channel, n) VALUES ($1, $2, $3, 1)"
    " ON CONFLICT (day, kind, channel) DO UPDATE SET n = counts.n + 1"
)
TABLE = (
    "CREATE TABLE IF NOT EXISTS counts (day text, kind text, channel text, n bigint, PRIMARY KEY (day, kind, channel))"
)


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("kafka", "topic", "group", "url"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--events", type=int, required=True)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    broker = KafkaBroker(given.kafka)
    app = FastStream(broker)
    connection = await asyncpg.connect(given.url)
    await connection.execute(TABLE)
    count, began = 0, 0.0

    @broker.subscriber(given.topic, group_id=given.group, auto_offset_reset="earliest")
    async def handle(message: dict[str, Any]) -> None:
        nonlocal count, began
        if not count:
            began = time.perf_counter()
        await connection.execute(UPSERT, message["occurred_at"][:10], message["kind"], message["channel"])
        count += 1
        if count == given.events:
            print(json.dumps({"rate": count / (time.perf_counter() - began)}), flush=True)
            app.exit()

    await app.run()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())

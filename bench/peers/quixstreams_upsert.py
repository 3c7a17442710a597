"""Peer of M4: Quix Streams, an upsert per event in `sdf.update`, on psycopg, committed with its checkpoints.

.bench/peers/bin/python bench/peers/quixstreams_upsert.py --kafka HOST:PORT --topic T --group G --url postgresql://… --events 10000
"""

import argparse
import json
import tempfile
import time
from typing import Any

import psycopg
from quixstreams import Application

UPSERT = (
    "INSERT INTO counts (day, kind, channel, n) VALUES (%s, %s, %s, 1)"
    " ON CONFLICT (day, kind, channel) DO UPDATE SET n = counts.n + 1"
)
TABLE = (
    "CREATE TABLE IF NOT EXISTS counts (day text, kind text, channel text, n bigint, PRIMARY KEY (day, kind, channel))"
)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("kafka", "topic", "group", "url"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--events", type=int, required=True)
    given = parser.parse_args()
    connection = psycopg.connect(given.url, autocommit=True)
    connection.execute(TABLE)
    app = Application(
        broker_address=given.kafka,
        consumer_group=given.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="ERROR",
        state_dir=tempfile.mkdtemp(),
    )
    count, began = 0, 0.0

    def handle(message: dict[str, Any]) -> None:
        nonlocal count, began
        if not count:
            began = time.perf_counter()
        connection.execute(UPSERT, (message["occurred_at"][:10], message["kind"], message["channel"]))
        count += 1
        if count == given.events:
            print(json.dumps({"rate": count / (time.perf_counter() - began)}), flush=True)
            app.stop()

    app.dataframe(app.topic(given.topic, value_deserializer="json")).update(handle)
    app.run()


if __name__ == "__main__":
    main()

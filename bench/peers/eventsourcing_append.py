"""Peer of M1 and M2: the `eventsourcing` library's PostgreSQL recorder, events of the same size appended `--batch` at a time.

    .bench/peers/bin/python bench/peers/eventsourcing_append.py --url postgresql://… --batch 1 --seconds 4

Its transcoder and mapper are part of what it does for its users, so an aggregate's event goes through them.
"""

import argparse
import json
import os
import time
import uuid
from urllib.parse import urlsplit

TEXT = "x" * 330


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    parts = urlsplit(given.url)
    os.environ |= {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.removeprefix("/"),
        "POSTGRES_HOST": parts.hostname or "127.0.0.1",
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": parts.username or "postgres",
        "POSTGRES_PASSWORD": parts.password or "postgres",
    }
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate

    class Contact(Aggregate):
        def __init__(self, number: int, customer: str, text: str) -> None:
            self.number, self.customer, self.text = number, customer, text

    application: Application[uuid.UUID] = Application()
    number = 0

    def save() -> None:
        nonlocal number
        batch = []
        for _ in range(given.batch):
            number += 1
            batch.append(Contact(number, f"customer-{number % 5000}", TEXT))
        application.save(*batch)

    end = time.perf_counter() + 1
    while time.perf_counter() < end:
        save()
    first, began = number, time.perf_counter()
    while (now := time.perf_counter()) - began < given.seconds:
        save()
    print(json.dumps({"rate": (number - first) / (now - began)}))
    application.close()


if __name__ == "__main__":
    main()

"""A `lazo up` that really runs, a client with an admin key, and the memory of what it accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.faults.site import Process, Site

INTERACTIONS = "/intake/v1/interactions"


class Server:
    """The process, in a directory of its own; `environment` may choose other engines."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.site = Site(folder, environment | {"LAZO_LANGUAGE": "en"}, embedded=True)
        self.client = httpx.Client(base_url=self.process.url, headers=self.site.headers(), timeout=60)
        self.accepted: set[str] = set()

    @property
    def process(self) -> Process:
        return self.site.processes[0]

    def up(self) -> None:
        self.site.start()
        self.site.ready()
        answer = self.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM", "region": "CO"})
        assert answer.status_code == 201, answer.text

    def post(self, content: Any, **headers: str) -> httpx.Response:
        """To interactions; remembers what was accepted."""
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        answer = self.client.post(INTERACTIONS, content=body, headers={"content-type": "application/json"} | headers)
        if answer.status_code == 202:
            new = {result["id"] for result in answer.json()["results"] if result["status"] == "accepted"}
            assert not new & self.accepted, "accepted twice"
            self.accepted |= new
        return answer

    def status(self, service: str) -> dict[str, Any]:
        answer = self.client.get(f"/{service}/v1/status")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def received(self) -> int:
        """Cases by indicator 1, once everything came to rest."""
        self.site.settled(90)
        points = self.client.get("/indicators/v1/indicators/1", params={"granularity": "month"}).json()["points"]
        return int(sum(point["value"] for point in points))

    def close(self) -> None:
        self.client.close()
        self.site.close()

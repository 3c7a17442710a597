"""The limit of M1: FastAPI and the same pydantic model, nothing behind it; one worker on the same loop and parser.

python -m bench.bare_web --port 8000
"""

from __future__ import annotations

import argparse
from typing import Any

import uvicorn
from fastapi import FastAPI

from services.intake.domain.interactions import InteractionIn

app = FastAPI()


async def record(item: InteractionIn) -> dict[str, Any]:
    """What a hand-written service would do before it keeps anything."""
    return {"accepted": 1, "id": item["external_id"]}


record.__annotations__ = {"item": InteractionIn, "return": dict[str, Any]}
app.post("/intake/v1/interactions", status_code=202)(record)


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    """For whoever waits until it serves."""
    return {"status": "ready"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    uvicorn.run(app, host="127.0.0.1", port=given.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()

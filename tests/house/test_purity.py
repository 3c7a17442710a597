"""A domain decides from what it is handed and from nothing else: no clock, no chance, no I/O, no framework.

The rule follows imports: whatever a domain imports from this repository must be just as pure.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.source import ROOT, dotted, imports, module_file, relative

# Everything a domain may import beside its own package and the catalogue. Reading the zone database and the table of public
# holidays is the only "input" among these, and both are fixed by the pinned requirements.
STANDARD = """
    __future__ abc array base64 bisect calendar collections contextlib copy dataclasses datetime decimal difflib enum fractions
    functools graphlib hashlib heapq hmac html itertools json math numbers operator re statistics string struct textwrap types
    typing unicodedata uuid zlib zoneinfo
"""
OURS_AND_OTHERS = "typing_extensions numpy orjson pydantic pydantic_core holidays scipy sklearn libs services"
ALLOWED = {*STANDARD.split(), *OURS_AND_OTHERS.split()}
# What an event is. Checked like everything else, and the end of the way: it names the log's record, which no domain touches.
LAST = ("libs/events/envelope.py",)
FORBIDDEN_IN_REPOSITORY = ("libs.service",)
CLOCK = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
}
CHANCE = {"uuid1", "uuid4", "uuid6", "uuid7", "getnode"}
BUILTINS = {
    "open": "I/O",
    "input": "I/O",
    "print": "I/O",
    "exec": "hides what it does",
    "eval": "hides what it does",
    "__import__": "hides an import",
    "hash": "differs from process to process (PYTHONHASHSEED)",
    "id": "differs from process to process",
}
NUMPY = {"random", "load", "save", "savez", "fromfile", "loadtxt", "savetxt", "genfromtxt", "memmap"}


def asks_the_clock(node: ast.expr) -> bool:
    """`datetime.now` and its kin, however the module was named on import."""
    return any(dotted(node) == name or dotted(node).endswith("." + name) for name in CLOCK)


def impurities(source: str) -> list[str]:
    """What makes a module impure, each with its line."""
    tree = ast.parse(source)
    found = []
    for line, name in imports(tree):
        top, last = name.split(".")[0], name.rsplit(".", 1)[-1]
        if top not in ALLOWED or any(
            name == banned or name.startswith(banned + ".") for banned in FORBIDDEN_IN_REPOSITORY
        ):
            found.append(f"{line}: imports {name}")
        elif (top == "uuid" and last in CHANCE) or (top == "numpy" and set(name.split(".")) & NUMPY):
            found.append(f"{line}: imports {name}, chance or I/O")
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"{node.lineno}: is asynchronous; a decision waits for nothing")
        elif isinstance(node, ast.Attribute):
            name = dotted(node)
            if asks_the_clock(node):
                found.append(f"{node.lineno}: {name} asks the clock; take `now` as an argument")
            elif name.startswith("uuid.") and node.attr in CHANCE:
                found.append(f"{node.lineno}: {name} is chance; derive the id from its cause")
            elif name.split(".")[0] in {"np", "numpy"} and node.attr in NUMPY:
                found.append(f"{node.lineno}: {name} is chance or I/O")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
            found.append(f"{node.lineno}: {node.func.id}() {BUILTINS[node.func.id]}")
    return found


def domain_files(root: Path) -> list[Path]:
    """Every service's domain, file or folder."""
    return sorted([*root.glob("services/*/domain.py"), *root.glob("services/*/domain/**/*.py")])


def reachable(starts: list[Path], root: Path) -> dict[Path, str]:
    """Our own modules a domain reaches by import, each with the way that leads there."""
    ways = {path: path.relative_to(root).as_posix() for path in starts}
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path.relative_to(root).as_posix() in LAST:
            continue
        for _, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            target = module_file(name, root)
            if target is not None and target not in ways:
                ways[target] = f"{ways[path]} -> {target.relative_to(root).as_posix()}"
                waiting.append(target)
    return ways


def problems(root: Path) -> list[str]:
    """All impurities of all domains below a root."""
    ways = reachable(domain_files(root), root)
    return [
        f"{way}:{what}" for path, way in sorted(ways.items()) for what in impurities(path.read_text(encoding="utf-8"))
    ]


def test_every_domain_is_pure_with_all_it_imports() -> None:
    assert domain_files(ROOT), "no domain was found: the test looks in the wrong place"
    found = problems(ROOT)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\nnow = datetime.now()",
        "import datetime as dt\nnow = dt.datetime.now(dt.UTC)",
        "from datetime import date\ntoday = date.today()",
        "f = datetime.utcnow",
        "import time",
        "import random",
        "import secrets",
        "from uuid import uuid4",
        "import uuid\ni = uuid.uuid1()",
        "import numpy as np\nr = np.random.default_rng(1)",
        "from numpy.random import default_rng",
        "import numpy as np\na = np.load('x')",
        "open('x')",
        "print('x')",
        "h = hash('x')",
        "import os",
        "from pathlib import Path",
        "import socket",
        "import asyncio",
        "async def decide(): ...",
        "import httpx",
        "from sqlalchemy import select",
        "from fastapi import Depends",
        "import aiokafka",
        "import structlog",
        "import logging",
        "import importlib",
        "from libs.service import settings",
        "from libs.service.http import Problem",
        "def f():\n    import subprocess",
    ],
)
def test_an_impure_domain_is_named(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime, timedelta\ndef decide(now: datetime) -> datetime: return now + timedelta(days=1)",
        "from uuid import UUID, uuid5\ni = uuid5(UUID(int=0), 'x')",
        "import numpy as np\nm = np.mean([1.0])",
        "from libs.events.catalogue.base import EventData",
        "class A:\n    def __hash__(self) -> int: return 1",
    ],
)
def test_a_pure_domain_is_left_in_peace(source: str) -> None:
    assert impurities(source) == []


def test_an_impure_module_behind_a_pure_one_is_named_with_the_way_there(tmp_path: Path) -> None:
    room = tmp_path / "services" / "intake"
    room.mkdir(parents=True)
    (room / "domain.py").write_text("from services.intake.helper import now\n")
    (room / "helper.py").write_text("from datetime import datetime\nnow = datetime.now\n")
    assert problems(tmp_path) == [
        "services/intake/domain.py -> services/intake/helper.py:2: datetime.now asks the clock; take `now` as an argument"
    ]


def test_only_the_clock_tells_the_time() -> None:
    """Durations may be measured (`monotonic`, `perf_counter`); what time it is, only `libs/events/clock.py` knows."""
    guilty = [
        f"{relative(path)}:{node.lineno}"
        for part in ("libs", "services")
        for path in sorted((ROOT / part).rglob("*.py"))
        if relative(path) != "libs/events/clock.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and asks_the_clock(node)
    ]
    assert not guilty, "\n" + "\n".join(guilty)

"""The import rules of pyproject.toml hold, and each of them can break: a rule nobody can break guards nothing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.source import ROOT

LINT = Path(sys.executable).with_name("lint-imports")
ROOMS = ("domain", "tables", "views", "api", "app", "subscriptions", "__main__")
SERVICES = ("intake", "classification", "indicators", "feedback")

BREAKS = [
    ("independent", "services/intake/api.py", "import services.feedback.domain"),
    ("libs-below", "libs/events/store.py", "import services.intake"),
    ("events-below", "libs/events/store.py", "import libs.service.settings"),
    ("catalogue-pure", "libs/events/catalogue/base.py", "import sqlalchemy"),
    ("domain-pure", "services/feedback/domain.py", "import sqlalchemy"),
    ("domain-pure", "services/feedback/domain.py", "import libs.service.settings"),
    ("models-are-data", "services/feedback/domain.py", "import pickle"),
    ("reads-below-api", "services/indicators/views.py", "import services.indicators.api"),
    ("demo-outside", "services/demo/play.py", "import services.intake.domain"),
    ("one-composition-root", "services/intake/api.py", "import services.intake.app"),
]


def contracts() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]]


def lint(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(LINT), "--no-cache", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """Our layout with empty rooms, under the rules of the real pyproject.toml."""
    files = [
        "libs/service/settings.py",
        "libs/events/store.py",
        "libs/events/catalogue/base.py",
        "services/__main__.py",
    ]
    files += ["services/demo/play.py", *(f"services/{service}/{room}.py" for service in SERVICES for room in ROOMS)]
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        for parent in path.relative_to(tmp_path).parents:
            if parent != Path():
                (tmp_path / parent / "__init__.py").touch()
    rules = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(rules[rules.index("[tool.importlinter]") : rules.index("[tool.ruff]")])
    return tmp_path


def test_the_repository_keeps_every_import_rule() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_empty_rooms_keep_every_rule(skeleton: Path) -> None:
    done = lint(skeleton)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("contract", "file", "line"), BREAKS)
def test_a_forbidden_import_breaks_its_rule(skeleton: Path, contract: str, file: str, line: str) -> None:
    (skeleton / file).write_text(f"{line}\n")
    done = lint(skeleton, "--contract", contract)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"BROKEN", done.stdout), done.stdout + done.stderr


def test_every_rule_is_shown_to_break() -> None:
    assert {contract for contract, _, _ in BREAKS} == set(contracts())

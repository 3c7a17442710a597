"""What is installed is what was pinned, from wherever the reader's own settings point; and every import is declared."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.source import ROOT, imports, relative

REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
SERVICES = ("intake", "classification", "indicators", "feedback")
INSEPARABLE = {"pydantic-core", "typing-extensions"}  # pydantic pins the one and is written in terms of the other
OPTIONAL = ("postgres", "otel", "parquet", "encoder")  # used behind a guard, wherever they are installed


def normal(name: str) -> str:
    """A distribution's name as registries compare it, without extras, version and marker."""
    bare = re.split(r"[\[<>=~!;\s]", name, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", bare).lower()


def pins(path: Path) -> dict[str, set[str]]:
    """Distribution -> versions (more than one where Pythons or platforms need different ones)."""
    found: dict[str, set[str]] = {}
    for match in re.finditer(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", path.read_text(), re.MULTILINE):
        found.setdefault(normal(match[1]), set()).add(match[2])
    return found


def project() -> dict[str, list[str]]:
    """Distributions by extra, "" being what everything needs; references from one extra to others are resolved."""
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"": described["dependencies"], **described["optional-dependencies"]}

    def resolve(extra: str) -> list[str]:
        names: list[str] = []
        for entry in extras[extra]:
            if own := re.match(r"lazo-complaints\[(.+)\]", entry):
                names += [name for part in own[1].split(",") for name in resolve(part.strip())]
            else:
                names.append(normal(entry))
        return names

    return {extra: resolve(extra) for extra in extras}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes_and_without_an_address(path: Path) -> None:
    logical = path.read_text().replace("\\\n", " ").splitlines()
    entries = [line for line in logical if line.strip() and not line.startswith("#")]
    assert entries
    assert [
        line for line in entries if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ] == []
    assert not re.search(r"https?://|^-", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("file", "extra"), [("dev.txt", "dev"), ("base.txt", "all"), ("bench.txt", "bench")])
def test_what_the_project_asks_for_is_pinned(file: str, extra: str) -> None:
    pinned = pins(ROOT / "requirements" / file)
    assert {name for name in [*project()[""], *project()[extra]] if name not in pinned} == set()


@pytest.mark.parametrize("file", ["base.txt", "bench.txt"])
def test_what_runs_is_what_was_tested(file: str) -> None:
    tested = pins(ROOT / "requirements" / "dev.txt")
    assert {
        name: versions for name, versions in pins(ROOT / "requirements" / file).items() if not versions & tested[name]
    } == {}


def third_party(path: Path) -> set[str]:
    """Top-level modules a file imports that are neither ours nor Python's."""
    names = {name.split(".")[0] for _, name in imports(ast.parse(path.read_text(encoding="utf-8")))}
    return names - set(sys.stdlib_module_names) - {"libs", "services", "tests", "bench", "kafka_local", "__future__"}


@pytest.mark.parametrize("part", ["libs", *(f"services/{service}" for service in SERVICES)])
def test_an_image_with_one_service_has_all_that_the_service_imports(part: str) -> None:
    """`pip install lazo-complaints[intake]` must be enough for intake, and likewise for the others."""
    declared = project()
    allowed = INSEPARABLE | {name for extra in ("", *OPTIONAL) for name in declared[extra]}
    if part != "libs":
        allowed |= set(declared[part.removeprefix("services/")])
    owners = packages_distributions()
    undeclared = {
        f"{relative(path)} imports {module}"
        for path in sorted((ROOT / part).rglob("*.py"))
        if path.name != "testing.py"  # helpers of tests
        for module in third_party(path)
        if not {normal(owner) for owner in owners.get(module, [module])} & allowed
    }
    assert not undeclared, "\n" + "\n".join(sorted(undeclared))


def test_make_help_lists_every_target() -> None:
    phony = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert phony >= {
        "help",
        "setup",
        "demo",
        "test",
        "lint",
        "format",
        "schemas",
        "docs",
        "bench",
        "faults",
        "clean",
        "requirements",
    }
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[0] for line in shown.splitlines()} == phony

"""What may not stand in any file of the repository, and how long a file may be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.source import relative, text_of, tracked

LONGEST = 450  # a room is one file until about 400 lines; the rest is grace for the last function

# Written in two halves so that this file does not name them.
ADDRESSES = [
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    r"maven" + r"\.(apache\.)?org/maven2",
    r"repo1?" + r"\.maven",
    "registry" + r"\.npmjs",
    "deb" + r"\.debian\.org",
    r"--(extra-)?index" + "-url",
    r"--find" + "-links",
]
PLACES = [
    r"(?<![\w.])/wo" + r"rk/",
    r"(?<![\w.])/ro" + r"ot/",
    r"(?<![\w.])/ho" + r"me/\w",
    r"/Us" + r"ers/\w",
    r"/tmp/la" + r"zo/",
]
LEFTOVERS = [r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b"]
# `--no-emit-…` in the Makefile is how requirements come to carry no address; Ana is nobody's neighbour.
PERMITTED = re.compile(r"--no-emit-(index|find)-\w+|/home/ana\b")
REASONLESS = re.compile(r"#\s*(type:\s*ignore(\[[\w, -]*\])?|noqa(:\s*[A-Z0-9, ]+)?|pragma: no cover)\s*$")


def lines_matching(patterns: list[str], files: tuple[Path, ...]) -> list[str]:
    """`file:line: text` for every match."""
    wanted = re.compile("|".join(patterns))
    return [
        f"{relative(path)}:{number}: {line.strip()[:120]}"
        for path in files
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if wanted.search(PERMITTED.sub("", line))
    ]


@pytest.mark.parametrize(
    ("what", "patterns"),
    [("a package registry", ADDRESSES), ("a place on one machine", PLACES), ("a leftover", LEFTOVERS)],
    ids=["registry", "machine", "leftover"],
)
def test_no_tracked_file_names_a_registry_a_machine_or_a_leftover(what: str, patterns: list[str]) -> None:
    found = lines_matching(patterns, tracked())
    assert not found, f"these lines name {what}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "https://py" + "pi.org/simple",
        "--index" + "-url x",
        "see /wo" + "rk/main",
        "cd /ro" + "ot/x",
        "# TO" + "DO later",
        "/ho" + "me/someone/lazo",
    ],
)
def test_the_patterns_find_what_they_are_for(line: str) -> None:
    assert re.search("|".join([*ADDRESSES, *PLACES, *LEFTOVERS]), line)


@pytest.mark.parametrize(
    "line",
    ["GET /network/", "the framework/parts", "uv pip compile --no-emit-index" + "-url", "métodos y todo lo demás"],
)
def test_the_patterns_leave_the_rest_in_peace(line: str) -> None:
    assert not re.search("|".join([*ADDRESSES, *PLACES, *LEFTOVERS]), PERMITTED.sub("", line))


def test_files_are_short_enough_to_be_read_at_once() -> None:
    # A migration is written once, by a tool, and read never again.
    code = [
        path
        for path in tracked()
        if path.suffix in {".py", ".js", ".css", ".html", ".sh"} and "migrations" not in path.parts
    ]
    lengths = {relative(path): len((text_of(path) or "").splitlines()) for path in code}
    too_long = [f"{name}: {length} lines" for name, length in lengths.items() if length > LONGEST]
    assert not too_long, "\n" + "\n".join(too_long)


def unexplained(source: str) -> list[str]:
    """Lines that silence a check with no reason on the line nor in a comment right above."""
    lines = source.splitlines()
    return [
        f"{number}: {line.strip()[:120]}"
        for number, line in enumerate(lines, 1)
        if REASONLESS.search(line) and not (number > 1 and lines[number - 2].lstrip().startswith("#"))
    ]


def test_every_silenced_check_says_why() -> None:
    guilty = [
        f"{relative(path)}:{line}"
        for path in tracked()
        if path.suffix == ".py"
        for line in unexplained(text_of(path) or "")
    ]
    assert not guilty, "\n" + "\n".join(guilty)


@pytest.mark.parametrize("silenced", ["x  # no" + "qa: S608", "x  # type: " + "ignore[arg-type]", "x  # no" + "qa"])
def test_a_reason_stands_beside_or_above(silenced: str) -> None:
    assert unexplained(f"y\n{silenced}")
    assert not unexplained(f"# the names are constants\n{silenced}")
    assert not unexplained(f"y\n{silenced} - the names are constants")

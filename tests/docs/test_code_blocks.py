"""Every code block of the documentation runs as a reader would run it: page by page, block after block, in an empty directory.

`bash` and `python` blocks are executed; anything else (`text`, `json`, `yaml` …) is shown only. A page may be read on a machine where
port 8000 is taken, so that number becomes a free port. A block that cannot run here is preceded by a comment that says why:

    <!-- not executed: needs a cluster -->
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
EXCUSE = re.compile(r"<!-- not executed: (?P<reason>[^>]+) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language, its text, and why it is not executed, if it is not."""

    line: int
    language: str
    body: str
    excuse: str | None


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for match in FENCE.finditer(page):
        excuse = EXCUSE.search(page, 0, match.start())
        body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        line = page.count("\n", 0, match.start()) + 1
        found.append(Block(line, match["language"], body, excuse["reason"] if excuse else None))
    return found


def script(page: str, port: int) -> str:
    """The page as one shell script; every block names itself before it runs. Empty when nothing is to be executed."""
    parts = []
    for block in blocks(page):
        if block.excuse is not None or block.language not in {"bash", "python"}:
            continue
        body = re.sub(r"\b8000\b", str(port), block.body)
        if block.language == "python":
            body = f"python - <<'END_OF_BLOCK'\n{body}END_OF_BLOCK\n"
        parts.append(f"echo '--- line {block.line}' >&2\n{body}")
    return "\n".join(parts)


def run(page: str, directory: Path, timeout: float = 170) -> tuple[int, str]:
    """Execute a page; exit code and all it said. What it left running in the background is ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAZO_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["REPOSITORY"] = str(ROOT)
    output = directory / "output.txt"
    work = directory / "work"
    work.mkdir()
    with output.open("wb") as sink:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script(page, free_port())],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return code, output.read_text(errors="replace")


# A page may start all of Lazo and call a dozen commands: 15 s on an idle machine, ten times that on a crowded one.
@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_blocks_of_a_page_run_as_written(page: Path, tmp_path: Path) -> None:
    code, output = run(page.read_text(encoding="utf-8"), tmp_path)
    assert code == 0, output[-4000:]


def test_a_failing_block_fails_its_page_and_later_blocks_do_not_run(tmp_path: Path) -> None:
    code, output = run(
        "# t\n\n```bash\nexport X=1\n```\n\n```python\nraise SystemExit(3)\n```\n\n```bash\necho later\n```\n", tmp_path
    )
    assert (code, "--- line 7" in output, "later" in output) == (3, True, False)


def test_blocks_share_a_shell_and_an_excused_block_is_left_out(tmp_path: Path) -> None:
    page = "```bash\nexport X=kept\n```\n\n<!-- not executed: it would fail -->\n```bash\nfalse\n```\n\n```bash\necho $X\n```\n"
    assert run(page, tmp_path) == (0, "--- line 1\n--- line 10\nkept\n")


def test_a_server_left_running_by_a_page_is_ended(tmp_path: Path) -> None:
    code, output = run("```bash\nsleep 600 &\necho $!\n```\n", tmp_path)
    assert code == 0
    pid = int(output.split()[-1])
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert state == "" or state.startswith("Z")


def test_port_8000_becomes_a_free_port() -> None:
    assert "8000" not in script("```bash\nlazo up --port 8000\ncurl localhost:8000/x\n```\n", 5)

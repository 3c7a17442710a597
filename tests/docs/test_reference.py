"""The reference pages say what the code says, links lead somewhere, and both readmes hold the same commands."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs import generated
from tests.docs.test_code_blocks import PAGES, ROOT, blocks

LINK = re.compile(r"(?<!\\)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
LINKED = sorted({*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"})


@pytest.mark.parametrize("page", sorted(generated.FOLDER.glob("*.md")), ids=lambda path: path.name)
def test_a_reference_page_is_what_the_code_makes_of_it(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == generated.written(text), "out of date: python -m tests.docs.generated"


def test_every_generated_part_stands_on_a_page() -> None:
    found = [name for page in generated.FOLDER.glob("*.md") for name in generated.names(page.read_text("utf-8"))]
    assert sorted(found) == sorted(generated.PARTS)


def anchors(text: str) -> set[str]:
    """What a heading is linked by: lower case, no punctuation, hyphens for blanks."""
    titles = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for match in LINK.finditer(CODE.sub("code", page.read_text("utf-8"))):
        target, _, anchor = unquote(match["target"]).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{match['target']} leads nowhere"
        if anchor:
            assert anchor in anchors(there.read_text("utf-8")), f"{match['target']}: no such heading"


def test_the_spanish_readme_holds_the_same_commands_as_the_english_one() -> None:
    english, spanish = (
        [block.body for block in blocks((ROOT / name).read_text("utf-8")) if block.language == "bash"]
        for name in ("README.md", "README.es.md")
    )
    assert [re.sub(r" *#.*", "", body) for body in spanish] == [re.sub(r" *#.*", "", body) for body in english]

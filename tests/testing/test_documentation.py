"""docs/testing.md, the README and the example project: what they show works as it stands there."""

import re
import shutil
from pathlib import Path

import pytest

from tests.testing.projects import run_pytest
from tests.unit.source_tree import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "testing"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\w+\.py)\n")


def python_blocks(text: str) -> list[str]:
    """The fenced blocks of Python in a document."""
    return BLOCK.findall(text)


def write_blocks(blocks: list[str], directory: Path) -> None:
    """Write each block into a folder of its own, as the file it names in its first line."""
    for number, block in enumerate(blocks, 1):
        named = FILE_NAME.match(block)
        path = directory / f"block_{number}" / (named[1] if named else f"test_block_{number}.py")
        path.parent.mkdir()
        path.write_text(block)


def test_every_block_of_the_page_and_the_test_of_the_readme_run(tmp_path: Path) -> None:
    page, readme = (
        python_blocks((ROOT / name).read_text("utf-8")) for name in ("docs/testing.md", "README.md")
    )
    tests = [block for block in readme if "def test_" in block]
    assert len(page) >= 10
    assert len(tests) == 1
    write_blocks([*page, *tests], tmp_path)
    run_pytest(tmp_path)


@pytest.mark.parametrize("arguments", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_the_example_project_passes(tmp_path: Path, arguments: list[str]) -> None:
    project = tmp_path / "shop"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    run_pytest(project, *arguments)


def test_blocks_are_found_and_named(tmp_path: Path) -> None:
    text = "a\n```python\n# test_it.py\nx = 1\n```\n```\nno\n```\n\n```python\ny = 2\n```\n"
    blocks = python_blocks(text)
    assert blocks == ["# test_it.py\nx = 1\n", "y = 2\n"]
    write_blocks(blocks, tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py")) == [
        "block_1/test_it.py",
        "block_2/test_block_2.py",
    ]

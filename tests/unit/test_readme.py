"""The README names files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#:]+)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_files_on_the_path_of_a_message_exist() -> None:
    paths = re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py|/))`", README)
    roots = (ROOT, ROOT / "server" / "leveret")

    assert "net/transport.py" in paths
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []

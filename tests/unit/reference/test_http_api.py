"""docs/api.md agrees with the resources and schemas of the HTTP API."""

from pathlib import Path

from leveret.reference import http_api

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_the_generated_one() -> None:
    page = (ROOT / http_api.DOCUMENT_PATH).read_text("utf-8")
    assert http_api.with_tables(page) == page, "python -m leveret.reference.http_api"

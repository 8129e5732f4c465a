"""Where the HTTP API lets in others than RabbitMQ 3.10.8, or answers them otherwise, and why."""

import re
from typing import Final

DIFFERENCES: Final[dict[str, tuple[str, str]]] = {
    "Nobody makes it fail.": ("GET /connections/username/", r"200 \[\] for 500"),
    "Whoever may not see a virtual host is told so, also of its consumers.": (
        "GET /consumers/",
        r"401 for 200 \[\]",
    ),
    "There are no plugins with pages, and no feature flags.": (
        "GET /(extensions|feature-flags)$",
        r"200 \[\] for 200",
    ),
    "An administrator without permissions is refused before it is looked what there is.": (
        "DELETE /.*-?none$",
        "401 for 404",
    ),
    "A publish without the right to it is refused as everything else.": (
        "POST /exchanges/.*/publish",
        "401 for 400",
    ),
    "What is not there is not there for everybody.": (
        "DELETE /connections/none",
        "404 for (401|500)",
    ),
}
"""By the reason: a regular expression of the request, and one of what differs."""


def explained(request: str, cell: str, was: str) -> bool:
    """Whether a difference is listed."""
    return any(
        re.search(path, request) and re.fullmatch(what, f"{cell} for {was}")
        for path, what in DIFFERENCES.values()
    )

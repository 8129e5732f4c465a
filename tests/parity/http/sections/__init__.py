"""The sections, in the order in which they are played."""

from collections.abc import Callable
from typing import Final

from tests.parity.http.play import Play
from tests.parity.http.sections import (
    changes,
    definitions,
    errors,
    messages,
    nodes,
    paging,
    reading,
    settings,
)

SECTIONS: Final[dict[str, Callable[[Play], None]]] = {
    "reading": reading.play,
    "nodes": nodes.play,
    "paging": paging.play,
    "errors": errors.play,
    "changes": changes.play,
    "settings": settings.play,
    "messages": messages.play,
    "definitions": definitions.play,
}

"""Leveret, an AMQP 0-9-1 broker. docs/ describes the tree; a run starts in `cli.py`."""

from typing import Final

__version__: Final = "0.1.0"

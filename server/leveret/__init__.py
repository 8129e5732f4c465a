"""Leveret, an AMQP 0-9-1 broker. The tree is explained in docs/; `cli.py` is where a run begins."""

from typing import Final

__version__: Final = "0.1.0"

"""Leveret, an AMQP 0-9-1 broker. docs/ describes the tree; a run starts in `cli.py`.

PYTEST_DONT_REWRITE: pytest leaves assertions as they are (`testing/unrewritten.py`).
"""

from typing import Final

__version__: Final = "0.1.0"

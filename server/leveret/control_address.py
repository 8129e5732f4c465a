"""Where the control socket of a data directory is."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "control.sock"


@contextmanager
def socket_address(directory: Path) -> Generator[str, None, None]:
    """The address of the control socket, which is short however long the path is: a socket's may
    have 107 bytes."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)

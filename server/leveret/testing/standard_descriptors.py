"""The file descriptors 0 to 2, of standard input, output and error.

A process that was started without them has sockets there, unless somebody else is first. The event
loop ends the process (libuv: an assertion of uv__close) when it closes such a socket, and a process
that it starts has its standard input in that place.
"""

import os
from typing import Final

STANDARD: Final = (0, 1, 2)


def occupy() -> None:
    """Open the null device for those that are closed."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is given.
            os.open(os.devnull, os.O_RDWR)

"""The exit codes of rabbitmqctl, which are those of sysexits.h."""

from typing import Final

WRONG_USE: Final = 64
"""The command line is wrong."""
WRONG_DATA: Final = 65
"""A value is wrong."""
NO_USER: Final = 67
"""There is no such user."""
UNAVAILABLE: Final = 69
"""No broker runs, it refuses, or a check of it fails."""
EXISTS: Final = 70
"""What is to be added exists."""

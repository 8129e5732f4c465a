"""Errors of the operating system in plain words, for logs and for lines on stderr."""

import os


def plain_words(error: OSError) -> str:
    """What is wrong, without a number, a path or the name of a call."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    # An error of a look-up of a name has a negative number, and other words.
    return (error.strerror or str(error)).lower()

"""The documentation and the constraints of a configuration key, which annotate its field."""

from typing import NamedTuple


class KeyDoc(NamedTuple):
    """The documentation and the constraints of a key, beside its type."""

    text: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    """Smallest and largest value, both included; None for a key that is no number."""
    form: str = ""
    """The accepted values in words, if type and range do not describe them."""
    not_empty: bool = False
    secret: bool = False
    """Whether the value must not appear in error messages."""

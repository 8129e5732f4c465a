"""Taking secrets out of values that are logged: those of parameters, which are anybody's."""

import re
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "***"

_SECRET_NAME: Final = re.compile(r"pass|secret|token|credential|api.?key", re.IGNORECASE)
"""Names of what is a secret, whatever it looks like."""

_PASSWORD_OF_URI: Final = re.compile(r"([a-z][a-z0-9+.\-]*://[^\s/:@]*:)[^\s/]*@", re.IGNORECASE)


def redacted(value: Any, name: str = "") -> Any:
    """A value of JSON without the passwords of URIs, and without what a name says is a secret.

    :param name: what the value is called.
    """
    if name and _SECRET_NAME.search(name) and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, str):
        return _PASSWORD_OF_URI.sub(rf"\1{HIDDEN}@", value)
    if isinstance(value, Mapping):
        return {key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value

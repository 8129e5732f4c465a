"""Loading the configuration: from a file, from environment variables and from flags.

A key's value comes from the first of these sources that sets it: a flag, `LEVERET_<SECTION>_<KEY>`,
`RABBITMQ_DEFAULT_USER`, `_PASS` and `_VHOST`, the TOML file, the default. Anything wrong in one of
them raises `ConfigError`, whose text is one line that names the key and the source. The text never
contains the value of a secret.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from leveret.addresses import parse_address
from leveret.config import KEYS, NODE_NAME_BYTES_MAX, Config, Key
from leveret.memory import parse_memory_limit

RABBITMQ_VARIABLES: Final = {
    "RABBITMQ_DEFAULT_USER": KEYS["auth.default_user"],
    "RABBITMQ_DEFAULT_PASS": KEYS["auth.default_pass"],
    "RABBITMQ_DEFAULT_VHOST": KEYS["auth.default_vhost"],
}
"""Variables of RabbitMQ's Docker image that compose files commonly set."""

_LEVERET_VARIABLES: Final = {key.variable: key for key in KEYS.values()}

_NOT_KEYS: Final = re.compile(
    r"LEVERET_(CONFIG|COMPILE|(TEST|BENCH)_\w+|(\w+_)?SERVICE_HOST|(\w+_)?SERVICE_PORT(_\w+)?"
    r"|(\w+_)?PORT(_\d+_\w+)?)"
)
"""Variables that set no key: the path of the configuration file, the switches of build, tests and
benchmarks, and those that Kubernetes sets in every pod for each Service named `leveret...`."""


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line for the operator."""


class _Setting(NamedTuple):
    """A value as a source gives it."""

    value: object
    source: str
    is_text: bool
    """Whether the source writes numbers and lists as text: environment variables and flags."""


def load_config(
    path: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, object]] | None = None,
) -> Config:
    """Load the configuration.

    :param path: a TOML file.
    :param environment: environment variables by name.
    :param flags: by `section.key`, the flag's name and its value.
    :raises ConfigError: if the file cannot be read, or if the file, a variable or a flag has an
        unknown key, or a value of the wrong type or out of range.
    """
    settings: dict[str, _Setting] = {}
    if path is not None:
        settings.update(_from_file(path))
    if environment is not None:
        settings.update(_from_variables(environment))
    for path_of_key, (flag, value) in (flags or {}).items():
        settings[path_of_key] = _Setting(value, flag, is_text=isinstance(value, str))
    sections: dict[str, dict[str, object]] = {name: {} for name in Config.__struct_fields__}
    for key in KEYS.values():
        if setting := settings.get(key.path):
            sections[key.section][key.name] = _checked(key, setting)
    return _consistent(msgspec.convert(sections, Config))


def _consistent(config: Config) -> Config:
    """A configuration whose keys fit together.

    :raises ConfigError: if one that is needed by another is missing.
    """
    tls = config.tls
    if tls.listen and not tls.certfile:
        raise ConfigError("tls.listen needs tls.certfile")
    if tls.verify == "verify_peer" and not tls.cacertfile:
        raise ConfigError('tls.verify = "verify_peer" needs tls.cacertfile')
    return config


def _from_file(path: str) -> dict[str, _Setting]:
    import tomllib  # imported here: a start without a file saves milliseconds

    try:
        document = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    settings = {}
    for section, entries in document.items():
        if section not in Config.__struct_fields__:
            raise ConfigError(f"{section} in {path}: no such section")
        if not isinstance(entries, dict):
            raise ConfigError(f"{section} in {path}: is a section, and takes keys below it")
        for name, value in entries.items():
            if f"{section}.{name}" not in KEYS:
                raise ConfigError(f"{section}.{name} in {path}: no such key")
            settings[f"{section}.{name}"] = _Setting(value, path, is_text=False)
    return settings


def _from_variables(environment: Mapping[str, str]) -> dict[str, _Setting]:
    found = {name for name in environment if name.startswith("LEVERET_")}
    for name in sorted(found - _LEVERET_VARIABLES.keys()):
        if not _NOT_KEYS.fullmatch(name):
            raise ConfigError(f"{name} in the environment: no such key")
    settings = {}
    for variables in (RABBITMQ_VARIABLES, _LEVERET_VARIABLES):
        for name, key in variables.items():
            if name in environment:
                settings[key.path] = _Setting(environment[name], name, is_text=True)
    return settings


def _checked(key: Key, setting: _Setting) -> object:
    """Convert a value to its key's type and check it.

    :raises ConfigError: if the value has the wrong type, or is out of range.
    """
    value = setting.value
    if setting.is_text and key.is_list:
        value = [item.strip() for item in str(value).split(",") if item.strip()]
    if isinstance(value, bool) and key.is_choice:
        # TOML has no quotes around true and false.
        value = str(value).lower()
    try:
        checked = msgspec.convert(value, key.type, strict=not setting.is_text)
        _check(key, checked)
    except ValueError:  # msgspec.ValidationError is one
        got = "" if key.doc.secret else f", got {setting.value!r}"
        place = f"{key.path} in {setting.source}"
        raise ConfigError(f"{place}: expected {key.expected}{got}") from None
    return checked


def _check(key: Key, value: Any) -> None:
    """Check the range and the form of a value of the right type.

    :raises ValueError: if the value is out of range, or has the wrong form.
    """
    doc = key.doc
    if doc.low is not None and doc.high is not None and not doc.low <= value <= doc.high:
        raise ValueError(f"{value} is out of range")
    if doc.not_empty and not value:
        raise ValueError("the value is empty")
    if key.path in ("amqp.listen", "tls.listen"):
        for address in value:
            parse_address(address)
    elif key.path == "tls.sni":
        for entry in value:
            name, equals, files = entry.partition("=")
            if not (name.strip() and equals and files.strip()):
                raise ValueError(f"{entry!r} is not NAME=CERTFILE,KEYFILE")
    elif key.path == "memory.limit":
        parse_memory_limit(value)
    elif key.path == "server.node_name" and len(value.encode()) > NODE_NAME_BYTES_MAX:
        raise ValueError("the name is too long")

"""Loading the configuration: from a file, from environment variables and from flags.

A key's value comes from the first of these sources that sets it: a flag, `LEVERET_<SECTION>_<KEY>`,
the variables of RabbitMQ that have a meaning here, the TOML file, the default. A variable with
`_FILE` behind its name, for a user or a secret, names a file that has the value in its first line.

Anything wrong in one of them raises `ConfigError`, whose text is one line that names the key and
the source. The text never contains the value of a secret. Variables that set nothing are warned of,
and do not prevent a start.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from leveret.addresses import AddressError, parse_address
from leveret.config import NODE_NAME_BYTES_MAX, Config
from leveret.config_keys import KEYS, Key
from leveret.config_storage import Cluster
from leveret.memory import parse_memory_limit
from leveret.os_errors import plain_words

RABBITMQ_VARIABLES: Final = {
    "RABBITMQ_DEFAULT_USER": KEYS["auth.default_user"],
    "RABBITMQ_DEFAULT_PASS": KEYS["auth.default_pass"],
    "RABBITMQ_DEFAULT_VHOST": KEYS["auth.default_vhost"],
    "RABBITMQ_LOAD_DEFINITIONS": KEYS["definitions.file"],
    "RABBITMQ_NODE_PORT": KEYS["amqp.listen"],
    "RABBITMQ_VM_MEMORY_HIGH_WATERMARK": KEYS["memory.limit"],
}
"""Variables of RabbitMQ and its Docker image that set a key."""

PATHS: Final = (
    "amqp.unix_socket",
    "cluster.cacertfile",
    "cluster.certfile",
    "cluster.keyfile",
    "control.socket",
    "definitions.file",
    "storage.data_dir",
    "storage.local_dir",
    "tls.cacertfile",
    "tls.certfile",
    "tls.keyfile",
)
"""Keys whose value is a path, which may begin with `~`."""

FILE_SUFFIX: Final = "_FILE"
"""Behind the name of a variable: the name of a file that has its value."""

_FROM_FILES: Final = {
    f"{name}{FILE_SUFFIX}": (name, key)
    for name, key in (
        *RABBITMQ_VARIABLES.items(),
        *((key.variable, key) for key in KEYS.values()),
    )
    if key.doc.secret or key.path == "auth.default_user"
}

_LEVERET_VARIABLES: Final = {key.variable: key for key in KEYS.values()}

_NOT_KEYS: Final = re.compile(
    r"LEVERET_(CONFIG|COMPILE|(TEST|BENCH)_\w+|(\w+_)?SERVICE_HOST|(\w+_)?SERVICE_PORT(_\w+)?"
    r"|(\w+_)?PORT(_\d+_\w+)?)"
)
"""Variables that set no key: the path of the configuration file, the switches of build, tests and
benchmarks, and those that Kubernetes sets in every pod for each Service named `leveret...`."""


CLUSTER_SECRET_BYTES_MIN: Final = 16


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line for the operator."""


class _Setting(NamedTuple):
    """A value as a source gives it."""

    value: object
    source: str
    is_text: bool
    """Whether the source writes numbers and lists as text: environment variables and flags."""


def _ignore(_warning: str) -> None:
    """Nobody is to be warned."""


def load_config(
    path: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, object]] | None = None,
    warn: Callable[[str], None] = _ignore,
    *,
    secrets: bool = True,
) -> Config:
    """Load the configuration.

    :param path: a TOML file.
    :param environment: environment variables by name.
    :param flags: by `section.key`, the flag's name, or that of what else sets it, and its value.
    :param warn: called with a line for each thing that has no effect.
    :param secrets: whether those that a broker needs have to be there. Who only talks to one that
        runs may not have them.
    :raises ConfigError: if the file cannot be read, or if the file, a variable or a flag has an
        unknown key, or a value of the wrong type or out of range.
    """
    settings: dict[str, _Setting] = {}
    if path is not None:
        settings.update(_from_file(path))
    if environment is not None:
        settings.update(_from_variables(environment, warn))
    for path_of_key, (flag, value) in (flags or {}).items():
        _check_known(path_of_key, flag)
        settings[path_of_key] = _Setting(value, flag, is_text=isinstance(value, str))
    sections: dict[str, dict[str, object]] = {name: {} for name in Config.__struct_fields__}
    for key in KEYS.values():
        if setting := settings.get(key.path):
            sections[key.section][key.name] = _checked(key, setting)
    config = _consistent(msgspec.convert(sections, Config))
    if secrets:
        _check_secret(config.cluster)
    return config


def _consistent(config: Config) -> Config:
    """A configuration whose keys fit together.

    :raises ConfigError: if one that is needed by another is missing.
    """
    amqp, tls = config.amqp, config.tls
    if not (amqp.listen or amqp.unix_socket or tls.listen):
        raise ConfigError("amqp.listen is empty, and there is no amqp.unix_socket or tls.listen")
    if tls.listen and not tls.certfile:
        raise ConfigError("tls.listen needs tls.certfile")
    if config.management.tls and not tls.certfile:
        raise ConfigError("management.tls needs tls.certfile")
    if config.metrics.tls and not tls.certfile:
        raise ConfigError("metrics.tls needs tls.certfile")
    if tls.verify == "verify_peer" and not tls.cacertfile:
        raise ConfigError('tls.verify = "verify_peer" needs tls.cacertfile')
    _check_cluster(config.cluster)
    return config


def _check_cluster(cluster: Cluster) -> None:
    """Check that nobody but the brokers of a cluster can have connections passed on.

    :raises ConfigError: naming what is missing.
    """
    if cluster.certfile and not cluster.cacertfile:
        raise ConfigError("cluster.certfile needs cluster.cacertfile")
    if cluster.cacertfile and not cluster.certfile:
        raise ConfigError("cluster.cacertfile needs cluster.certfile")
    if cluster.secret and len(cluster.secret.encode()) < CLUSTER_SECRET_BYTES_MIN:
        raise ConfigError(f"cluster.secret has fewer than {CLUSTER_SECRET_BYTES_MIN} bytes")


def _check_secret(cluster: Cluster) -> None:
    """Check that what the brokers of a cluster know each other by is there.

    :raises ConfigError: if it is missing.
    """
    if cluster.listen and not (cluster.secret or cluster.certfile):
        raise ConfigError("cluster.listen needs cluster.secret, or cluster.certfile")


def _from_file(path: str) -> dict[str, _Setting]:
    import tomllib  # imported here: a start without a file saves milliseconds

    try:
        document = tomllib.loads(Path(path).expanduser().read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {plain_words(error)}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    settings = {}
    for section, entries in document.items():
        if section not in Config.__struct_fields__:
            hint = _did_you_mean(section, Config.__struct_fields__)
            raise ConfigError(f"{section} in {path}: no such section{hint}")
        if not isinstance(entries, dict):
            raise ConfigError(f"{section} in {path}: is a section, and takes keys below it")
        for name, value in entries.items():
            _check_known(f"{section}.{name}", path)
            settings[f"{section}.{name}"] = _Setting(value, path, is_text=False)
    return settings


def _check_known(key: str, source: str) -> None:
    """Check that there is such a key.

    :raises ConfigError: if there is none.
    """
    if key not in KEYS:
        raise ConfigError(f"{key} in {source}: no such key{_did_you_mean(key, KEYS)}")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion, to be put behind an error; empty if nothing is close."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _from_variables(
    environment: Mapping[str, str], warn: Callable[[str], None]
) -> dict[str, _Setting]:
    for name in sorted(environment):
        known = name in _LEVERET_VARIABLES or name in _FROM_FILES or _NOT_KEYS.fullmatch(name)
        if name.startswith("LEVERET_") and not known:
            hint = _did_you_mean(name, _LEVERET_VARIABLES)
            warn(f"{name} in the environment sets nothing: no such key{hint}")
    unused = [
        name
        for name in sorted(environment)
        if name.startswith("RABBITMQ_")
        if name not in RABBITMQ_VARIABLES and name not in _FROM_FILES
    ]
    if unused:
        warn(f"variables of RabbitMQ without an effect here: {', '.join(unused)}")
    values = {**_values_from_files(environment), **environment}
    settings = {}
    for variables in (RABBITMQ_VARIABLES, _LEVERET_VARIABLES):
        for name, key in variables.items():
            if name in values:
                settings[key.path] = _Setting(_translated(name, values[name]), name, is_text=True)
    return settings


def _values_from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The values of the variables that name files.

    :raises ConfigError: if a file cannot be read, or its variable is set beside it.
    """
    found = {}
    for file_variable, (name, _) in _FROM_FILES.items():
        path = environment.get(file_variable)
        if path is None:
            continue
        if name in environment:
            raise ConfigError(f"{name} and {file_variable} are both set")
        try:
            found[name] = Path(path).expanduser().read_text("utf-8").partition("\n")[0].rstrip("\r")
        except OSError as error:
            raise ConfigError(f"{file_variable}: {path}: {plain_words(error)}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{file_variable}: {path}: not UTF-8 text") from None
    return found


def _translated(name: str, value: str) -> str:
    """The value of a variable in the words of its key."""
    if name == "RABBITMQ_NODE_PORT":
        return f":{value}"
    if name == "RABBITMQ_VM_MEMORY_HIGH_WATERMARK" and re.fullmatch(r"[01]?\.\d+", value):
        return f"{float(value) * 100:g}%"
    return value


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
    except AddressError as error:
        raise ConfigError(f"{key.path} in {setting.source}: {error}") from None
    except ValueError:  # msgspec.ValidationError is one
        got = "" if key.doc.secret else f", got {setting.value!r}"
        place = f"{key.path} in {setting.source}"
        raise ConfigError(f"{place}: expected {key.expected}{got}") from None
    return _expanded(checked) if key.path in PATHS else checked


def is_accepted(path: str, value: object) -> bool:
    """Whether a file may have this value for a key.

    :param path: the key, as `section.key`.
    """
    try:
        _checked(KEYS[path], _Setting(value, "", is_text=False))
    except ConfigError:
        return False
    return True


def _expanded(path: Any) -> str:
    """A path whose `~` is the home directory, as in a shell."""
    return os.path.expanduser(str(path))


def _check(key: Key, value: Any) -> None:
    """Check the range and the form of a value of the right type.

    :raises ValueError: if the value is out of range, or has the wrong form.
    """
    doc = key.doc
    if doc.low is not None and doc.high is not None and not doc.low <= value <= doc.high:
        raise ValueError(f"{value} is out of range")
    if doc.not_empty and not value:
        raise ValueError("the value is empty")
    if key.name == "listen":
        for address in value:
            parse_address(address)
    elif key.path == "cluster.advertise":
        if value:
            parse_address(value)
    elif key.path == "amqp.proxy_networks":
        from ipaddress import (
            ip_network,  # imported here: a start without proxies saves milliseconds
        )

        for network in value:
            ip_network(network, strict=False)
    elif key.path == "amqp.unix_socket_mode":
        if not re.fullmatch("0?[0-7]{3}", value):
            raise ValueError(f"{value!r} is no octal number")
    elif key.path == "tls.sni":
        for entry in value:
            name, equals, files = entry.partition("=")
            if not (name.strip() and equals and files.strip()):
                raise ValueError(f"{entry!r} is not NAME=CERTFILE:KEYFILE")
    elif key.path == "memory.limit":
        parse_memory_limit(value)
    elif key.path == "server.node_name" and len(value.encode()) > NODE_NAME_BYTES_MAX:
        raise ValueError("the name is too long")

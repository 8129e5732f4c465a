"""Converting a rabbitmq.conf (RabbitMQ: Configuration).

Its lines are `key = value`, comments begin with #. What has a counterpart becomes a key of
Leveret's configuration; what has none is listed.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from leveret.config import KEYS
from leveret.memory import parse_memory_limit

LINE: Final = re.compile(r"\s*([A-Za-z0-9_.$\-]+)\s*=\s*(.*?)\s*")
QUOTED: Final = re.compile(r"(['\"])(.*)\1")

LOG_LEVELS: Final = {"critical": "error", "none": "error", "notice": "info"}
"""Levels that have another name here."""


class Converted(NamedTuple):
    """What a file says."""

    values: dict[str, Any]
    """By the path of Leveret's key."""
    without_counterpart: list[str]
    """Lines that have none, with their numbers."""


class NotConverted(ValueError):
    """A value that has no counterpart."""


Conversion = Callable[[str], Any]


def _integer(value: str) -> int:
    return int(value)


def _seconds(value: str) -> float:
    return int(value) / 1000


def _boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise NotConverted
    return value == "true"


def _bytes(value: str) -> int:
    amount, is_share = parse_memory_limit(value)
    if is_share:
        raise NotConverted
    return int(amount)


def _share(value: str) -> str:
    return f"{float(value) * 100:g}%"


def _level(value: str) -> str:
    return LOG_LEVELS.get(value, value)


def _format(value: str) -> str:
    return "json" if value == "json" else "console"


def _version(value: str) -> str:
    return value.removeprefix("tlsv")


SIMPLE: Final[dict[str, tuple[str, Conversion]]] = {
    "heartbeat": ("amqp.heartbeat", _integer),
    "frame_max": ("amqp.frame_max", _integer),
    "channel_max": ("amqp.channel_max", _integer),
    "connection_max": ("amqp.max_connections", _integer),
    "max_message_size": ("amqp.max_message_size", _integer),
    "handshake_timeout": ("amqp.handshake_timeout", _seconds),
    "consumer_max_per_channel": ("amqp.consumers_per_channel", _integer),
    "consumer_timeout": ("consumer.timeout", _integer),
    "default_user": ("auth.default_user", str),
    "default_pass": ("auth.default_pass", str),
    "default_vhost": ("auth.default_vhost", str),
    "load_definitions": ("definitions.file", str),
    "management.load_definitions": ("definitions.file", str),
    "definitions.local.path": ("definitions.file", str),
    "cluster_name": ("server.cluster_name", str),
    "vm_memory_high_watermark.relative": ("memory.limit", _share),
    "vm_memory_high_watermark.absolute": ("memory.limit", _bytes),
    "disk_free_limit.absolute": ("storage.disk_free_limit", _bytes),
    "log.level": ("log.level", _level),
    "log.console.level": ("log.level", _level),
    "log.console.formatter": ("log.format", _format),
    "ssl_options.certfile": ("tls.certfile", str),
    "ssl_options.keyfile": ("tls.keyfile", str),
    "ssl_options.password": ("tls.keyfile_password", str),
    "ssl_options.cacertfile": ("tls.cacertfile", str),
    "ssl_options.verify": ("tls.verify", str),
    "ssl_options.fail_if_no_peer_cert": ("tls.fail_if_no_peer_cert", _boolean),
    "ssl_cert_login_from": ("tls.login_from", str),
}
"""Keys of rabbitmq.conf, with Leveret's key and the conversion of the value."""

LISTENERS: Final = {"listeners.tcp": "amqp.listen", "listeners.ssl": "tls.listen"}
LOOPBACK_USERS: Final = "loopback_users"
TLS_VERSIONS: Final = "ssl_options.versions"


def convert(text: str) -> Converted:
    """Convert the text of a rabbitmq.conf."""
    converted = Converted({}, [])
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        matched = LINE.fullmatch(content)
        try:
            if matched is None:
                raise NotConverted
            key, value = matched[1], QUOTED.sub(r"\2", matched[2])
            _convert(converted.values, key, value)
        except ValueError:
            converted.without_counterpart.append(f"{number}: {content}")
    return converted


def _convert(values: dict[str, Any], key: str, value: str) -> None:
    """Add what a line says.

    :raises ValueError: if it has no counterpart.
    """
    group, _, last = key.rpartition(".")
    if key in SIMPLE:
        path, conversion = SIMPLE[key]
        values[path] = conversion(value)
    elif group in LISTENERS:
        values.setdefault(LISTENERS[group], []).append(_address(value))
    elif key == LOOPBACK_USERS and value == "none":
        values["auth.loopback_users"] = []
    elif group == LOOPBACK_USERS:
        users = values.setdefault("auth.loopback_users", list(_default_loopback_users()))
        if value == "true" and last not in users:
            users.append(last)
        elif value == "false" and last in users:
            users.remove(last)
    elif group == TLS_VERSIONS:
        oldest = min(_version(value), values.get("tls.min_version", "9"))
        if oldest not in ("1.2", "1.3"):
            raise NotConverted
        values["tls.min_version"] = oldest
    else:
        raise NotConverted


def _address(value: str) -> str:
    return f":{int(value)}" if value.isdigit() else value


def _default_loopback_users() -> tuple[str, ...]:
    default = KEYS["auth.loopback_users"].default
    return default if isinstance(default, tuple) else ()

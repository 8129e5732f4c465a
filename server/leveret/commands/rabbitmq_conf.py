"""Converting a rabbitmq.conf (RabbitMQ: Configuration).

Its lines are `key = value`, comments begin with #. What has a counterpart becomes a key of
Leveret's configuration if its value is one that Leveret accepts; what has none is listed, with the
reason where there is a short one. Lists of secrets hide them.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from leveret.config_keys import KEYS
from leveret.config_loading import is_accepted
from leveret.memory import parse_memory_limit

LINE: Final = re.compile(r"\s*([A-Za-z0-9_.$\-]+)\s*=\s*(.*?)\s*")
QUOTED: Final = re.compile(r"(['\"])(.*)\1")

BARE_UNIT: Final = re.compile(r"(\d+)\s*([kKMGT])$")
"""RabbitMQ reads 1G as 1GiB (Resource limits)."""

SECRET: Final = re.compile(r"pass|secret|token|credential|access_key", re.IGNORECASE)

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
    value = BARE_UNIT.sub(r"\1\2iB", value)
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

NOTES: Final = {
    "auth_backends": "users are in the broker; there is no LDAP, OAuth or HTTP",
    "auth_mechanisms": "PLAIN and AMQPLAIN are offered, and EXTERNAL to clients with a certificate",
    "cluster_": "a broker is one process",
    "default_permissions": "the first user has all permissions",
    "default_user_tags": "the first user is an administrator",
    "disk_free_limit": "storage.disk_free_limit is a number of bytes",
    "listeners": "an address such as 127.0.0.1:5672",
    "log.": "events are on stderr: log.level and log.format",
    "management.": "there is no HTTP API",
    "proxy_protocol": "amqp.proxy_networks names the networks of the proxies",
    "prometheus.": "there is no HTTP API",
    "queue_master_locator": "a broker is one process",
    "ssl_options.versions": "versions older than 1.2 are refused",
    "vm_memory_high_watermark_paging_ratio": "paging needs no setting",
}
"""Why what begins so has no counterpart, or not with this value."""

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
            converted.without_counterpart.append(f"{number}: {_shown(content)}")
    return converted


def _shown(line: str) -> str:
    """A line that has no counterpart, with the reason, and without a secret."""
    key, equals, _ = line.partition("=")
    if equals and SECRET.search(key):
        line = f"{key.rstrip()} = ***"
    note = next((text for start, text in NOTES.items() if line.startswith(start)), "")
    return f"{line}  ({note})" if note else line


def _convert(values: dict[str, Any], key: str, value: str) -> None:
    """Add what a line says.

    :raises ValueError: if it has no counterpart.
    """
    group, _, last = key.rpartition(".")
    if key in SIMPLE:
        path, conversion = SIMPLE[key]
        converted = conversion(value)
        if not is_accepted(path, converted):
            raise NotConverted
        values[path] = converted
    elif group in LISTENERS:
        address = _address(value)
        if not is_accepted(LISTENERS[group], [address]):
            raise NotConverted
        values.setdefault(LISTENERS[group], []).append(address)
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
    """An address in Leveret's form: RabbitMQ has IPv6 without brackets."""
    if value.isdigit():
        return f":{int(value)}"
    host, _, port = value.rpartition(":")
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else value


def _default_loopback_users() -> tuple[str, ...]:
    default = KEYS["auth.loopback_users"].default
    return default if isinstance(default, tuple) else ()

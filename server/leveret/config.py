"""The configuration: one frozen `Config`, and the table of keys it is read by.

The sections below are the table: a field's annotation holds its type, range, unit and one line of
documentation, and its value the default. From them come the checks here, `conf/leveret.toml`
and the reference in `docs/configuration.md` (both through `config_reference.py`).

A key's value is taken from the first of these that names it: a flag, `LEVERET_<SECTION>_<KEY>`,
`RABBITMQ_DEFAULT_USER`, `_PASS` and `_VHOST`, the TOML file, the default. Whatever is wrong in any
of them is a `ConfigError`, one line that names key and place. No value of a secret is in it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from leveret.addresses import parse_address
from leveret.limits import FRAME_MIN_SIZE
from leveret.memory import parse_memory_limit

FRAME_SIZE_MAX: Final = 1024 * 1024
"""Bytes: a frame is held whole before it is looked at, so this times the connections is what
peers can make the broker hold. Larger messages come in several frames."""

DEFAULT_LISTEN: Final = ("127.0.0.1:5672", "[::1]:5672")
"""Many clients resolve `localhost` to ::1 first, and only then to 127.0.0.1."""

TIMEOUT_MS_MAX: Final = 315_360_000_000
"""Milliseconds: ten years."""

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
RedeclareMode = Literal["strict", "adopt"]
SyncMode = Literal["commit", "interval", "os"]

NODE_NAME_BYTES_MAX: Final = 255
"""Bytes of a node name: it is kept in the head of the data, which has one block."""


class About(NamedTuple):
    """What a key's annotation says of it, beside its type."""

    doc: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    form: str = ""
    """What a value must be, in words, where type and range do not say it."""
    not_empty: bool = False
    secret: bool = False


class Amqp(msgspec.Struct, frozen=True):
    """Listening, and what the broker proposes or allows to clients."""

    listen: Annotated[
        tuple[str, ...],
        About(
            "Addresses to take AMQP connections on; port 0 takes a free one. Where the machine has"
            " no ::1, the default does without it.",
            form="a list of HOST:PORT",
            not_empty=True,
        ),
    ] = DEFAULT_LISTEN
    heartbeat: Annotated[
        int,
        About(
            "Heartbeat interval proposed to clients, who decide; 0 proposes none.",
            unit="seconds",
            low=0,
            high=65535,
        ),
    ] = 60
    frame_max: Annotated[
        int,
        About(
            "Largest frame a client may agree to send or get.",
            unit="bytes",
            low=FRAME_MIN_SIZE,
            high=FRAME_SIZE_MAX,
        ),
    ] = 131_072
    channel_max: Annotated[
        int, About("Channels a client may open on one connection.", low=1, high=65535)
    ] = 2047
    max_connections: Annotated[
        int,
        About(
            "Connections at one time; the next ones are closed at once. Each quiet one costs some"
            " 15 kB and a file descriptor, so the default's stay below 250 MB.",
            low=1,
            high=1_000_000,
        ),
    ] = 16_384
    max_message_size: Annotated[
        int,
        About("Largest message body.", unit="bytes", low=1, high=512 * 1024 * 1024),
    ] = 128 * 1024 * 1024
    handshake_timeout: Annotated[
        float,
        About(
            "Time a client has from connecting to connection.open.",
            unit="seconds",
            low=0.1,
            high=3600,
        ),
    ] = 10.0
    consumers_per_channel: Annotated[
        int, About("Consumers of one channel; 0 sets no limit.", low=0, high=1_000_000)
    ] = 0


class Qos(msgspec.Struct, frozen=True):
    """What basic.qos does beyond RabbitMQ's."""

    retune: Annotated[
        bool,
        About(
            "Let basic.qos without `global` hold for the consumers its channel has already, too. As"
            " on RabbitMQ it is for those to come only."
        ),
    ] = False


class Consumer(msgspec.Struct, frozen=True):
    """What consumers are held to."""

    timeout: Annotated[
        int,
        About(
            "Time in which a consumer has to acknowledge a delivery before its message goes back to"
            " the queue; 0 sets no limit. Neither the consumer nor its channel is closed. The"
            " argument `x-consumer-timeout` of a queue, and that of a consumer, go before it.",
            unit="milliseconds",
            low=0,
            high=TIMEOUT_MS_MAX,
        ),
    ] = 0


class Memory(msgspec.Struct, frozen=True):
    """How much memory messages may take."""

    limit: Annotated[
        int | str,
        About(
            "Memory of the process above which publishers are blocked while consumers drain on. A"
            " share is one of the container's memory, where it is limited, or else the machine's.",
            unit="bytes",
            form='a share such as "40%", a size such as "2GiB", or bytes',
        ),
    ] = "40%"


class Auth(msgspec.Struct, frozen=True):
    """The user and virtual host that exist from the start."""

    default_user: Annotated[str, About("Name of the user.", not_empty=True)] = "guest"
    default_pass: Annotated[str, About("Password of the user.", secret=True)] = "guest"
    default_vhost: Annotated[str, About("Name of the virtual host.", not_empty=True)] = "/"
    loopback_users: Annotated[
        tuple[str, ...],
        About(
            "Users who may log in from the loopback interface only; empty lets all log in from"
            " anywhere.",
            form="a list of names",
        ),
    ] = ("guest",)

    def __repr__(self) -> str:
        return (
            f"Auth(default_user={self.default_user!r}, default_vhost={self.default_vhost!r}, ...)"
        )


class Server(msgspec.Struct, frozen=True):
    """What the broker calls itself."""

    node_name: Annotated[
        str,
        About(
            "Name of this broker. It is kept with the data, and data of another name is refused, so"
            " that two brokers do not get each other's. The host's name is no part of the default:"
            " a container has another one at each start.",
            form="a text of 1 to 255 bytes",
            not_empty=True,
        ),
    ] = "leveret"
    product: Annotated[str, About("`product` among the server properties.")] = "Leveret"
    version: Annotated[
        str, About("`version` among the server properties; empty for Leveret's own.")
    ] = ""
    cluster_name: Annotated[
        str,
        About("`cluster_name` among the server properties; empty for leveret@HOSTNAME."),
    ] = ""


class Log(msgspec.Struct, frozen=True):
    """What is written to stderr."""

    level: Annotated[LogLevel, About("Least severe event that is logged.")] = "info"
    format: Annotated[LogFormat, About("For people to read, or one JSON object an event.")] = (
        "console"
    )


class Storage(msgspec.Struct, frozen=True):
    """Where durable queues and persistent messages are kept, and when they are safe."""

    memory: Annotated[
        bool,
        About(
            "Keep everything in memory and write nothing, for tests: the end of the process is the"
            " end of every queue and message."
        ),
    ] = False
    data_dir: Annotated[
        str,
        About(
            "Directory for the broker's data; made if it is not there.",
            form="a directory",
            not_empty=True,
        ),
    ] = "./data"
    sync: Annotated[
        SyncMode,
        About(
            "When what is kept is confirmed. `commit`: once it is synced to the disk; a loss of"
            " power loses nothing that was confirmed. `interval`: once it is written, and synced"
            " every `sync_interval`; a loss of power may lose what was confirmed within that time,"
            " and in the sync under way. `os`: once it is written, and synced when the operating"
            " system thinks fit; a loss of power may lose all that was confirmed since. The death"
            " of the process alone loses nothing that was confirmed, under any of them."
        ),
    ] = "commit"
    sync_interval: Annotated[
        int,
        About(
            'Time between two syncs under `sync = "interval"`.',
            unit="milliseconds",
            low=1,
            high=60_000,
        ),
    ] = 200
    disk_free_limit: Annotated[
        int,
        About(
            "Free disk below which publishers are blocked while consumers drain on. With 0 they are"
            " only once there is none.",
            unit="bytes",
            low=0,
            high=2**50,
        ),
    ] = 50_000_000


class Queues(msgspec.Struct, frozen=True):
    """How queues are declared."""

    redeclare: Annotated[
        RedeclareMode,
        About(
            "What becomes of a queue that is declared again with other arguments. `strict`:"
            " nothing, and the channel is closed with 406, as by RabbitMQ. `adopt`: the living"
            " queue goes by the new values, if they are of those that do not change its nature"
            " (times to live, expiry, lengths, overflow, dead-lettering, delivery limit and"
            " retry, consumer timeout)."
        ),
    ] = "strict"


class Config(msgspec.Struct, frozen=True):
    """Every key, by section: `config.amqp.heartbeat`."""

    amqp: Amqp = Amqp()
    qos: Qos = Qos()
    queues: Queues = Queues()
    consumer: Consumer = Consumer()
    memory: Memory = Memory()
    auth: Auth = Auth()
    server: Server = Server()
    log: Log = Log()
    storage: Storage = Storage()


class ConfigError(Exception):
    """A configuration that cannot be used; its text is one line for the operator."""


class Key(NamedTuple):
    """A row of the table of keys."""

    section: str
    name: str
    type: Any
    default: object
    about: About

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"LEVERET_{self.section}_{self.name}".upper()

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple

    @property
    def expected(self) -> str:
        """What a value must be, in words: the range of the documentation and of every error."""
        about = self.about
        if about.form:
            return about.form
        if get_origin(self.type) is Literal:
            return "one of " + ", ".join(get_args(self.type))
        if self.type is str:
            return "a text that is not empty" if about.not_empty else "a text"
        if self.type is bool:
            return "true or false"
        kind = "a whole number" if self.type is int else "a number"
        return f"{kind} from {about.low} to {about.high}"


def _keys() -> dict[str, Key]:
    keys = {}
    for section in Config.__struct_fields__:
        defaults = getattr(Config(), section)
        for name, hint in get_type_hints(type(defaults), include_extras=True).items():
            kind, about = get_args(hint)
            key = Key(section, name, kind, getattr(defaults, name), about)
            keys[key.path] = key
    return keys


KEYS: Final[Mapping[str, Key]] = _keys()
"""The table of keys, by `section.key`, in the order of the documentation."""

RABBITMQ_VARIABLES: Final = {
    "RABBITMQ_DEFAULT_USER": KEYS["auth.default_user"],
    "RABBITMQ_DEFAULT_PASS": KEYS["auth.default_pass"],
    "RABBITMQ_DEFAULT_VHOST": KEYS["auth.default_vhost"],
}
"""The variables of RabbitMQ's Docker image that a compose file is likely to set."""

_LEVERET_VARIABLES: Final = {key.variable: key for key in KEYS.values()}

_NOT_KEYS: Final = re.compile(
    r"LEVERET_(CONFIG|COMPILE|(TEST|BENCH)_\w+|(\w+_)?SERVICE_HOST|(\w+_)?SERVICE_PORT(_\w+)?"
    r"|(\w+_)?PORT(_\d+_\w+)?)"
)
"""Variables that set no key: the configuration file's path, the switches of build, tests and
benchmarks, and what Kubernetes sets in every pod for each Service named `leveret...`."""


class _Setting(NamedTuple):
    """A value as it was found, and where."""

    value: object
    place: str
    is_text: bool  # an environment variable or a flag, where numbers and lists are written as text


def load_config(
    path: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, tuple[str, object]] | None = None,
) -> Config:
    """Read the configuration.

    `flags` maps `section.key` to the flag's name and its value.

    :raises ConfigError: if the file cannot be read, or anything in it, in a variable or in a flag
        is unknown, of the wrong type or out of range.
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
    return msgspec.convert(sections, Config)


def _from_file(path: str) -> dict[str, _Setting]:
    import tomllib  # milliseconds that a start without a file saves

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
    """The value of a key, of its type and in its range."""
    value = setting.value
    if setting.is_text and key.is_list:
        value = [item.strip() for item in str(value).split(",") if item.strip()]
    try:
        checked = msgspec.convert(value, key.type, strict=not setting.is_text)
        _check(key, checked)
    except ValueError:  # msgspec.ValidationError is one
        got = "" if key.about.secret else f", got {setting.value!r}"
        place = f"{key.path} in {setting.place}"
        raise ConfigError(f"{place}: expected {key.expected}{got}") from None
    return checked


def _check(key: Key, value: Any) -> None:
    """Hold a value of the right type against its range or form; ValueError if it is outside."""
    about = key.about
    if about.low is not None and about.high is not None and not about.low <= value <= about.high:
        raise ValueError(f"{value} is out of range")
    if about.not_empty and not value:
        raise ValueError("nothing is given")
    if key.path == "amqp.listen":
        for address in value:
            parse_address(address)
    elif key.path == "memory.limit":
        parse_memory_limit(value)
    elif key.path == "server.node_name" and len(value.encode()) > NODE_NAME_BYTES_MAX:
        raise ValueError("the name is too long")

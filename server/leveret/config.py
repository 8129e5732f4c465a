"""The configuration: one frozen `Config`, whose sections define the table of its keys.

The sections below define the table. A field's annotation holds its type, range, unit and one
sentence of documentation; the field's value is the default. The checks of values, the file
`conf/leveret.toml` and the tables of `docs/configuration.md` come from the table
(`config_loading.py`, `reference/configuration.py`).

Deliberately elsewhere: the sections about data (`config_storage.py`), the table itself
(`config_keys.py`), and reading values from a file, variables and flags (`config_loading.py`).
"""

from typing import Annotated, Final, Literal

import msgspec

from leveret.config_storage import Cluster, Storage
from leveret.key_doc import KeyDoc
from leveret.limits import FRAME_MIN_SIZE

FRAME_SIZE_MAX: Final = 1024 * 1024
"""Bytes. The broker buffers a whole frame before it decodes it, so a peer can make it buffer this
much for each connection. Larger messages come in several frames."""

DEFAULT_LISTEN: Final = ("127.0.0.1:5672", "[::1]:5672")
"""Many clients try ::1 first and then 127.0.0.1 when they resolve `localhost`."""

DEFAULT_MANAGEMENT_LISTEN: Final = ("127.0.0.1:15672",)

DEFAULT_METRICS_LISTEN: Final = ("127.0.0.1:15692",)
"""RabbitMQ's port for Prometheus. Only this machine can read it, unless an operator says so."""

TIMEOUT_MS_MAX: Final = 315_360_000_000
"""Milliseconds: ten years."""

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
RetuneMode = Literal["auto", "true", "false"]
RedeclareMode = Literal["strict", "adopt"]
DeliveryCountMode = Literal["returns", "failures"]
VerifyMode = Literal["verify_none", "verify_peer"]
TlsVersion = Literal["1.2", "1.3"]
LoginFrom = Literal["common_name", "distinguished_name", "dns", "email", "uri"]

NODE_NAME_BYTES_MAX: Final = 255
"""Bytes of a node name. The head of the data directory, which is one block, contains it."""


class Amqp(msgspec.Struct, frozen=True):
    """Listeners, and the limits that the broker negotiates with clients."""

    listen: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Addresses of the AMQP listeners; port 0 takes a free port. On a machine without"
            " ::1 the default listens on 127.0.0.1 only. The list may be empty if there is"
            " another listener.",
            form="a list of HOST:PORT",
        ),
    ] = DEFAULT_LISTEN
    unix_socket: Annotated[
        str,
        KeyDoc(
            "Path of a Unix socket to listen on for AMQP, too; empty for none. Its clients count as"
            " connected from the loopback interface."
        ),
    ] = ""
    unix_socket_mode: Annotated[
        str,
        KeyDoc(
            "Permissions of the Unix socket: who may write to it may connect.",
            form="an octal number such as 0660",
        ),
    ] = "0660"
    proxy_networks: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Networks of proxies whose connections, plain or with TLS, begin with a PROXY protocol"
            " header of version 1 or 2, for example 10.0.0.0/8. The client that it names counts as"
            " the peer. From these networks the header is required; from others it is refused.",
            form="a list of ADDRESS or ADDRESS/BITS",
        ),
    ] = ()
    heartbeat: Annotated[
        int,
        KeyDoc(
            "Heartbeat interval proposed to clients; the client decides. 0 proposes none.",
            unit="seconds",
            low=0,
            high=65535,
        ),
    ] = 60
    frame_max: Annotated[
        int,
        KeyDoc(
            "Largest frame, in either direction; a client may negotiate less.",
            unit="bytes",
            low=FRAME_MIN_SIZE,
            high=FRAME_SIZE_MAX,
        ),
    ] = 131_072
    channel_max: Annotated[
        int, KeyDoc("Channels that a client may open on one connection.", low=1, high=65535)
    ] = 2047
    max_connections: Annotated[
        int,
        KeyDoc(
            "Concurrent connections; further ones are refused. An idle connection"
            " takes about 7 kB of memory, 9 kB with a channel, and a file descriptor."
            " 320 descriptors of the process (`ulimit -n`), and an eighth of all for HTTP, are not"
            " for connections, so that the store always has its own; fewer in all means fewer"
            " connections.",
            low=1,
            high=1_000_000,
        ),
    ] = 16_384
    max_message_size: Annotated[
        int,
        KeyDoc("Largest message body.", unit="bytes", low=1, high=512 * 1024 * 1024),
    ] = 128 * 1024 * 1024
    handshake_timeout: Annotated[
        float,
        KeyDoc(
            "Time from the TCP connection to connection.open; a slower client is disconnected.",
            unit="seconds",
            low=0.1,
            high=3600,
        ),
    ] = 10.0
    consumers_per_channel: Annotated[
        int, KeyDoc("Consumers per channel; 0 sets no limit.", low=0, high=1_000_000)
    ] = 0


class Tls(msgspec.Struct, frozen=True):
    """TLS listeners for AMQP, beside the plain ones."""

    listen: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Addresses of the TLS listeners, for example :5671; without any there is no TLS.",
            form="a list of HOST:PORT",
        ),
    ] = ()
    certfile: Annotated[
        str,
        KeyDoc(
            "PEM file of the certificate, with the certificates of the chain behind it. It is read"
            " again when it changes, and on SIGHUP; open connections are not interrupted."
        ),
    ] = ""
    keyfile: Annotated[str, KeyDoc("PEM file of its key; empty if it is in `certfile`.")] = ""
    keyfile_password: Annotated[str, KeyDoc("Password of the key.", secret=True)] = ""
    sni: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Certificates for other server names, which clients ask for (SNI). A name may begin"
            " with `*.`.",
            form="a list of NAME=CERTFILE:KEYFILE",
        ),
    ] = ()
    cacertfile: Annotated[
        str, KeyDoc("PEM file of the authorities that certificates of clients are checked with.")
    ] = ""
    verify: Annotated[
        VerifyMode,
        KeyDoc(
            "`verify_peer` asks clients for a certificate and refuses one that `cacertfile` does"
            " not vouch for; `verify_none` does not ask."
        ),
    ] = "verify_none"
    fail_if_no_peer_cert: Annotated[
        bool, KeyDoc("With `verify_peer`: refuse clients without a certificate.")
    ] = False
    min_version: Annotated[TlsVersion, KeyDoc("Oldest version of TLS.")] = "1.2"
    login_from: Annotated[
        LoginFrom,
        KeyDoc(
            "Where the mechanism EXTERNAL takes the name of the user from: the subject of the"
            " client's certificate, or its first alternative name of a kind. It is offered to"
            " clients whose certificate was checked."
        ),
    ] = "common_name"


class Qos(msgspec.Struct, frozen=True):
    """Extensions to basic.qos."""

    retune: Annotated[
        RetuneMode,
        KeyDoc(
            "Whether basic.qos without `global` applies to the existing consumers of its channel,"
            " too, as the specification says, or to later consumers only, as on RabbitMQ. `auto`:"
            " to existing ones for clients that go by the specification when the broker is not"
            " RabbitMQ (py-amqp, and so kombu and Celery, whose workers raise their prefetch for"
            " each task with an ETA), to later ones for all others."
        ),
    ] = "auto"


class Queues(msgspec.Struct, frozen=True):
    """Queues: declaring one again, and what counts towards a delivery limit."""

    redeclare: Annotated[
        RedeclareMode,
        KeyDoc(
            "What happens when a queue is declared again with different arguments. `strict`:"
            " the channel is closed with 406, as on RabbitMQ, and the queue stays as it is."
            " `adopt`: the existing queue takes the new values, if only arguments differ that do"
            " not change its type (times to live, expiry, lengths, overflow, dead-lettering,"
            " delivery limit and retry, consumer timeout)."
        ),
    ] = "strict"
    delivery_count: Annotated[
        DeliveryCountMode,
        KeyDoc(
            "What counts towards `x-delivery-limit` and `x-delivery-count`. `returns`: every return"
            " of a message to its queue, as on RabbitMQ 3.8 to 4.2, so that a message that its"
            " consumer cannot handle reaches the limit however it is given back. `failures`: only"
            " basic.reject, a consumer timeout, and the end of a channel or connection, as on"
            " RabbitMQ 4.3; basic.nack and basic.recover do not count."
        ),
    ] = "returns"


class Consumer(msgspec.Struct, frozen=True):
    """Limits of consumers."""

    timeout: Annotated[
        int,
        KeyDoc(
            "Time in which a consumer has to acknowledge a delivery. After it the message"
            " returns to its queue; consumer and channel stay open. 0 sets no limit. The"
            " argument `x-consumer-timeout` of a consumer overrides that of its queue, which"
            " overrides this key.",
            unit="milliseconds",
            low=0,
            high=TIMEOUT_MS_MAX,
        ),
    ] = 0


class Memory(msgspec.Struct, frozen=True):
    """Memory of the process."""

    limit: Annotated[
        int | str,
        KeyDoc(
            "Memory of the process above which publishers are blocked while consumers continue."
            " A share is a share of the container's memory limit, or of the machine's memory if"
            " there is no such limit.",
            unit="bytes",
            form='a share such as "40%", a size such as "2GiB", or bytes',
        ),
    ] = "40%"


class Auth(msgspec.Struct, frozen=True):
    """The user and the virtual host that the broker starts with."""

    default_user: Annotated[str, KeyDoc("Name of the user.", not_empty=True)] = "guest"
    default_pass: Annotated[str, KeyDoc("Password of the user.", secret=True)] = "guest"
    default_vhost: Annotated[str, KeyDoc("Name of the virtual host.", not_empty=True)] = "/"
    loopback_users: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Users who may log in from the loopback interface only. With an empty list every"
            " user may log in from anywhere.",
            form="a list of names",
        ),
    ] = ("guest",)

    def __repr__(self) -> str:
        return (
            f"Auth(default_user={self.default_user!r}, default_vhost={self.default_vhost!r}, ...)"
        )


class Management(msgspec.Struct, frozen=True):
    """The HTTP API and the management page."""

    listen: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Addresses of the HTTP API and the management page; an empty list turns them off. If"
            " the default port is taken, the broker starts without them.",
            form="a list of HOST:PORT",
        ),
    ] = DEFAULT_MANAGEMENT_LISTEN
    tls: Annotated[
        bool, KeyDoc("Serve them with TLS, with the certificates of the section `tls`.")
    ] = False


class Control(msgspec.Struct, frozen=True):
    """The control socket, through which commands talk to the broker."""

    socket: Annotated[
        str,
        KeyDoc(
            "Path of the control socket, which only the owner of the broker's process can open."
            " Empty: `control.sock` in the data directory, and none for a broker that keeps"
            " everything in memory."
        ),
    ] = ""


class Metrics(msgspec.Struct, frozen=True):
    """What Prometheus scrapes (docs/monitoring.md)."""

    listen: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Addresses at which metrics are read, without a login; an empty list turns them off. If"
            " the default port is taken, the broker starts without them.",
            form="a list of HOST:PORT",
        ),
    ] = DEFAULT_METRICS_LISTEN
    tls: Annotated[
        bool, KeyDoc("Serve them with TLS, with the certificates of the section `tls`.")
    ] = False


class Definitions(msgspec.Struct, frozen=True):
    """Users, virtual hosts, policies, queues and the like from a file."""

    file: Annotated[
        str,
        KeyDoc(
            "Definitions file, as RabbitMQ exports it, that is imported at the start. A file that"
            " has not changed since the last start is skipped; a wrong one ends the start, and"
            " changes nothing. Empty imports none."
        ),
    ] = ""


class Server(msgspec.Struct, frozen=True):
    """The name of the broker and its server properties."""

    node_name: Annotated[
        str,
        KeyDoc(
            "Name of this broker. The data directory stores it, and a broker with another name"
            " refuses the directory, so that two brokers cannot use each other's data. The"
            " default does not contain the host's name, because a container has a new one at"
            " each start.",
            form="a text of 1 to 255 bytes",
            not_empty=True,
        ),
    ] = "leveret"
    product: Annotated[str, KeyDoc("`product` among the server properties.")] = "Leveret"
    version: Annotated[
        str, KeyDoc("`version` among the server properties; empty is the version of Leveret.")
    ] = ""
    cluster_name: Annotated[
        str,
        KeyDoc(
            "`cluster_name` among the server properties, until another one is set (`rabbitmqctl"
            " set_cluster_name`); empty is leveret@HOSTNAME. In a cluster the first one counts"
            " that a broker has here, for all of them; without any it is leveret."
        ),
    ] = ""


class Log(msgspec.Struct, frozen=True):
    """Log events on stderr."""

    level: Annotated[LogLevel, KeyDoc("Least severe level that is logged.")] = "info"
    format: Annotated[
        LogFormat, KeyDoc("`console` is text for people, `json` one JSON object per event.")
    ] = "console"


class Config(msgspec.Struct, frozen=True):
    """All keys by section, for example `config.amqp.heartbeat`."""

    amqp: Amqp = Amqp()
    tls: Tls = Tls()
    qos: Qos = Qos()
    queues: Queues = Queues()
    consumer: Consumer = Consumer()
    memory: Memory = Memory()
    auth: Auth = Auth()
    management: Management = Management()
    control: Control = Control()
    metrics: Metrics = Metrics()
    definitions: Definitions = Definitions()
    server: Server = Server()
    log: Log = Log()
    storage: Storage = Storage()
    cluster: Cluster = Cluster()

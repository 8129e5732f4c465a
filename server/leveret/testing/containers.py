"""A stand-in for the class RabbitMqContainer of testcontainers, without a container engine.

It has the arguments, the methods and the attributes of testcontainers 4, so a test suite changes
one import:

    from testcontainers.rabbitmq import RabbitMqContainer      # before
    from leveret.testing.containers import RabbitMqContainer   # after

The rules:

- What concerns the broker is honoured: user, password, virtual host, the ports on the host, the
  variables of RabbitMQ's image that Leveret knows, and a volume for the data.
- What concerns only how an engine runs the container is kept and has no effect: the tag of the
  image, the name, options of the engine, a memory file system for the data.
- What needs a container raises `BrokerError`, and the text says what to do instead: commands,
  files that are copied, networks of containers, plugins.

As with testcontainers, pika is needed; it is not among Leveret's own dependencies.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, Self

import pika

from leveret.testing.broker import Broker
from leveret.testing.errors import BrokerError

AMQP_PORT: Final = 5672
MANAGEMENT_PORT: Final = 15672

DATA_DIRECTORY: Final = "/var/lib/rabbitmq"
"""Where RabbitMQ's image has its data."""

USER: Final = "RABBITMQ_DEFAULT_USER"
PASSWORD: Final = "RABBITMQ_DEFAULT_PASS"
VHOST: Final = "RABBITMQ_DEFAULT_VHOST"
NODE_PORT: Final = "RABBITMQ_NODE_PORT"

DEFAULTS: Final = {USER: "guest", PASSWORD: "guest", VHOST: "/", NODE_PORT: str(AMQP_PORT)}

SETTINGS: Final = {
    USER: "auth.default_user",
    PASSWORD: "auth.default_pass",
    VHOST: "auth.default_vhost",
}
"""The key of Leveret's configuration for each variable that sets one."""

WITHOUT_EFFECT: Final = frozenset(
    {NODE_PORT, "RABBITMQ_ERLANG_COOKIE", "RABBITMQ_LOGS", "RABBITMQ_NODENAME"}
)
"""Variables that change nothing a client of one broker sees."""


class RabbitMqContainer:
    """A broker with the interface of the class of this name in testcontainers.

    :param image: `-management` in it serves the HTTP API; the rest has no effect.
    :param port: the port of AMQP inside the container, for which `get_exposed_port` is asked.
    :param username: who may log in; by default RABBITMQ_DEFAULT_USER, else guest.
    :param password: by default RABBITMQ_DEFAULT_PASS, else guest.
    :param vhost: the virtual host; by default RABBITMQ_DEFAULT_VHOST, else `/`.
    :param kwargs: options of the container engine.
    :raises BrokerError: for what needs a container.
    """

    def __init__(
        self,
        image: str = "rabbitmq:latest",
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        vhost: str | None = None,
        *,
        docker_client_kw: dict[str, Any] | None = None,
        command: str | list[str] | None = None,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        ports: Sequence[int] | None = None,
        volumes: Sequence[tuple[str, str, str]] | None = None,
        network: object = None,
        network_aliases: Sequence[str] | None = None,
        transferables: Sequence[object] | None = None,
        **kwargs: Any,
    ) -> None:
        self.image = image
        self.env = dict(env or {})
        given = {USER: username, PASSWORD: password, VHOST: vhost, NODE_PORT: port}
        for variable, default in DEFAULTS.items():
            value = given[variable] or self.env.get(variable) or os.environ.get(variable, default)
            self.env[variable] = str(value)
        self.port = int(self.env[NODE_PORT])
        self.ports: dict[str | int, str | int | None] = {}
        self.volumes: dict[str, dict[str, str]] = {}
        self.tmpfs: dict[str, str] = {}
        self._directory: str | None = None
        self._broker: Broker | None = None
        self._was_started = False
        self.with_exposed_ports(self.port, *(ports or ()))
        for volume in volumes or ():
            self.with_volume_mapping(*volume)
        if command is not None:
            self.with_command(command)
        if network is not None:
            self.with_network(network)
        if network_aliases:
            self.with_network_aliases(*network_aliases)
        if transferables:
            raise _no_files()

    @property
    def username(self) -> str:
        """Who may log in."""
        return self.env[USER]

    @property
    def password(self) -> str:
        """The password of that user."""
        return self.env[PASSWORD]

    @property
    def vhost(self) -> str:
        """The virtual host there is."""
        return self.env[VHOST]

    @property
    def broker(self) -> Broker:
        """The handle of the broker, for what containers do not have: time travel, faults, looks.

        :raises BrokerError: if it does not run.
        """
        if self._broker is None:
            raise BrokerError("the broker of this RabbitMqContainer does not run: call start()")
        return self._broker

    def with_env(self, key: str, value: str) -> Self:
        """Set a variable, before the start."""
        self.env[key] = str(value)
        return self

    def with_envs(self, **variables: str) -> Self:
        """Set variables, before the start."""
        for key, value in variables.items():
            self.with_env(key, value)
        return self

    def with_env_file(self, env_file: str | os.PathLike[str]) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError(f"no file of variables is read ({env_file}): use with_env()")

    def with_exposed_ports(self, *ports: str | int) -> Self:
        """Ask for ports of the container on free ports of this machine."""
        for port in ports:
            self.ports[_number(port)] = None
        return self

    def with_bind_ports(self, container: str | int, host: str | int | None = None) -> Self:
        """Ask for a port of the container on a port of this machine; None takes a free one."""
        self.ports[_number(container)] = host
        return self

    def with_name(self, name: str) -> Self:
        """Accept a name for the container, which has no effect."""
        return self

    def with_kwargs(self, **kwargs: Any) -> Self:
        """Accept options of the container engine, which have no effect."""
        return self

    def maybe_emulate_amd64(self) -> Self:
        """Do nothing."""
        return self

    def waiting_for(self, strategy: object) -> Self:
        """Accept a strategy of waiting, which has no effect: `start` returns a ready broker."""
        return self

    def with_tmpfs_mount(self, container_path: str, size: str | None = None) -> Self:
        """Accept a file system in memory: without a volume all data are in memory."""
        self.tmpfs[container_path] = size or ""
        return self

    def with_volume_mapping(
        self, host: str | os.PathLike[str], container: str, mode: str = "ro"
    ) -> Self:
        """Keep the data in a directory of this machine.

        :raises BrokerError: if anything but RabbitMQ's directory of data is mapped.
        """
        if container.rstrip("/") != DATA_DIRECTORY:
            raise BrokerError(
                f"{container} cannot be mapped: there is no container, and no file of RabbitMQ"
                f" is read. {DATA_DIRECTORY} can, plugins are built in, and import definitions"
                " over the HTTP API (an image with -management)"
            )
        self.volumes[str(host)] = {"bind": container, "mode": mode}
        self._directory = os.fspath(host)
        return self

    def with_command(self, command: str | list[str]) -> Self:
        """Accept the command that starts RabbitMQ.

        :raises BrokerError: for any other command.
        """
        words = command.split() if isinstance(command, str) else list(command)
        if words not in ([], ["rabbitmq-server"]):
            raise BrokerError(
                f"there is no container to run {command!r} in: plugins are built in, and an image"
                " with -management serves the HTTP API"
            )
        return self

    def with_network(self, network: object) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError("other containers cannot reach this broker: it has no container network")

    def with_network_aliases(self, *aliases: str) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError(f"there is no container network for the aliases {', '.join(aliases)}")

    def with_copy_into_container(
        self, transferable: object, destination_in_container: str, mode: int = 0o644
    ) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise _no_files()

    def copy_into_container(
        self, transferable: object, destination_in_container: str, mode: int = 0o644
    ) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise _no_files()

    def copy_from_container(
        self, source_in_container: str, destination_on_host: os.PathLike[str]
    ) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise _no_files()

    def start(self) -> Self:
        """Start the broker, and return when it is ready.

        :raises BrokerError: if it runs already or cannot start, or if a variable or a port is asked
            for that it does not have.
        """
        if self._broker is not None:
            raise BrokerError("the broker of this RabbitMqContainer runs already")
        if self.ports.get(MANAGEMENT_PORT):
            raise BrokerError(f"port {MANAGEMENT_PORT} can be had on a free port only")
        broker = Broker(
            self._directory,
            port=int(self.ports.get(self.port) or 0),
            management=self._has_management(),
            settings=self._settings(),
        )
        broker.start()
        self._broker = broker
        self._was_started = True
        return self

    def _has_management(self) -> bool:
        return "management" in self.image or MANAGEMENT_PORT in self.ports

    def _settings(self) -> dict[str, object]:
        unknown = [
            name
            for name in sorted(self.env)
            if name.startswith("RABBITMQ_") and name not in SETTINGS and name not in WITHOUT_EFFECT
        ]
        if unknown:
            raise BrokerError(
                f"no counterpart for {', '.join(unknown)}: leave them out, or use"
                " leveret.testing.Broker(settings=...)"
            )
        return {key: self.env[variable] for variable, key in SETTINGS.items()}

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:
        """Stop the broker, if it runs. The directory of a volume stays."""
        broker, self._broker = self._broker, None
        if broker is not None:
            broker.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def readiness_probe(self) -> Self:
        """Log in once.

        :raises pika.exceptions.AMQPConnectionError: if that is refused.
        """
        pika.BlockingConnection(self.get_connection_params()).close()
        return self

    def get_connection_params(self) -> pika.ConnectionParameters:
        """How pika connects to the broker.

        :raises BrokerError: if it does not run.
        """
        return pika.ConnectionParameters(
            host=self.get_container_host_ip(),
            port=self.get_exposed_port(self.port),
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(self.username, self.password),
        )

    def get_container_host_ip(self) -> str:
        """The address the broker listens on.

        :raises BrokerError: if it does not run.
        """
        return self.broker.host

    def get_exposed_port(self, port: int) -> int:
        """The port of this machine for a port of the container.

        :raises BrokerError: if the broker does not run, or does not serve that port.
        """
        number = _number(port)
        if number == self.port:
            return self.broker.port
        if number == MANAGEMENT_PORT and self._has_management():
            return int(self.broker.management_url.rpartition(":")[2])
        raise BrokerError(
            f"port {port} is not served: {self.port} is, and with an image whose name has"
            f" -management {MANAGEMENT_PORT}, too"
        )

    def get_logs(self) -> tuple[bytes, bytes]:
        """What the broker has logged, as the standard output, and an empty standard error.

        :raises BrokerError: if it does not run.
        """
        return "".join(f"{line}\n" for line in self.broker.log()).encode(), b""

    def reload(self) -> None:
        """Do nothing: `status` is up to date."""

    @property
    def status(self) -> str:
        """`not_started`, `running` or `exited`."""
        if self._broker is not None:
            return "running"
        return "exited" if self._was_started else "not_started"

    def exec(self, command: str | list[str]) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError(
            f"there is no container to run {command!r} in: look at queues by the attribute"
            " `broker`, or use the HTTP API (an image with -management)"
        )

    def wait(self) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError("the broker ends by stop() only: there is nothing to wait for")

    def get_container_id(self) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError("there is no container that has an id")

    def get_container_info(self) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError("there is no container to inspect")

    def get_wrapped_container(self) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError(
            "there is no container: start() returns when the broker is ready, and the attribute"
            " `broker` can pause, kill and restart it"
        )

    def get_docker_client(self) -> NoReturn:
        """Not here.

        :raises BrokerError: always.
        """
        raise BrokerError("there is no container engine")


def _number(port: str | int) -> int:
    """The number of a port, which may have its protocol behind it: `5672/tcp`."""
    return int(str(port).partition("/")[0])


def _no_files() -> BrokerError:
    return BrokerError(
        "there is no container to copy files into or out of: use Broker(settings=...), or import"
        " definitions over the HTTP API (an image with -management)"
    )

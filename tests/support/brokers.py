"""Broker processes for tests and measurements: Leveret, and Debian's RabbitMQ as the peer.

Rules:
- One broker is one private process on 127.0.0.1, on ports that were free, with its files in a
  temporary directory that goes away with it. A broker the machine itself runs is never touched.
- Constructing a broker returns when it answers; stop() (or leaving the `with` block) returns when
  it is gone.
- Processes are ended by the pid that was started here, never by name.
- RabbitMQ runs with its own defaults, and without plugins unless they are asked for: it is also
  the peer of the measurements.
"""

import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
LEVERET_START_DEADLINE_S = 60.0
RABBITMQ_START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 60.0
COMMAND_DEADLINE_S = 60.0
NO_MANAGEMENT = ("LEVERET_MANAGEMENT_LISTEN", "")
"""Variable and value: the default port is one for all brokers of the machine."""

HANDSHAKE_TIMEOUT = ("LEVERET_AMQP_HANDSHAKE_TIMEOUT", "60")
"""Variable and value: on a machine that stands still now and then a login may take long."""

NO_METRICS = ("LEVERET_METRICS_LISTEN", "")
"""Variable and value: the default port is one for all brokers of the machine."""

POLL_INTERVAL_S = 0.02
PORT_MIN, PORTS_END = 10_000, 65_536
KERNEL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
RANDOM = random.SystemRandom()
"""Not seeded alike in all test processes, as Hypothesis seeds the usual one."""

LOG_TAIL_BYTES = 4000

EXCHANGE_PLUGINS = (
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
)
"""The plugins that have the exchange types RabbitMQ itself lacks."""

RABBITMQ_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
SOURCE_ROOTS = [str(Path(__file__).resolve().parents[2] / name) for name in ("server", "storage")]
FEW_CONNECTIONS = ("LEVERET_AMQP_MAX_CONNECTIONS", "100")
"""Variable and value for a broker that has to have nothing to say of the machine's limits."""

READY_ADDRESS = re.compile(
    r'^(?:leveret ready\b|\{.*"event":"ready").*?\bamqp=([^\s"]+):(\d+)', re.MULTILINE
)

MANAGEMENT_ADDRESS = re.compile(r"\bmanagement=[^\s\"]+:(\d+)")


class BrokerError(Exception):
    """A broker process did not start, or did not stop, as it should."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 nobody listened on a moment ago.

    It is none of those that the kernel gives to connections: a broker that takes seconds to listen
    on it would find it taken by one of another test.
    """
    first_of_kernel = int(KERNEL_PORTS.read_text().split()[0])
    end = first_of_kernel if first_of_kernel > PORT_MIN else PORTS_END
    while True:
        port = RANDOM.randrange(PORT_MIN, end)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def wait_until(
    predicate: Callable[[], bool], deadline_s: float = 60.0, what: str = "the awaited state"
) -> None:
    """Return as soon as `predicate()` is true.

    Raises TimeoutError naming `what` when that has not happened within `deadline_s` seconds.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        # Before the state is looked at: the process may stand still between the two.
        is_over = time.monotonic() >= deadline
        if predicate():
            return
        if is_over:
            raise TimeoutError(f"{what} did not come about within {deadline_s:g} s")
        time.sleep(POLL_INTERVAL_S)


def rabbitmq_available() -> bool:
    """Whether Debian's rabbitmq-server is installed here."""
    return RABBITMQ_SCRIPT.exists() and all(shutil.which(name) for name in ("erl", "epmd"))


class Broker:
    """A running broker: where it listens, and how to end it."""

    name = "broker"

    def __init__(self) -> None:
        self.host = HOST
        self.port = 0
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.log_path = self.directory / "broker.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int:
        """The process id of the broker itself."""
        return self._processes[-1].pid

    @property
    def url(self) -> str:
        """The AMQP URL of the virtual host `/` for the user guest."""
        return f"amqp://guest:guest@{self.host}:{self.port}/%2F"

    def log_text(self) -> str:
        """What the broker has logged so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self) -> int | None:
        """End the broker with SIGTERM and remove its directory; a second call does nothing.

        Returns its exit code, None when it was already stopped. A process that is not gone within
        STOP_DEADLINE_S seconds is killed, and BrokerError is raised.
        """
        code: int | None = None
        stubborn: list[str] = []
        while self._processes:
            process = self._processes.pop()
            command = str(process.args)
            exit_code, killed = _end(process)
            code = exit_code if code is None else code
            if killed:
                stubborn.append(command)
        shutil.rmtree(self.directory, ignore_errors=True)
        if stubborn:
            raise BrokerError(f"had to be killed: {stubborn}")
        return code

    def wait(self) -> int:
        """Wait until the broker has ended by itself; its exit code."""
        return self._processes[-1].wait(STOP_DEADLINE_S)

    def kill(self) -> int:
        """End the broker with SIGKILL, as it stands; `stop` only cleans up then.

        Returns its exit code.
        """
        process = self._processes.pop()
        process.kill()
        return process.wait(STOP_DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self, command: list[str], env: Mapping[str, str], output: Path) -> None:
        with output.open("ab") as sink:
            self._processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    env=dict(env),
                    cwd=self.directory,
                    start_new_session=True,
                )
            )

    def _await(self, ready: Callable[[], bool], deadline_s: float, output: Path) -> None:
        def ready_or_dead() -> bool:
            return ready() or self._processes[-1].poll() is not None

        try:
            wait_until(ready_or_dead, deadline_s, f"{self.name} being ready")
            failed = self._processes[-1].poll() is not None
        except TimeoutError:
            failed = True
        if failed:
            tail = output.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
            exit_code = self._processes[-1].poll()
            self.stop()
            raise BrokerError(f"{self.name} did not start (exit code {exit_code}):\n{tail}")


def leveret_command(executable: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Command and environment of this checkout's `leveret`, or of another executable."""
    environment = dict(os.environ)
    if executable is not None:
        environment.pop("PYTHONPATH", None)
        return [str(executable.absolute())], environment
    # A broker runs in another directory, and must import what this process would.
    roots = [os.path.abspath(entry) for entry in sys.path]
    if importlib.util.find_spec("leveret") is None:
        roots = [*SOURCE_ROOTS, *roots]
    environment["PYTHONPATH"] = os.pathsep.join(roots)
    return [sys.executable, "-m", "leveret"], environment


class Leveret(Broker):
    """`leveret serve` of this checkout (or of the installed package), on a free port.

    Its data is in its temporary directory, and goes away with it, unless it is given `data_dir`.
    """

    name = "leveret"

    def __init__(
        self,
        *extra_args: str,
        env: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        executable: Path | None = None,
        location: str = "",
        port: int = 0,
        descriptors: int | None = None,
        management: bool = False,
    ) -> None:
        """`executable` is the `leveret` of another environment, which imports its own sources.
        With `location` its data are in that database; with port 0 a free one is taken.

        The process may have no more than `descriptors` files and sockets open. With `management`
        it serves the HTTP API, whose port is then `management_port`.
        """
        super().__init__()
        self.data_dir = data_dir or self.directory / "data"
        command, environment = leveret_command(executable)
        where = ["--listen", f"{HOST}:{port}", "--data-dir", location or str(self.data_dir)]
        command = [*command, "serve", *where, *extra_args]
        if descriptors is not None:
            command = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(descriptors), *command]
        self._environment = environment
        if management:
            command += ["--management", f"{HOST}:0"]
        self.management_port = 0
        variables = {
            **environment,
            **dict([HANDSHAKE_TIMEOUT, NO_MANAGEMENT, NO_METRICS]),
            **(env or {}),
        }
        self._spawn(command, variables, self.log_path)
        self._await(self._read_address, LEVERET_START_DEADLINE_S, self.log_path)

    def control(self, *command: str) -> None:
        """Run a command of rabbitmqctl, and wait for its end."""
        main = "from leveret.commands.rabbitmqctl import main; main()"
        environment = self._environment | {"LEVERET_STORAGE_DATA_DIR": str(self.data_dir)}
        _run([sys.executable, "-c", main, *command], environment)

    @property
    def management_url(self) -> str:
        """Where the HTTP API and the management page are."""
        return f"http://{self.host}:{self.management_port}"

    def _read_address(self) -> bool:
        found = READY_ADDRESS.search(self.log_text())
        if found:
            self.host, self.port = found[1], int(found[2])
            if management := MANAGEMENT_ADDRESS.search(found.string):
                self.management_port = int(management[1])
        return found is not None


class RabbitMQ(Broker):
    """Debian's rabbitmq-server as a node of its own, with its own epmd.

    The script behind /usr/sbin/rabbitmq-server is started directly: the one in /usr/sbin would
    switch to the rabbitmq user and to the system's directories.
    """

    name = "rabbitmq"

    def __init__(
        self,
        *config_lines: str,
        plugins: Sequence[str] = (),
        beside: "RabbitMQ | None" = None,
    ) -> None:
        """With `beside` it is another node of that one's cluster, which has to run."""
        super().__init__()
        self.port = free_port()
        output = self.directory / "stdout.log"
        environment = self._environment(epmd_port=free_port(), distribution_port=free_port())
        if beside is not None:
            environment |= {name: beside.environment[name] for name in ("HOME", "ERL_EPMD_PORT")}
        self.environment: dict[str, str] = environment
        """The variables with which its command line finds this node."""
        config = [f"listeners.tcp.1 = {HOST}:{self.port}", *config_lines, *self._joining(beside)]
        (self.directory / "rabbitmq.conf").write_text("\n".join([*config, ""]))
        (self.directory / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        (self.directory / "rabbitmq-env.conf").touch()
        if beside is None:
            epmd = ["epmd", "-address", HOST, "-port", environment["ERL_EPMD_PORT"]]
            self._spawn(epmd, environment, self.directory / "epmd.log")
        self._spawn([str(RABBITMQ_SCRIPT)], environment, output)
        self._await(self._answers_handshake, RABBITMQ_START_DEADLINE_S, output)

    def control(self, *command: str) -> None:
        """Run a command of rabbitmqctl, and wait for its end."""
        _run(
            [str(RABBITMQ_SCRIPT.with_name("rabbitmqctl")), "-n", self.node, *command],
            self.environment,
        )

    @property
    def node(self) -> str:
        """The name of the node."""
        return self.environment["RABBITMQ_NODENAME"]

    def _joining(self, beside: "RabbitMQ | None") -> list[str]:
        if beside is None:
            return []
        setting = "cluster_formation.classic_config.nodes"
        return [
            "cluster_formation.peer_discovery_backend = classic_config",
            f"{setting}.1 = {beside.node}",
            f"{setting}.2 = {self.node}",
        ]

    def _environment(self, *, epmd_port: int, distribution_port: int) -> dict[str, str]:
        here = self.directory
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        outer.pop("NOTIFY_SOCKET", None)
        return outer | {
            "HOME": str(here),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": f"rabbit-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(here / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "advanced"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here / "log"),
            "RABBITMQ_LOGS": str(self.log_path),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(here / "config"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"
            ),
            # The script then becomes the node instead of waiting for it, so its pid is the node's.
            "detached": "no shell in between",
        }

    def _answers_handshake(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=5.0) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a command to its end; raises BrokerError if it fails."""
    ended = subprocess.run(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_DEADLINE_S,
        check=False,
    )
    if ended.returncode:
        raise BrokerError(f"{command} failed: {ended.stdout}{ended.stderr}")


def _end(process: subprocess.Popen[bytes]) -> tuple[int, bool]:
    """Terminate and reap one process; the exit code, and whether it had to be killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_DEADLINE_S), False
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(), True

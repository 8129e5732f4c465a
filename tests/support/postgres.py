"""PostgreSQL for tests: a primary and two synchronous standbys on free ports of 127.0.0.1.

Rules:
- The programs are Debian's `postgresql`. The servers run as the user who runs the tests, or as
  `postgres` where that is root, whom PostgreSQL refuses.
- Every file is in one temporary directory, which goes away with the cluster.
- Processes are ended by the pid that was started here, never by name.
- A commit with synchronous_commit = on is on the primary and one standby: `ANY 1 (*)`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg

from tests.support.brokers import free_port

HOST: Final = "127.0.0.1"
DATABASE: Final = "leveret"
OWNER: Final = "leveret"
"""The role that Leveret logs in as: it may make a schema in its database, and reads statistics."""

PASSWORD: Final = "not a secret of anybody"
SUPERUSER: Final = "postgres"
SYNCHRONOUS_STANDBY_NAMES: Final = "ANY 1 (*)"
START_DEADLINE_S: Final = 60.0
POLL_INTERVAL_S: Final = 0.02

ENDS_WITH_THE_TESTS: Final = ("setpriv", "--pdeathsig", "QUIT")
"""In front of a command: it is sent SIGQUIT when the process that started it dies."""

IN_MEMORY: Final = Path("/dev/shm")
IN_MEMORY_FREE_MIN: Final = 2 * 1024**3
"""Bytes that three servers may come to need."""

_NUMBERS: Final = count(1)

SETTINGS: Final = {
    "listen_addresses": f"'{HOST}'",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "max_wal_size": "1GB",
    "wal_keep_size": "256MB",
    "hot_standby": "on",
    "hot_standby_feedback": "off",
    "autovacuum_naptime": "10min",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
    "log_min_messages": "warning",
    "max_wal_senders": "8",
    "jit": "off",
    # In the directory of the server: in /dev/shm they would stay when it is killed.
    "dynamic_shared_memory_type": "mmap",
}


def programs() -> Path | None:
    """The directory of the newest PostgreSQL that is installed, from 15 on, if there is one."""
    found = [
        (int(path.parent.parent.name), path.parent)
        for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if path.parent.parent.name.isdigit() and int(path.parent.parent.name) >= 15
    ]
    return max(found)[1] if found else None


def await_state(
    state: Callable[[], object], what: str, deadline_s: float = START_DEADLINE_S
) -> None:
    """Wait until `state` returns something true."""
    end = time.monotonic() + deadline_s
    while not state():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(POLL_INTERVAL_S)


def unprivileged_user() -> str | None:
    """Whom servers run as; None for the user of the tests."""
    return SUPERUSER if os.geteuid() == 0 else None


def _children_of(pid: int) -> list[int]:
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(word) for word in words]


class Server:
    """One PostgreSQL server: its directory, its port, and the process while it runs."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.directory = directory / name
        self.environment: dict[str, str] = {}
        """Variables of its processes, beside those of the tests."""
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.is_paused = False

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def copy_from(self, template: Path) -> None:
        """Take the files of another server, which does not run."""
        _run("cp", "-a", str(template), str(self.directory))

    def configure(self, **settings: str) -> None:
        """Add settings; a server that runs gets them by `reload`."""
        with (self.directory / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())

    def follow(self, primary: "Server") -> None:
        """Be a standby of another server, from the next start on."""
        self.configure(
            primary_conninfo=f"'host={HOST} port={primary.port} user={SUPERUSER} "
            f"application_name={self.name}'"
        )
        (self.directory / "standby.signal").touch()

    def start(self) -> None:
        binaries = programs()
        assert binaries is not None, "PostgreSQL is not installed: apt-get install postgresql"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *ENDS_WITH_THE_TESTS,
                    binaries / "postgres",
                    "-D",
                    self.directory,
                    "-p",
                    str(self.port),
                    "-k",
                    self.directory,
                ],
                stdout=log,
                stderr=log,
                env={**environment(), **self.environment},
                user=unprivileged_user(),
                cwd=self.directory,
                start_new_session=True,
            )
        await_state(self._answers, f"{self.name} answers: {self.log_end()}")

    def _answers(self) -> bool:
        assert self.running, self.log_end()
        try:
            self.superuser("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def log_end(self) -> str:
        return self._log.read_text()[-3000:] if self._log.exists() else ""

    def superuser(self, statement: str, database: str = SUPERUSER) -> list[tuple[object, ...]]:
        """Run a statement outside a transaction, without waiting for standbys; return its rows."""
        with psycopg.connect(
            f"host={self.directory} port={self.port} user={SUPERUSER} dbname={database} "
            "connect_timeout=5 options='-c synchronous_commit=local'",
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def received(self) -> int:
        """Up to where a standby has received the write-ahead log."""
        rows = self.superuser("select (pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::bigint")
        assert isinstance(rows[0][0], int)
        return rows[0][0]

    def is_detached(self) -> bool:
        """Whether a standby receives nothing."""
        return self.superuser("select count(*) from pg_stat_wal_receiver") == [(0,)]

    def promote(self) -> None:
        self.superuser("select pg_promote(true, 60)")

    def reload(self) -> None:
        self.superuser("select pg_reload_conf()")

    def processes(self) -> list[int]:
        """The pids of the server: the one that was started, then its children."""
        assert self._process is not None
        return [self._process.pid, *_children_of(self._process.pid)]

    def kill(self) -> None:
        """End it as the loss of its machine does: all of its processes at once."""
        for pid in self.processes():
            _signal(pid, signal.SIGKILL)
        self._wait()

    def pause(self) -> None:
        """Stop all of its processes (SIGSTOP): connections stay open, and nothing answers."""
        self.is_paused = True
        for pid in self.processes():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        self.is_paused = False
        for pid in reversed(self.processes()):
            _signal(pid, signal.SIGCONT)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: sessions are ended. With SIGQUIT it does so at once, as in a crash."""
        if self.running:
            assert self._process is not None
            self.resume()
            self._process.send_signal(number)
            self._wait()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(START_DEADLINE_S)


class PostgresCluster:
    """A primary and two standbys; `primary` is the one that a test has promoted last."""

    def __init__(self, parent: Path | None = None, **settings: str) -> None:
        """Start them, with their files in a directory in `parent`: in memory if there is room, for
        a machine that does not stop loses nothing of it."""
        parent = parent or (IN_MEMORY if _has_room(IN_MEMORY) else None)
        self.directory = Path(tempfile.mkdtemp(prefix="leveret-postgres-", dir=parent))
        self.directory.chmod(0o755)
        user = unprivileged_user()
        if user is not None:
            os.chown(self.directory, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        self.servers = [Server(self.directory, f"pg{number}") for number in range(1, 4)]
        self.primary = self.servers[0]
        try:
            self._start(settings)
        except BaseException:
            self.stop()
            raise

    @property
    def standbys(self) -> list[Server]:
        """Those that run, and are not paused."""
        others = [server for server in self.servers if server is not self.primary]
        return [server for server in others if server.running and not server.is_paused]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, settings: dict[str, str]) -> None:
        binaries = programs()
        assert binaries is not None, "PostgreSQL is not installed: apt-get install postgresql"
        template = self.directory / "template"
        _run(
            str(binaries / "initdb"),
            "--pgdata",
            str(template),
            "--username",
            SUPERUSER,
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--data-checksums",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        )
        rules = template / "pg_hba.conf"
        # The first rule that matches counts: this one is for the standbys.
        rules.write_text(f"host replication {SUPERUSER} {HOST}/32 trust\n{rules.read_text()}")
        for server in self.servers:
            server.copy_from(template)
            server.configure(**{**SETTINGS, **settings})
        shutil.rmtree(template)
        self.primary.start()
        self.primary.superuser(
            f"create role {OWNER} login password '{PASSWORD}' in role pg_monitor"
        )
        self.primary.superuser(f"create database {DATABASE} owner {OWNER}")
        self.primary.configure(synchronous_standby_names=f"'{SYNCHRONOUS_STANDBY_NAMES}'")
        self._start_standbys()
        self.primary.reload()

    def _start_standbys(self) -> None:
        """They begin with a copy of the primary's files, made while it stands still."""
        self.primary.stop()
        for server in self.servers[1:]:
            shutil.rmtree(server.directory)
            server.copy_from(self.primary.directory)
            server.follow(self.primary)
        for server in self.servers:
            server.start()
        await_state(lambda: self.count_streaming() == 2, "both standbys follow", START_DEADLINE_S)

    def count_streaming(self) -> int:
        rows = self.primary.superuser(
            "select count(*) from pg_stat_replication where state = 'streaming'"
        )
        count = rows[0][0]
        assert isinstance(count, int)
        return count

    def url(self, **parameters: str) -> str:
        """The location for Leveret, with all hosts."""
        return self.url_of([server.port for server in self.servers], **parameters)

    def url_of(self, ports: list[int], **parameters: str) -> str:
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        query = "&".join(f"{key}={value}" for key, value in parameters.items())
        return f"postgresql://{OWNER}@{hosts}/{DATABASE}" + (f"?{query}" if query else "")

    def fail_over(self) -> None:
        """Promote the standby that has received most, and have the other one follow it.

        Both are detached from the old primary before they are compared: one that still listens to a
        primary which goes on would let it commit, and what it commits would be lost.
        """
        standbys = self.standbys
        for standby in standbys:
            standby.configure(primary_conninfo="''")
            standby.reload()
        for standby in standbys:
            await_state(standby.is_detached, f"{standby.name} is detached")
        self.primary = max(standbys, key=Server.received)
        self.primary.promote()
        for standby in self.standbys:
            standby.follow(self.primary)
            standby.reload()

    def replace(self, server: Server) -> None:
        """Make a server that was killed a standby of the primary, from a copy of its files."""
        shutil.rmtree(server.directory)
        binaries = programs()
        assert binaries is not None
        _run(
            str(binaries / "pg_basebackup"),
            "--host",
            HOST,
            "--port",
            str(self.primary.port),
            "--username",
            SUPERUSER,
            "--checkpoint=fast",
            "--no-sync",
            "--pgdata",
            str(server.directory),
        )
        server.follow(self.primary)
        server.start()

    def owner(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in Leveret's database, as the superuser."""
        return self.primary.superuser(statement, DATABASE)

    def stop(self) -> None:
        for server in reversed(self.servers):
            server.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)


def new_location(cluster: PostgresCluster, **parameters: str) -> str:
    """The location of a store that nobody has used."""
    return cluster.url(schema=f"test_{next(_NUMBERS)}", **parameters)


@contextmanager
def paused(server: Server) -> Iterator[None]:
    """A server that stands still meanwhile."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


def _has_room(directory: Path) -> bool:
    return directory.is_dir() and shutil.disk_usage(directory).free >= IN_MEMORY_FREE_MIN


def environment() -> dict[str, str]:
    """The variables of the tests, without those of another clock: what it shares between processes
    is not for another user."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "LD_PRELOAD" and not name.startswith("FAKETIME")
    }


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _run(*command: str) -> None:
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        user=unprivileged_user(),
        cwd="/",
        env=environment(),
        timeout=120,
    )

"""conf/cluster: what compose.yaml says of servers and brokers, run without containers."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from tests.support.brokers import HOST, Leveret, free_port, wait_until
from tests.support.postgres import (
    ENDS_WITH_THE_TESTS,
    environment,
    programs,
    unprivileged_user,
)
from tests.support.wire import Wire, make_start_ok

FOLDER = Path(__file__).parents[2] / "conf" / "cluster"
SERVERS = ("db1", "db2", "db3")
BROKERS = ("broker1", "broker2", "broker3")
SECRETS = ("superuser", "replication", "leveret", "cluster", "default_user")


class Deployment:
    """The services of the file, on ports of this machine."""

    def __init__(self, directory: Path) -> None:
        self.services: dict[str, dict[str, Any]] = yaml.safe_load(
            (FOLDER / "compose.yaml").read_text()
        )["services"]
        self.ports = {name: free_port() for name in SERVERS}
        self.directory = directory
        self.secrets = directory / "secrets"
        self.secrets.mkdir()
        for name in SECRETS:
            (self.secrets / name).write_text(secrets.token_hex(32) + "\n")
        shutil.copy(FOLDER / "postgres.sh", directory)

    def variables(self, service: str) -> dict[str, str]:
        """Of a service, with addresses of this machine and paths in the directory."""
        variables = {}
        for name, text in self.services[service]["environment"].items():
            text = text.replace("${PRIMARY:-db1}", "db1")
            for server, port in self.ports.items():
                text = text.replace(server, f"{HOST}:{port}")
            text = text.replace("/run/secrets", str(self.secrets))
            variables[name] = text
        return variables

    @contextmanager
    def server(self, name: str) -> Iterator[None]:
        """Run what the service of a server runs."""
        home = self.directory / name
        home.mkdir()
        user = unprivileged_user()
        if user is not None:
            shutil.chown(home, user, user)
        binaries = programs()
        variables = {
            **environment(),
            **self.variables(name),
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "DATA": str(home),
            "SECRETS": str(self.secrets),
            "SOCKETS": str(home),
            "PASSFILE": str(home / "passfile"),
            "PORT": str(self.ports[name]),
            "ADDRESS": HOST,
        }
        script = self.directory / "postgres.sh"
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*ENDS_WITH_THE_TESTS, "bash", script],
                env=variables,
                user=user,
                cwd=home,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def streaming(self) -> int:
        password = (self.secrets / "superuser").read_text().strip()
        try:
            with psycopg.connect(
                f"host={HOST} port={self.ports['db1']} user=postgres password={password}"
            ) as connection:
                query = b"select count(*) from pg_stat_replication where sync_state = 'quorum'"
                row = connection.execute(query).fetchone()
        except psycopg.OperationalError:
            return 0
        return int(row[0]) if row else 0


@pytest.fixture
def deployment(programs_there: None) -> Iterator[Deployment]:
    # PostgreSQL does not run as root, and another user does not come into the directory of a test.
    directory = Path(f"/tmp/leveret-compose-{secrets.token_hex(4)}")
    directory.mkdir(mode=0o755)
    try:
        yield Deployment(directory)
    except BaseException:
        for log in directory.glob("*.log"):
            print(log.read_text()[-2000:])
        raise
    finally:
        shutil.rmtree(directory)


def test_the_file_is_a_cluster_that_works(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE)
    assert set(deployment.services) == {*SERVERS, *BROKERS}
    for service in deployment.services.values():
        assert set(service["secrets"]) <= set(SECRETS)
    with ExitStack() as stack:
        for name in SERVERS:
            stack.enter_context(deployment.server(name))
        wait_until(lambda: deployment.streaming() == 2, what="two synchronous standbys")
        first = deployment.variables(BROKERS[0])
        for name in BROKERS[1:]:
            variables = deployment.variables(name)
            assert {key: text.replace(name, BROKERS[0]) for key, text in variables.items()} == first
        location = first.pop("LEVERET_STORAGE_DATA_DIR")
        first["LEVERET_STORAGE_LOCAL_DIR"] = str(deployment.directory / BROKERS[0])
        first["LEVERET_CLUSTER_LISTEN"] = f"{HOST}:0"
        broker = stack.enter_context(Leveret(env=first, location=location))
        password = (deployment.secrets / "default_user").read_text().strip()
        with Wire(broker.host, broker.port) as wire:
            wire.negotiate(make_start_ok(response=f"\0guest\0{password}"))

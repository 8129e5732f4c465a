"""LavinMQ, where its binary is named: a private process on free ports, with its own defaults."""

import os
import socket
from pathlib import Path

from tests.support.brokers import Broker, free_port

START_DEADLINE_S = 30.0


class LavinMQ(Broker):
    """A LavinMQ that listens on a free port of 127.0.0.1 (LavinMQ: `lavinmq --help`)."""

    name = "lavinmq"

    def __init__(self, executable: Path) -> None:
        """Raises BrokerError if it does not start."""
        super().__init__()
        self.port = free_port()
        command = [
            str(executable.absolute()),
            f"--data-dir={self.directory / 'data'}",
            f"--bind={self.host}",
            f"--amqp-port={self.port}",
            f"--http-port={free_port()}",
            f"--mqtt-port={free_port()}",
        ]
        self._spawn(command, os.environ, self.log_path)
        self._await(self._listens, START_DEADLINE_S, self.log_path)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex((self.host, self.port)) == 0

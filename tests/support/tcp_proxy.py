"""A TCP proxy for tests that cut, delay and silence connections between a client and a server."""

import re
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65536
BACKEND_KEY: Final = re.compile(rb"K\0\0\0\x0c....", re.DOTALL)
"""The beginning of PostgreSQL's message BackendKeyData, with the process number."""


class TcpProxy:
    """Passes connections on to a port of this machine, until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._answers_pass = threading.Event()
        self._answers_pass.set()
        self._drop_answers = False
        self.changes_backend_keys = False
        """Whether clients get other process numbers than the server sends, as from a pooler."""
        self.refuses = False
        """Whether new connections are closed at once."""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        self._drop_answers = True
        self._answers_pass.set()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Close all connections, on both sides."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def hold_answers(self) -> None:
        """Pass on what clients send, and nothing of what the server answers."""
        self._answers_pass.clear()

    def pass_answers(self) -> None:
        """Pass on what was held, and all that follows."""
        self._answers_pass.set()

    def lose_answers_and_cut(self) -> None:
        """Close all connections; what was held is lost, and new connections work."""
        self._drop_answers = True
        self.cut()
        self._answers_pass.set()
        self._drop_answers = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self._threads.append(thread)
            thread.start()

    def open_target(self) -> socket.socket | None:
        """A connection to the server; None if there is none."""
        try:
            return socket.create_connection((HOST, self.target_port))
        except OSError:
            return None

    def _serve(self, client: socket.socket) -> None:
        with client:
            server = self.open_target()
            if server is None:
                return
            with server:
                with self._lock:
                    self._sockets += [client, server]
                answers = threading.Thread(
                    target=self._pass, args=(server, client, True), daemon=True
                )
                answers.start()
                self._pass(client, server, False)
                answers.join()
                with self._lock:
                    self._sockets = [each for each in self._sockets if each not in (client, server)]

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if answers:
                    self._answers_pass.wait()
                    if self._drop_answers:
                        break
                    if self.changes_backend_keys:
                        data = BACKEND_KEY.sub(b"K\0\0\0\x0c\0\0\0\x01", data)
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

"""Asking other brokers of the cluster, within a time, and who did not answer.

A broker that has not answered is not asked for a while: its lease has ended then, or it answers
again. It is named meanwhile (`Peers.silent`), so that nobody takes a part for the whole.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from leveret.logging import get_logger
from leveret.management.authorisation import Identity
from leveret.management.cluster.marks import marks_of

ANSWER_S: Final = 5.0
"""Seconds in which another broker has to begin its answer, and to send each next piece."""

SILENT_S: Final = 5.0
"""Seconds for which one that has not answered is not asked."""

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of an answer that is taken as a whole."""

logger = get_logger()


class PeerFailed(Exception):
    """Another broker does not answer; the text says which, and why."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"node '{node}' does not answer: {reason}")
        self.node = node
        self.reason = reason


class PeerResponse(ABC):
    """The answer of another broker, whose body comes piece by piece. Close it in any case."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    @abstractmethod
    def pieces(self) -> AsyncIterator[bytes]:
        """The body; to be iterated over once."""

    @abstractmethod
    async def close(self) -> None:
        """Take no more of it."""


class PeerClient(ABC):
    """Sends requests to other brokers."""

    @abstractmethod
    async def request(
        self, peer: "Peer", method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> PeerResponse:
        """Send a request to a broker.

        :param target: path and query, quoted.
        :raises OSError: if it cannot be reached, does not prove who it is, or breaks off.
        """


class Peer(NamedTuple):
    """Another broker that lives."""

    node: str
    address: str
    """HOST:PORT; empty if it takes no requests of others."""


class Answer(NamedTuple):
    """The whole answer of another broker."""

    node: str
    status: int
    body: bytes

    def json(self) -> Any:
        """What it says; None if nothing.

        :raises PeerFailed: if it is no JSON.
        """
        try:
            return msgspec.json.decode(self.body) if self.body else None
        except msgspec.MsgspecError as error:
            raise PeerFailed(self.node, f"no answer in JSON: {error}") from None


class Peers:
    """The other brokers of the cluster. For the event loop."""

    def __init__(
        self,
        living: Callable[[], Iterable[Peer]],
        client: PeerClient,
        metadata_version: Callable[[], int],
        *,
        answer_s: float = ANSWER_S,
    ) -> None:
        """
        :param living: returns the other brokers that live.
        :param metadata_version: of the metadata that this broker knows, as all number them.
        """
        self._living = living
        self._client = client
        self._metadata_version = metadata_version
        self._answer_s = answer_s
        self._failed: dict[Peer, tuple[float, str]] = {}
        """When each has not answered, by the monotonic clock, and why. One that has started again
        has another address, mostly, and is asked at once."""

    def nodes(self) -> list[str]:
        """The names of the others that live."""
        return [each.node for each in self._living()]

    @property
    def silent(self) -> dict[str, str]:
        """Those that live and have not answered lately, and why."""
        now, living = time.monotonic(), set(self._living())
        self._failed = {
            peer: (at, why)
            for peer, (at, why) in self._failed.items()
            if peer in living and now - at < SILENT_S
        }
        return {peer.node: why for peer, (_, why) in self._failed.items()}

    async def request(
        self,
        node: str,
        identity: Identity | None,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> PeerResponse:
        """Ask one for somebody.

        :raises PeerFailed: if it does not begin its answer in time.
        """
        if (why := self.silent.get(node)) is not None:
            raise PeerFailed(node, why)
        peer = self._find(node)
        if peer is None or not peer.address:
            raise PeerFailed(node, "it is not there" if peer is None else "it has no address")
        marks = marks_of(identity, self._metadata_version())
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._client.request(
                    peer, method, target, {**(headers or {}), **marks}, body
                )
        except TimeoutError:
            raise self._note(node, f"no answer in {self._answer_s:g} s") from None
        except OSError as error:
            raise self._note(node, error.strerror or str(error)) from None

    async def pieces(self, node: str, response: PeerResponse) -> AsyncGenerator[bytes]:
        """The body of an answer, which is closed at the end.

        :raises PeerFailed: if the next piece does not come in time.
        """
        pieces = response.pieces()
        try:
            while True:
                async with asyncio.timeout(self._answer_s):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece
        except TimeoutError:
            raise self._note(node, f"nothing for {self._answer_s:g} s") from None
        except OSError as error:
            raise self._note(node, error.strerror or str(error)) from None
        finally:
            await response.close()

    async def ask(
        self,
        node: str,
        identity: Identity | None,
        method: str,
        target: str,
        body: bytes = b"",
    ) -> Answer:
        """Ask one for somebody, and take its whole answer.

        :raises PeerFailed: as `request` and `pieces`, and if the answer is too long.
        """
        headers = {"content-type": "application/json"} if body else {}
        response = await self.request(node, identity, method, target, headers, body)
        found = bytearray()
        async for piece in self.pieces(node, response):
            found += piece
            if len(found) > ANSWER_BYTES_MAX:
                raise PeerFailed(node, f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        return Answer(node, response.status, bytes(found))

    async def ask_all(
        self, identity: Identity | None, method: str, target: str
    ) -> list[Answer | PeerFailed]:
        """Ask all others at once."""

        async def one(node: str) -> Answer | PeerFailed:
            try:
                return await self.ask(node, identity, method, target)
            except PeerFailed as error:
                return error

        return list(await asyncio.gather(*(one(node) for node in self.nodes())))

    def _note(self, node: str, reason: str) -> PeerFailed:
        peer = self._find(node)
        if peer is not None:
            if peer not in self._failed:
                logger.warning("another broker does not answer", node=node, reason=reason)
            self._failed[peer] = time.monotonic(), reason
        return PeerFailed(node, reason)

    def _find(self, node: str) -> Peer | None:
        return next((each for each in self._living() if each.node == node), None)

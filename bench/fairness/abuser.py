"""The abuser: a client that sends prepared frames as fast as the broker reads them."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pamqp import base, commands, frame

from bench.contestants import Running
from tests.support.wire import ClosedByServerError, Wire

TIMEOUT_S = 600.0
"""Seconds that one request may take: RabbitMQ needs minutes for some."""
BURST_BYTES = 256 * 1024
"""Bytes of frames that are sent at once."""


class Abuser(Wire):
    """One connection with channel 1 open."""

    def __init__(self, broker: Running) -> None:
        super().__init__(broker.host, broker.port, TIMEOUT_S)
        self.negotiate()
        self.open_channel()

    def send_all(self, frames: Iterable[bytes]) -> None:
        """Send frames in bursts, and wait until the broker has handled them.

        What the broker answers is read meanwhile, and dropped.
        """
        reader = threading.Thread(target=self._drop_until_synced)
        reader.start()
        burst: list[bytes] = []
        size = 0
        for each in frames:
            burst.append(each)
            size += len(each)
            if size >= BURST_BYTES:
                self.send_bytes(b"".join(burst))
                burst, size = [], 0
        sync = method(commands.Basic.Qos(prefetch_count=0))
        self.send_bytes(b"".join([*burst, sync]))
        reader.join()

    def request(self, request: base.Frame) -> None:
        """Send a method, and wait for a reply, whatever it is."""
        self.send(request, 1)
        self.read()

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Return or drop all deliveries up to a tag, and wait until that is done."""
        self.send(commands.Basic.Nack(delivery_tag=tag, multiple=True, requeue=requeue), 1)
        self.send_all([])

    def _drop_until_synced(self) -> None:
        """Read up to qos-ok, without decoding the frames before it."""
        wanted = method(commands.Basic.QosOk())
        while True:
            start = self.read_bytes(7)
            rest = self.read_bytes(int.from_bytes(start[3:7], "big") + 1)
            if start + rest == wanted:
                return


@contextmanager
def abuser(broker: Running) -> Iterator[Abuser]:
    """A connected abuser, whose socket is closed afterwards."""
    client = Abuser(broker)
    try:
        yield client
    except ClosedByServerError as error:
        raise OSError("the broker closed the connection") from error
    finally:
        client.close_socket()


def method(value: base.Frame, channel: int = 1) -> bytes:
    """A method frame."""
    return frame.marshal(value, channel)

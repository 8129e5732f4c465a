"""A few messages that nobody settles do not keep the disk that thousands around them took."""

from pathlib import Path

from pamqp import commands

from tests.clients.peers import Numbered, Peers, Sender
from tests.support.brokers import Leveret, wait_until

BODY_BYTES = 4096
COUNT = 10_000
"""Messages that fill more than two queue segments of 16 MiB."""
STUCK_EACH = 1000


def queue_bytes(data_dir: Path) -> int:
    """Bytes of all queue segments."""
    total = 0
    for path in (data_dir / "blobs").glob("queue-*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_disk_comes_near_to_zero_when_one_message_of_a_thousand_is_stuck(tmp_path: Path) -> None:
    persistent = commands.Basic.Properties(delivery_mode=2)
    stuck = list(range(STUCK_EACH // 2, COUNT, STUCK_EACH))
    with Leveret(data_dir=tmp_path / "data") as broker, Peers(broker) as peers:
        data_dir = Path(broker.data_dir)
        publisher, consumer = peers.log_in(), peers.log_in()
        declare = commands.Queue.Declare(queue="deep", durable=True)
        publisher.call(declare, commands.Queue.DeclareOk)
        Sender(publisher, "deep", BODY_BYTES, COUNT, persistent).join()
        wait_until(lambda: publisher.count("deep") == COUNT, what="a full queue")
        wait_until(lambda: queue_bytes(data_dir) > COUNT * BODY_BYTES * 0.8, what="a deep queue")

        consumer.consume("deep", no_ack=False)
        for number in range(COUNT):
            assert Numbered.number(consumer.read_content()) == number
            if number not in stuck:
                consumer.send(commands.Basic.Ack(delivery_tag=number + 1), 1)
        wait_until(
            lambda: queue_bytes(data_dir) < COUNT * BODY_BYTES / 50, what="a disk given back"
        )

    with Leveret(data_dir=tmp_path / "data") as broker, Peers(broker) as peers:
        peer = peers.log_in()
        assert peer.count("deep") == len(stuck)
        peer.consume("deep")
        assert [Numbered.number(peer.read_content()) for _ in stuck] == stuck

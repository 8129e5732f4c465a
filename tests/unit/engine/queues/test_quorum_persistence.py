"""What is in a quorum queue is there after a restart, however it was published."""

from leveret.engine.values.arguments import Arguments
from tests.unit.engine.queues.lives import Life

QUORUM = Arguments({"x-queue-type": "quorum"}, {"x-queue-type": "longstr"})


def test_a_transient_message_in_a_quorum_queue_outlives_every_restart() -> None:
    life = Life()
    life.queue("q", arguments=QUORUM)
    life.publishes("", "q", b"transient", persistent=False)
    life.works()
    for _ in range(2):
        life = life.dies(power=True)
        assert life.vhost.queues["q"].message_count() == 1
    (message,) = life.takes("q")
    assert (message.body, message.persistent) == (b"transient", True)


def test_it_does_not_take_the_transient_message_of_another_queue_along() -> None:
    life = Life()
    life.exchange("x", "fanout", {})
    life.queue("q", "x", arguments=QUORUM)
    life.queue("classic", "x")
    life.publishes("x", "", b"transient", persistent=False)
    life.works()
    life = life.dies(power=True)
    assert life.vhost.queues["q"].message_count() == 1
    assert life.vhost.queues["classic"].message_count() == 0

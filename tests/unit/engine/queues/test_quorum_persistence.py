"""What is in a quorum queue is there after a restart, however it was published."""

from leveret.engine.values.arguments import Arguments
from tests.unit.engine.queues.broker_run import BrokerRun

QUORUM = Arguments({"x-queue-type": "quorum"}, {"x-queue-type": "longstr"})


def test_a_transient_message_in_a_quorum_queue_survives_every_restart() -> None:
    run = BrokerRun()
    run.queue("q", arguments=QUORUM)
    run.publish("", "q", b"transient", persistent=False)
    run.run_all()
    for _ in range(2):
        run = run.restart(power=True)
        assert run.vhost.queues["q"].message_count() == 1
    (message,) = run.take_all("q")
    assert (message.body, message.persistent) == (b"transient", True)


def test_the_same_transient_message_in_a_classic_queue_does_not_survive() -> None:
    run = BrokerRun()
    run.exchange("x", "fanout", {})
    run.queue("q", "x", arguments=QUORUM)
    run.queue("classic", "x")
    run.publish("x", "", b"transient", persistent=False)
    run.run_all()
    run = run.restart(power=True)
    assert run.vhost.queues["q"].message_count() == 1
    assert run.vhost.queues["classic"].message_count() == 0

"""The arguments of a queue: all known ones are accepted, and a quorum queue is reported as one."""

from leveret.engine.lifecycle.queue_arguments import QUEUE_ARGUMENTS
from tests.protocol.harness import Harness


def test_a_quorum_queue_says_once_that_it_is_one_copy(harness: Harness) -> None:
    client = harness.open_client(1)
    for _ in range(2):
        client.declare(1, "q", durable=True, arguments={"x-queue-type": "quorum"})
    client.declare(1, "plain", durable=True, arguments={"x-queue-type": "classic"})
    assert client.log.of("quorum queue declared") == {"queue": "q", "copies": 1}


def test_every_known_argument_is_kept(harness: Harness) -> None:
    client = harness.open_client(1)
    values = {
        "x-dead-letter-exchange": "dlx",
        "x-dead-letter-routing-key": "k",
        "x-delayed-retry-type": "all",
        "x-overflow": "reject-publish",
        "x-queue-mode": "lazy",
        "x-queue-type": "classic",
        "x-single-active-consumer": True,
        "x-message-deduplication": True,
        "x-deduplication-header": "id",
    }
    arguments = {name: values.get(name, 2) for name in QUEUE_ARGUMENTS}
    client.declare(1, "q", arguments=arguments)
    assert harness.queue("q").arguments == arguments

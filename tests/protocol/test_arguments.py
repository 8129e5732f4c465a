"""What a declaration asks for and this version does not do yet is kept, and logged once."""

from pamqp.commands import Queue

from leveret.engine.topology.arguments import QUEUE_ARGUMENTS
from tests.protocol.playbook import Client, Play

EVENT = "queue arguments without effect"


def warned_of(client: Client) -> list[object]:
    """The arguments of each warning."""
    return [values["arguments"] for event, values in client.log.events if event == EVENT]


def test_arguments_without_effect_are_logged_when_the_queue_is_made_and_only_then(
    play: Play,
) -> None:
    client = play.opens(1)
    for _ in range(2):
        client.declares(1, "q", arguments={"x-max-priority": 10, "x-delivery-limit": 5, "mine": 1})
    assert client.log.of(EVENT) == {"queue": "q", "arguments": "x-max-priority, x-delivery-limit"}


def test_a_quorum_queue_is_logged_as_what_it_is_not(play: Play) -> None:
    client = play.opens(1)
    client.declares(1, "q", durable=True, arguments={"x-queue-type": "quorum"})
    assert warned_of(client) == ["x-queue-type"]


def test_nothing_is_logged_of_a_queue_that_is_all_it_is_declared_as(play: Play) -> None:
    client = play.opens(1)
    client.declares(1, "plain")
    client.declares(1, "classic", arguments={"x-queue-type": "classic", "x-queue-mode": "lazy"})
    assert warned_of(client) == []


def test_a_server_named_queue_is_logged_by_the_name_it_got(play: Play) -> None:
    client = play.opens(1)
    arguments = {"x-delivery-limit": 5}
    named = client.does(1, Queue.Declare(arguments=dict(arguments)), Queue.DeclareOk).queue
    assert client.log.of(EVENT) == {"queue": named, "arguments": "x-delivery-limit"}


def test_a_refused_declaration_is_not_logged_as_made(play: Play) -> None:
    client = play.opens(1)
    client.says(1, Queue.Declare(queue="q", arguments={"x-max-length": -1, "x-delivery-limit": 5}))
    client.hears_all()
    assert warned_of(client) == []


def test_every_known_argument_is_kept(play: Play) -> None:
    client = play.opens(1)
    values = {
        "x-dead-letter-exchange": "dlx",
        "x-dead-letter-routing-key": "k",
        "x-delayed-retry-type": "all",
        "x-overflow": "reject-publish",
        "x-queue-mode": "lazy",
        "x-queue-type": "classic",
        "x-single-active-consumer": True,
    }
    arguments = {name: values.get(name, 2) for name in QUEUE_ARGUMENTS}
    client.declares(1, "q", arguments=arguments)
    assert play.queue("q").arguments == arguments

"""What is bound to a recent history exchange gets its history, wherever that leads."""

import pytest
from pamqp.commands import Basic

from leveret.engine.lifecycle.bindings import bind_exchange, bind_queue, unbind_queue
from leveret.engine.lifecycle.exchanges import declare_exchange, delete_exchange, predeclare
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.clock import Clock
from leveret.engine.values.message import Message, short_strings
from leveret.engine.vhost import VirtualHost
from leveret.limits import REPLAYED_MESSAGES_MIN
from leveret.protocol.wire.methods import encode_header

OWNER = object()


class Setting:
    """A virtual host with the history exchange `h`, through which three messages went."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.vhost = VirtualHost("/", self.clock)
        predeclare(self.vhost)
        self.exchange("h", "x-recent-history")
        for number in range(3):
            self.publish(f"k{number}")

    def exchange(self, name: str, kind: str) -> None:
        declare_exchange(
            self.vhost,
            ExchangeDeclaration(
                kind, name, durable=False, auto_delete=False, internal=False, arguments={}
            ),
        )

    def queue(self, name: str) -> Queue:
        return declare_queue(
            self.vhost,
            name,
            durable=False,
            auto_delete=False,
            owner=None,
            connection=OWNER,
            arguments=Arguments({}, {}),
        )

    def publish(self, key: str, expires_at: int = 0) -> None:
        """Publish a message with its key as the body."""
        raw = short_strings(b"h", key.encode())
        route = self.vhost.router.route(raw)
        header = encode_header(Basic.Properties(), len(key))
        message = Message(raw, header, key.encode(), False, int(self.clock.now), expires_at)
        assert route.needs_message
        for queue in self.vhost.router.sinks_for(route.exchange, [key], message):
            queue.publish(message)

    def bind(self, queue: str, key: str = "", source: str = "h") -> None:
        bind_queue(self.vhost, queue, source, key, {}, OWNER)


@pytest.fixture
def setting() -> Setting:
    return Setting()


def drained(queue: Queue) -> list[str]:
    found = []
    while (taken := queue.take()) is not None:
        found.append(taken[0].body.decode())
    return found


def test_a_queue_gets_the_history_once_for_every_new_binding(setting: Setting) -> None:
    queue = setting.queue("q")
    setting.bind("q")
    assert drained(queue) == ["k0", "k1", "k2"]
    setting.bind("q")
    assert drained(queue) == []
    setting.bind("q", "another key")
    assert drained(queue) == ["k0", "k1", "k2"]
    unbind_queue(setting.vhost, "q", "h", "", {}, OWNER)
    setting.publish("k3")
    assert drained(queue) == ["k3"]
    setting.bind("q")
    assert drained(queue) == ["k0", "k1", "k2", "k3"]


def test_an_exchange_passes_the_history_on_by_the_keys_of_the_messages(setting: Setting) -> None:
    queue, all_of_it = setting.queue("q"), setting.queue("all")
    setting.exchange("d", "direct")
    setting.exchange("later", "x-recent-history")
    setting.bind("q", "k1", "d")
    bind_exchange(setting.vhost, "d", "h", "", {})
    assert drained(queue) == ["k1"]
    bind_exchange(setting.vhost, "later", "h", "", {})
    setting.bind("all", "", "later")
    assert drained(all_of_it) == ["k0", "k1", "k2"]


def test_an_exchange_bound_to_itself_has_its_history_twice_and_ends(setting: Setting) -> None:
    queue = setting.queue("q")
    bind_exchange(setting.vhost, "h", "h", "", {})
    setting.bind("q")
    assert drained(queue) == ["k0", "k1", "k2"] * 2


def test_a_message_of_the_history_has_its_time_to_live_again(setting: Setting) -> None:
    setting.clock.now = 1000
    setting.publish("mortal", expires_at=1500)
    setting.clock.now = 5000
    queue = setting.queue("q")
    setting.bind("q")
    taken = [queue.take() for _ in range(4)]
    assert [(each[0].arrived, each[0].expires_at) for each in taken if each] == [
        (5000, 0),
        (5000, 0),
        (5000, 0),
        (5000, 5500),
    ]


def test_a_long_history_goes_to_a_new_binding_in_slices(setting: Setting) -> None:
    declare_exchange(
        setting.vhost,
        ExchangeDeclaration(
            "x-recent-history", "long", False, False, False, {"x-recent-history-length": 10_000}
        ),
    )
    queue = setting.queue("q")
    setting.bind("q", source="long")
    numbers = [str(number) for number in range(3 * REPLAYED_MESSAGES_MIN)]
    for number in numbers:
        raw = short_strings(b"long", b"")
        body = number.encode()
        message = Message(raw, encode_header(Basic.Properties(), len(body)), body, False)
        for sink in setting.vhost.router.sinks_for("long", [""], message):
            sink.publish(message)
    assert drained(queue) == numbers
    other = setting.queue("other")
    setting.bind("other", source="long")
    assert other.message_count() == REPLAYED_MESSAGES_MIN
    setting.vhost.work.run_all(setting.vhost.time_slice)
    assert drained(other) == numbers


def test_histories_take_a_share_of_the_memory_together(setting: Setting) -> None:
    """Of a history that is deleted nothing counts; one that takes most of the share gives way."""
    histories = setting.vhost.memory.histories
    assert int(histories.charged) > 0
    each = int(histories.charged) // 3
    histories.limit = 10 * each
    for number in range(30):
        setting.publish(f"l{number % 10}")
    assert int(histories.charged) <= int(histories.limit)
    queue = setting.queue("q")
    setting.bind("q")
    assert drained(queue) == [f"l{number}" for number in range(10)]
    delete_exchange(setting.vhost, "h", if_unused=False)
    assert int(histories.charged) == 0

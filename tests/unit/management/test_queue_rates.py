"""The rates by which a list of queues is sorted are those that it shows."""

import msgspec

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.queues.queue import Queue
from leveret.engine.values.arguments import Arguments
from leveret.management.nouns.queues import QUEUE, QueueRow
from leveret.management.statistics.details import Moment


def a_queue(broker: Broker) -> Queue:
    vhost = broker.vhosts["/"]
    declare_queue(
        vhost,
        "q",
        durable=False,
        auto_delete=False,
        owner=None,
        connection=None,
        arguments=Arguments({}, {}),
    )
    return vhost.queues["q"]


def test_a_shortcut_finds_what_the_column_shows() -> None:
    broker = Broker(Config())
    queue = a_queue(broker)
    row = QueueRow("n", broker.vhosts["/"], queue, Moment(1_000_000, 0))
    assert {QUEUE.value(row, path) for path in QUEUE.shortcuts} == {None}
    counters = queue.counters
    counters.publish, counters.deliver, counters.deliver_no_ack = 70, 50, 5
    counters.redeliver, counters.get, counters.get_no_ack, counters.ack = 3, 2, 1, 40
    shown = msgspec.to_builtins(QUEUE.shown(row))
    rates = {path: QUEUE.value(row, path) for path in QUEUE.shortcuts}
    assert len(set(rates.values())) > 5
    for path, rate in rates.items():
        stats, details, name = path.split(".")
        assert shown[stats][details][name] == rate

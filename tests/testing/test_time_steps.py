"""Time travel in many steps and in one: the same is done, in the same order."""

from collections.abc import Iterator
from itertools import pairwise

import pika
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leveret.testing import Broker

WAIT_S = 30
"""Seconds between what is due: longer than it takes to publish, on any machine."""

Chain = list[int]
"""How many waits a message is in each of the queues that it passes through."""


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


def is_distinct(chains: list[Chain]) -> bool:
    """Whether no two messages are due at the same time, in any queue."""
    times = [sum(chain[:end]) for chain in chains for end in range(1, len(chain) + 1)]
    return len(times) == len(set(times))


CHAINS = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=3), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    CHAINS.filter(is_distinct),
    st.lists(st.floats(0, 1, allow_nan=False), max_size=6),
)
def test_the_order_of_dead_letters_is_that_of_time(
    broker: Broker, chains: list[Chain], cuts: list[float]
) -> None:
    total_s = (max(sum(chain) for chain in chains) + 1) * WAIT_S
    times = [0.0, *sorted(cut * total_s for cut in cuts), total_s]
    steps = [after - before for before, after in pairwise(times)]
    expected = sorted(range(len(chains)), key=lambda number: sum(chains[number]))
    assert passed(broker, chains, [total_s]) == expected
    assert passed(broker, chains, steps) == expected


def passed(broker: Broker, chains: list[Chain], steps: list[float]) -> list[int]:
    """The messages in the order in which they have passed through their queues."""
    broker.reset()
    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        channel = connection.channel()
        channel.queue_declare("out")
        for number, chain in enumerate(chains):
            names = [f"{number}.{position}" for position in range(len(chain))]
            for name, following, waits in zip(names, [*names[1:], "out"], chain, strict=True):
                arguments = {
                    "x-message-ttl": waits * WAIT_S * 1000,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": following,
                }
                channel.queue_declare(name, arguments=arguments)
        for number in range(len(chains)):
            channel.basic_publish("", f"{number}.0", str(number).encode())
        channel.queue_declare("out", passive=True)
        for step in steps:
            broker.advance(step)
    return [int(message.body) for message in broker.queue("out").messages()]

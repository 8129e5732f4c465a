"""What consumers have to do with messages that do not move."""

from collections.abc import Callable, Iterator
from typing import Final

from leveret.management.diagnosis.facts import ConsumerFacts, Finding, Link, QueueFacts, Severity
from leveret.management.diagnosis.wording import a_second, at, counted, duration

HELD_MS_MIN: Final = 5_000
"""Milliseconds from which on a consumer that has all it may have is worth a sentence."""

HELD_MS_ERROR: Final = 60_000
"""Milliseconds from which on it counts as one that hangs."""

WAITS_MS_MIN: Final = 60_000
"""Milliseconds from which on it is said how long the next message has waited."""

CONSUMERS_NAMED_MAX: Final = 5
"""Consumers that have a finding of their own, those that hold messages for longest."""

CIRCLE_RATE_MIN: Final = 0.5
"""Redeliveries a second from which on messages go in circles, if none is acknowledged."""


def no_consumers(facts: QueueFacts) -> Iterator[Finding]:
    """Messages wait, and nobody consumes."""
    if facts.consumer_count or not facts.ready:
        return
    messages = _wait(facts)
    since = facts.consumer_left_at
    if since is not None:
        text = f"No consumer since {at(since, facts.now)}, for {duration(facts.now - since)}."
    else:
        since = facts.watched_since
        text = (
            f"No consumer yet, since {at(since, facts.now)}, when it was declared or the broker"
            " was started."
        )
    yield Finding(
        Severity.ERROR,
        "no_consumers",
        f"{text} {messages}.",
        since,
        {"ready": facts.ready},
        weight=facts.ready,
    )


def consumers_at_limit(facts: QueueFacts) -> Iterator[Finding]:
    """Consumers have had all they may have for a while, and acknowledge nothing."""
    held = [
        (facts.now - each.held_since, each)
        for each in facts.consumers
        if each.held_since is not None and each.is_at_limit()
    ]
    stuck = sorted((each for each in held if each[0] >= HELD_MS_MIN), key=_longest_first)
    for held_ms, consumer in stuck[:CONSUMERS_NAMED_MAX]:
        limit = "the prefetch limit of its channel" if consumer.shared_prefetch else "its prefetch"
        text = (
            f"Consumer {consumer.who()} has held {counted(consumer.held, 'message')} for"
            f" {duration(held_ms)} without acknowledging one. That is all that {limit} allows"
            f" ({consumer.prefetch}), so it gets no other."
        )
        if facts.ready:
            text += f" {_wait(facts)}."
        severe = facts.ready and held_ms >= HELD_MS_ERROR and _all_at_limit(facts)
        yield Finding(
            Severity.ERROR if severe else Severity.WARNING,
            "consumer_at_prefetch",
            text,
            consumer.held_since,
            {
                "consumer_tag": consumer.tag,
                "held": consumer.held,
                "prefetch": consumer.prefetch,
                "held_ms": held_ms,
            },
            (consumer.link(), _channel(consumer)),
            weight=facts.ready + consumer.held,
        )
    if len(stuck) > CONSUMERS_NAMED_MAX:
        others = counted(len(stuck) - CONSUMERS_NAMED_MAX, "other consumer")
        text = f"The same holds for {others}."
        yield Finding(Severity.WARNING, "more_consumers_at_prefetch", text)


def sockets_full(facts: QueueFacts) -> Iterator[Finding]:
    """Consumers do not read what was sent to them."""
    for consumer in [each for each in facts.consumers if each.socket_full][:CONSUMERS_NAMED_MAX]:
        text = (
            f"Consumer {consumer.who()} does not read from its socket: what the broker has sent is"
            " still on its way. The client hangs, or the network is too slow."
        )
        if facts.ready:
            text += f" {_wait(facts)}."
        yield Finding(
            Severity.ERROR if facts.ready and facts.consumer_count == 1 else Severity.WARNING,
            "consumer_does_not_read",
            text,
            consumer.held_since,
            {"consumer_tag": consumer.tag, "held": consumer.held},
            (consumer.link(),),
            weight=facts.ready,
        )


def timed_out(facts: QueueFacts) -> Iterator[Finding]:
    """Consumers have exceeded the consumer timeout."""
    for consumer in [each for each in facts.consumers if each.timed_out][:CONSUMERS_NAMED_MAX]:
        text = (
            f"Consumer {consumer.who()} has not acknowledged deliveries within the consumer"
            " timeout. Their messages have returned to the queue, and their places in its prefetch"
            " stay taken."
        )
        yield Finding(
            Severity.WARNING,
            "consumer_timeout",
            text,
            consumer.held_since,
            {"consumer_tag": consumer.tag},
            (consumer.link(), _channel(consumer)),
            weight=facts.ready,
        )


def memory_short(facts: QueueFacts) -> Iterator[Finding]:
    """Consumers without a prefetch get little while memory is short."""
    unlimited = [each for each in facts.consumers if not each.prefetch and not each.no_ack]
    if facts.memory_short and facts.ready and unlimited:
        text = (
            f"Memory is above its limit, so that {counted(len(unlimited), 'consumer')} without a"
            " prefetch limit get only a few messages at a time."
        )
        yield Finding(Severity.WARNING, "memory_short", text, weight=facts.ready)


def single_active(facts: QueueFacts) -> Iterator[Finding]:
    """Only one consumer gets messages."""
    waiting = facts.consumer_count - 1
    if not facts.single_active or not facts.ready or waiting <= 0:
        return
    for consumer in facts.consumers:
        if consumer.active:
            others = "another one waits" if waiting == 1 else f"{waiting:,} others wait"
            text = (
                f"The single active consumer is {consumer.who()}; {others} for it to leave and get"
                " nothing."
            )
            yield Finding(
                Severity.INFO,
                "single_active_consumer",
                text,
                None,
                {"consumer_tag": consumer.tag, "waiting": waiting},
                (consumer.link(),),
                weight=facts.ready,
            )


def exclusive_consumer(facts: QueueFacts) -> Iterator[Finding]:
    """One consumer keeps all others out."""
    for consumer in facts.consumers:
        if consumer.exclusive and facts.ready:
            text = f"Consumer {consumer.who()} consumes exclusively: no other one can help it."
            yield Finding(
                Severity.INFO,
                "exclusive_consumer",
                text,
                None,
                {"consumer_tag": consumer.tag},
                (consumer.link(),),
                weight=facts.ready,
            )


def circles(facts: QueueFacts) -> Iterator[Finding]:
    """Messages are returned and delivered again and again."""
    rates = facts.rates
    if rates is None or rates.redeliver < CIRCLE_RATE_MIN or rates.settled:
        return
    text = (
        f"Messages go in circles: {a_second(rates.redeliver)} were delivered again, and none was"
        f" acknowledged in the last {duration(int(rates.seconds * 1000))}. A consumer rejects or"
        " returns them, or ends while it works on them."
    )
    if facts.delivery_limit is None:
        text += " The queue has no delivery limit that would end it."
    yield Finding(
        Severity.ERROR,
        "redelivered_in_circles",
        text,
        None,
        {"redeliver_rate": rates.redeliver, "seconds": rates.seconds},
        tuple(each.link() for each in facts.consumers[:CONSUMERS_NAMED_MAX]),
        weight=facts.ready + facts.unacknowledged,
    )


def growing(facts: QueueFacts) -> Iterator[Finding]:
    """More comes in than goes out."""
    rates = facts.rates
    if rates is None or not facts.ready or not facts.consumer_count:
        return
    left = rates.settled + rates.dropped
    if rates.publish <= left or rates.publish - left < 1:
        return
    consumers = counted(facts.consumer_count, "consumer")
    text = (
        f"The queue grows: {a_second(rates.publish)} were published, and"
        f" {a_second(rates.settled)} acknowledged by {consumers} in the last"
        f" {duration(int(rates.seconds * 1000))}. {_wait(facts)}."
    )
    yield Finding(
        Severity.WARNING,
        "growing",
        text,
        None,
        {
            "publish_rate": rates.publish,
            "ack_rate": rates.settled,
            "consumers": facts.consumer_count,
            "seconds": rates.seconds,
        },
        weight=facts.ready,
    )


FINDINGS: Final[tuple[Callable[[QueueFacts], Iterator[Finding]], ...]] = (
    no_consumers,
    consumers_at_limit,
    sockets_full,
    timed_out,
    memory_short,
    single_active,
    exclusive_consumer,
    circles,
    growing,
)


def _longest_first(held: tuple[int, ConsumerFacts]) -> int:
    return -held[0]


def _all_at_limit(facts: QueueFacts) -> bool:
    return all(each.is_at_limit() for each in facts.consumers if each.active)


def _channel(consumer: ConsumerFacts) -> Link:
    return Link("channel", f"{consumer.connection} ({consumer.channel})")


def _wait(facts: QueueFacts) -> str:
    """How many messages wait, and for how long the next one does if that is long."""
    ready = facts.ready
    text = "1 message waits" if ready == 1 else f"{ready:,} messages wait"
    waits_ms = 0 if facts.head is None else facts.now - facts.head.arrived
    if waits_ms < WAITS_MS_MIN:
        return text
    return f"{text}{'' if ready == 1 else ', the next one'} for {duration(waits_ms)}"

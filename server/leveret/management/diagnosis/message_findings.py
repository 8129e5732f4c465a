"""What limits, dead letters, pauses and publishers have to do with messages that do not move."""

from collections.abc import Callable, Iterator
from typing import Final

from leveret.management.diagnosis.facts import Finding, Link, QueueFacts, Severity
from leveret.management.diagnosis.wording import at, counted, duration

PUBLISHERS_NAMED_MAX: Final = 5

DEATHS_MIN: Final = 10
"""Deaths of one message from which on it goes in circles, rather than through a retry or two."""


def paused(facts: QueueFacts) -> Iterator[Finding]:
    """An operator has paused the queue."""
    since = facts.paused_at
    if since is None:
        return
    text = (
        f"The queue has been paused since {at(since, facts.now)}, for"
        f" {duration(facts.now - since)}: consumers get nothing until it is resumed."
    )
    if facts.ready:
        text += f" {counted(facts.ready, 'message')} wait."
    yield Finding(Severity.WARNING, "paused", text, since, {}, weight=facts.ready)


def alarm(facts: QueueFacts) -> Iterator[Finding]:
    """Publishers are blocked."""
    if facts.alarm:
        yield alarm_of(facts.alarm, facts.alarm_since, facts.blocked_publishers, facts.now)


def alarm_of(reason: str, since: int | None, blocked: int, now: int) -> Finding:
    """What a resource alarm means for publishers."""
    began = "" if since is None else f" since {at(since, now)}, for {duration(now - since)}"
    connections = counted(blocked, "connection")
    text = (
        f"Publishers are blocked{began}, because the broker is {reason}. {connections} that"
        " published cannot go on; consumers can."
    )
    return Finding(
        Severity.ERROR, "publishers_blocked", text, since, {"reason": reason, "blocked": blocked}
    )


def slowed(facts: QueueFacts) -> Iterator[Finding]:
    """Publishers are slowed down, because of this queue."""
    names = facts.slowed_publishers
    if not names:
        return
    shown = ", ".join(f"{each.client} (user {each.user})" for each in names[:PUBLISHERS_NAMED_MAX])
    more = len(names) - PUBLISHERS_NAMED_MAX
    if more > 0:
        shown += f" and {more} more"
    yield Finding(
        Severity.INFO,
        "publishers_slowed",
        f"Faster than consumers or the disk take it, and slowed down for that: {shown}.",
        None,
        {"connections": len(names)},
        tuple(Link("connection", each.connection) for each in names[:PUBLISHERS_NAMED_MAX]),
        weight=facts.ready,
    )


def dead_letters_lost(facts: QueueFacts) -> Iterator[Finding]:
    """Dead letters go to nowhere."""
    target = facts.dead_letters
    if target is None or (target.exists and not target.leads_nowhere):
        return
    name = _shown(target.exchange)
    if not target.exists:
        what = f"The dead-letter exchange {name} does not exist"
    elif target.routing_key is None:
        what = f"The dead-letter exchange {name} has no binding"
    else:
        what = (
            f"The dead-letter exchange {name} leads to no queue with the routing key"
            f" '{target.routing_key}'"
        )
    lost = facts.drops.total()
    if lost:
        drops = facts.drops
        reasons = {
            "expired": drops.expired,
            "rejected": drops.rejected,
            "too many for its length": drops.maxlen,
            "delivered too often": drops.delivery_limit,
        }
        listed = ", ".join(f"{count:,} {why}" for why, count in reasons.items() if count)
        text = f"{what}: {counted(lost, 'dead letter')} went there and may be lost ({listed})."
    else:
        text = f"{what}: messages that expire, are rejected or exceed a limit will be lost."
    yield Finding(
        Severity.ERROR if lost else Severity.WARNING,
        "dead_letters_lost",
        text,
        None,
        {"exchange": target.exchange, "dead_letters": lost},
        (Link("exchange", target.exchange, facts.vhost), *facts.links_to_policies()),
        weight=lost,
    )


def dead_lettered_in_circles(facts: QueueFacts) -> Iterator[Finding]:
    """The next message has died very often."""
    head = facts.head
    if head is None or head.deaths < DEATHS_MIN:
        return
    names = ", ".join(f"'{name}'" for name in head.died_in)
    text = (
        f"Messages are dead-lettered in circles: the next one has died {head.deaths:,} times, in"
        f" {names}."
    )
    yield Finding(
        Severity.WARNING,
        "dead_lettered_in_circles",
        text,
        None,
        {"deaths": head.deaths, "queues": list(head.died_in)},
        tuple(Link("queue", name, facts.vhost) for name in head.died_in),
        weight=facts.ready,
    )


def full(facts: QueueFacts) -> Iterator[Finding]:
    """The queue is full and refuses messages."""
    limit = _limit(facts)
    if not facts.rejects or limit is None or not _is_full(facts):
        return
    text = f"The queue is full ({limit}) and refuses what is published to it."
    yield Finding(
        Severity.ERROR,
        "full",
        text,
        None,
        {"ready": facts.ready, "bytes": facts.bytes},
        facts.links_to_policies(),
        weight=facts.ready,
    )


def overflow(facts: QueueFacts) -> Iterator[Finding]:
    """Messages were dropped because the queue was full."""
    dropped, limit = facts.drops.maxlen, _limit(facts)
    if not dropped or limit is None:
        return
    text = (
        f"{counted(dropped, 'message')} left the queue since it was declared or the broker was"
        f" started, because it was full ({limit}){_whereto(facts)}."
    )
    yield Finding(
        Severity.WARNING,
        "overflow",
        text,
        None,
        {"messages": dropped},
        facts.links_to_policies(),
        weight=dropped,
    )


def delivery_limit(facts: QueueFacts) -> Iterator[Finding]:
    """Messages were delivered too often."""
    dropped = facts.drops.delivery_limit
    if not dropped:
        return
    limit = "" if facts.delivery_limit is None else f", which is {facts.delivery_limit}"
    text = (
        f"{counted(dropped, 'message')} left the queue for having been delivered more often than"
        f" its delivery limit allows{limit}{_whereto(facts)}: a consumer fails on them."
    )
    yield Finding(
        Severity.WARNING,
        "delivery_limit",
        text,
        None,
        {"messages": dropped, "limit": facts.delivery_limit},
        facts.links_to_policies(),
        weight=dropped,
    )


def retry_delayed(facts: QueueFacts) -> Iterator[Finding]:
    """Messages wait for their next attempt."""
    if not facts.retry_delayed:
        return
    text = f"{counted(facts.retry_delayed, 'message')} failed and wait for the next attempt"
    if facts.retry_at is not None:
        text += f", the next one until {at(facts.retry_at, facts.now)}"
    yield Finding(
        Severity.INFO,
        "retry_delayed",
        f"{text}.",
        None,
        {"messages": facts.retry_delayed, "next": facts.retry_at},
        facts.links_to_policies(),
        weight=facts.retry_delayed,
    )


def delayed(facts: QueueFacts) -> Iterator[Finding]:
    """Messages wait in a delayed exchange."""
    for each in facts.delayed:
        text = (
            f"{counted(each.messages, 'message')} of the delayed exchange '{each.exchange}', which"
            " leads here, are not due yet"
        )
        yield Finding(
            Severity.INFO,
            "delayed",
            f"{text}.",
            None,
            {"messages": each.messages},
            (Link("exchange", each.exchange, facts.vhost),),
            weight=each.messages,
        )


FINDINGS: Final[tuple[Callable[[QueueFacts], Iterator[Finding]], ...]] = (
    paused,
    alarm,
    slowed,
    dead_letters_lost,
    dead_lettered_in_circles,
    full,
    overflow,
    delivery_limit,
    retry_delayed,
    delayed,
)


def _is_full(facts: QueueFacts) -> bool:
    waiting = facts.ready + facts.retry_delayed
    return (facts.max_length is not None and waiting >= facts.max_length) or (
        facts.max_length_bytes is not None and facts.bytes >= facts.max_length_bytes
    )


def _limit(facts: QueueFacts) -> str | None:
    """Its limits of length and where they come from; None if it has none."""
    found = [
        f"{name} {limit:,} from {_origin(facts, name)}"
        for name, limit in (
            ("max-length", facts.max_length),
            ("max-length-bytes", facts.max_length_bytes),
        )
        if limit is not None
    ]
    return ", ".join(found) or None


def _origin(facts: QueueFacts, name: str) -> str:
    origin = facts.origins.get(name, "")
    return "its arguments" if origin in ("", "arguments") else origin


def _whereto(facts: QueueFacts) -> str:
    """Where messages go that leave the queue, for the end of a sentence."""
    target = facts.dead_letters
    if target is None:
        return ", and are lost"
    return f", to the dead-letter exchange {_shown(target.exchange)}"


def _shown(exchange: str) -> str:
    return f"'{exchange}'" if exchange else "'' (the default exchange)"

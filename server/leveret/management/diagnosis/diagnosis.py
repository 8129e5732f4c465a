"""The findings about a queue, and the worst ones of all queues."""

from collections.abc import Iterator
from heapq import heappush, heapreplace
from itertools import count
from typing import Final

from leveret.engine.broker import Broker
from leveret.engine.queues.queue import Queue
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps
from leveret.engine.vhost import VirtualHost
from leveret.management.diagnosis import consumer_findings, message_findings
from leveret.management.diagnosis.collector import Surroundings, collect
from leveret.management.diagnosis.facts import Finding, QueueFacts, Severity

FINDINGS_MAX: Final = 100
"""Findings of a whole broker that are listed, the worst ones."""

NO_ALARM: Final = ("", 0)


def findings_of(facts: QueueFacts) -> list[Finding]:
    """What keeps the messages of a queue from moving, the worst first."""
    functions = (*consumer_findings.FINDINGS, *message_findings.FINDINGS)
    found = [finding for function in functions for finding in function(facts)]
    found.sort(key=rank, reverse=True)
    return found


def rank(finding: Finding) -> tuple[int, float]:
    """How bad it is, for comparison."""
    return finding.severity, finding.weight


def alarm_of(broker: Broker) -> tuple[str, int]:
    """Why publishers are blocked, and since when, in milliseconds since the epoch."""
    return (broker.alarm, broker.alarm_since) if broker.alarm else NO_ALARM


class BrokerDiagnosis(Work):
    """Searches the worst findings of all queues of some virtual hosts.

    What is said of the broker as a whole, an alarm, is not repeated for each queue.
    """

    def __init__(self, vhosts: list[VirtualHost], surroundings: Surroundings) -> None:
        self._worst: list[tuple[tuple[int, float], int, VirtualHost, Queue, Finding]] = []
        """A heap, the least of them first; a number decides between equals."""
        self._numbers = count()
        self._steps = self._all(vhosts, surroundings)

    def run(self, time_slice: TimeSlice) -> bool:
        return run_steps(self._steps, time_slice)

    def worst(self) -> list[tuple[VirtualHost, Queue, Finding]]:
        """The findings with their queues, the worst first."""
        ranked = sorted(self._worst, key=lambda each: (each[0], -each[1]), reverse=True)
        return [(vhost, queue, finding) for _, _, vhost, queue, finding in ranked]

    def _all(self, vhosts: list[VirtualHost], surroundings: Surroundings) -> Iterator[None]:
        for vhost in vhosts:
            for queue in list(vhost.queues.values()):
                if not queue.deleted and _may_be_stuck(vhost, queue):
                    for finding in findings_of(collect(vhost, queue, surroundings, NO_ALARM)):
                        self._add(vhost, queue, finding)
                yield

    def _add(self, vhost: VirtualHost, queue: Queue, finding: Finding) -> None:
        if finding.severity is Severity.INFO:
            return
        entry = (rank(finding), -next(self._numbers), vhost, queue, finding)
        if len(self._worst) < FINDINGS_MAX:
            heappush(self._worst, entry)
        elif entry[:2] > self._worst[0][:2]:
            heapreplace(self._worst, entry)


def _may_be_stuck(vhost: VirtualHost, queue: Queue) -> bool:
    """Whether there can be any finding about a queue that is worth a place in the list."""
    dead_letter_exchange = queue.settings.dead_letter_exchange
    return bool(
        queue.message_count()
        or queue.unacknowledged
        or queue.paused
        or queue.contents.drops is not None
        or (dead_letter_exchange and dead_letter_exchange not in vhost.exchanges)
    )

"""Monitoring: what the page and the scrapes of Prometheus cost messages, and how long a scrape of
many queues takes.

Beside the load the live stream of the page is open, with its overview and a page of its queues, and
every object is scraped every `SCRAPE_EVERY_S`, which is often.
"""

import base64
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from urllib.parse import quote

from bench.contestants import LEVERET, Contestant, Running
from bench.fairness.probe import probing
from bench.load import LoadResult, run_load
from bench.row import Row, Sample, Tool
from leveret.commands.client import Client
from tests.support.brokers import HOST, Leveret

TURNS = 3
QUEUES = 1_000
MANY_QUEUES = 10_000
SCRAPES = 5
SCRAPE_EVERY_S = 5.0
SHARE_MIN = 0.97
"""Of the rate while nobody looks."""
TIMEOUT_S = 60.0
LIVE_PATHS = ("/api/overview", "/api/queues?page=1&page_size=100&sort=messages")
LOGIN = base64.b64encode(b"guest:guest").decode()


class _Watched:
    """A broker that serves the page and metrics."""

    def __init__(self, broker: Leveret, queues: int) -> None:
        self.running = Running(LEVERET.kind, broker.host, broker.port, broker.pid)
        self._live = broker.management_url
        found = re.search(r"\bmetrics=(\S+)", broker.log_text())
        assert found
        self._metrics = f"http://{found[1]}/metrics/per-object"
        names = [f"queue-{number:06}" for number in range(queues)]
        declared = [{"vhost": "/", "name": name, "durable": True} for name in names]
        Client(broker.data_dir).post("definitions", body={"queues": declared})

    def scrape(self) -> int:
        """Scrape every object, as Prometheus does; the bytes of the text."""
        asked = urllib.request.Request(self._metrics, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            return len(answer.read())

    def scrape_until(self, stopped: threading.Event) -> None:
        """Scrape now and then."""
        while not stopped.wait(SCRAPE_EVERY_S):
            self.scrape()

    def watch_until(self, stopped: threading.Event) -> None:
        """Read the live stream of the page."""
        watched = "&".join(f"watch={quote(path, safe='')}" for path in LIVE_PATHS)
        asked = urllib.request.Request(
            f"{self._live}/api/live?{watched}&every=2", headers={"Authorization": f"Basic {LOGIN}"}
        )
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as events:
            while not stopped.is_set():
                events.readline()

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Have the page open, and scrapes under way."""
        stopped = threading.Event()
        threads = [
            threading.Thread(target=each, args=(stopped,))
            for each in (self.scrape_until, self.watch_until)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
                thread.join()


@contextmanager
def _watched(contestant: Contestant, queues: int) -> Iterator[_Watched]:
    variables = {"LEVERET_METRICS_LISTEN": f"{HOST}:0"}
    with Leveret(executable=contestant.executable, env=variables, management=True) as broker:
        yield _Watched(broker, queues)


def _share_beside(tool: Tool, contestant: Contestant) -> Sample:
    """The rate while somebody looks, as a share of that while nobody does."""
    before, beside = [], []
    with _watched(contestant, QUEUES) as broker:
        for _ in range(TURNS):
            run = partial(run_load, tool.load_program, [], tool.timing, broker.running)
            before.append(run())
            with broker.looked_at():
                beside.append(run())
    rates = [median(each.received_per_s for each in loads) for loads in (before, beside)]
    busy = [median(map(_per_processor_second, loads)) for loads in (before, beside)]
    remarks = (
        f"{rates[1]:,.0f} of {rates[0]:,.0f} messages a second",
        f"{busy[1]:,.0f} of {busy[0]:,.0f} in a second of the broker's processor time",
    )
    return Sample(rates[1] / rates[0], remarks=remarks)


def _per_processor_second(load: LoadResult) -> float:
    return load.received_per_s / load.broker_cpu


def _scrape_ms(_tool: Tool, contestant: Contestant) -> Sample:
    """The time of a scrape, and the confirms of another client meanwhile."""
    with _watched(contestant, MANY_QUEUES) as broker, probing(broker.running) as probe:
        broker.scrape()
        probe.begin()
        took, size = [], 0
        for _ in range(SCRAPES):
            began = time.perf_counter()
            size = broker.scrape()
            took.append(1000 * (time.perf_counter() - began))
        seen = probe.end()
    remark = (
        f"{size:,} bytes; confirms meanwhile: p50 {seen.percentile(0.5):.1f},"
        f" p99 {seen.percentile(0.99):.1f}, max {seen.values[-1]:.1f} ms"
    )
    return Sample(median(took), remarks=(remark,))


MONITORING_ROWS = (
    Row(
        "beside-monitoring",
        f"share of the rate with the page open and scrapes of {QUEUES:,} queues",
        "",
        _share_beside,
        None,
        SHARE_MIN,
        SHARE_MIN,
        contestants=(LEVERET,),
    ),
    Row(
        "scrape",
        f"scrape of {MANY_QUEUES:,} queues, each of them shown",
        "ms",
        _scrape_ms,
        None,
        None,
        None,
        lower_is_better=True,
        contestants=(LEVERET,),
    ),
)

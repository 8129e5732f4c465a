"""Definitions: the time an import takes, and what other clients wait meanwhile.

The import is that of `leveret definitions import`, over the control socket. The file has 10,000
durable queues, a binding for each, and policies. The change of a policy is measured on 50,000
queues, from the change until the last queue has it.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.contestants import LEVERET, Contestant, Running, start_leveret
from bench.fairness.probe import Latencies, probing
from bench.fairness.rows import P99_MS_MAX
from bench.row import Row, Sample, Tool
from leveret.commands.client import Client
from tests.support.brokers import wait_until

QUEUES = 10_000
POLICIES = 10
POLICY_QUEUES = 50_000
VHOST = "bench"
IMPORT_S_MAX = 5.0
TIMEOUT_S = 300.0


@contextmanager
def _started(contestant: Contestant) -> Iterator[tuple[Running, Client]]:
    """A broker, and the control socket of its data directory."""
    with tempfile.TemporaryDirectory(prefix="bench-definitions-") as directory:
        data = Path(directory)
        with start_leveret(contestant, data) as broker:
            running = Running(contestant.kind, broker.host, broker.port, broker.pid)
            yield running, Client(data)


def _file(queues: int, policies: int) -> dict[str, Any]:
    names = [f"queue-{number:06}" for number in range(queues)]
    return {
        "vhosts": [{"name": VHOST}],
        "policies": [
            {"vhost": VHOST, "name": f"p{n}", "pattern": f"{n}$", "definition": {"max-length": n}}
            for n in range(policies)
        ],
        "queues": [{"vhost": VHOST, "name": name, "durable": True} for name in names],
        "bindings": [
            {"vhost": VHOST, "source": "amq.direct", "destination": name, "routing_key": name}
            for name in names
        ],
    }


def _probed(
    contestant: Contestant,
    prepare: Callable[[Client], None],
    act: Callable[[Client], None],
) -> tuple[float, Latencies]:
    """Seconds that `act` takes, and the confirms of another client meanwhile."""
    with _started(contestant) as (broker, client):
        prepare(client)
        with probing(broker) as probe:
            probe.begin()
            began = time.perf_counter()
            act(client)
            took = time.perf_counter() - began
            return took, probe.end()


def _import(client: Client) -> None:
    client.post("definitions", body=_file(QUEUES, POLICIES))


def _prepare_nothing(_client: Client) -> None:
    """An import needs no preparation."""


def _prepare_queues(client: Client) -> None:
    client.post("definitions", body=_file(POLICY_QUEUES, 0))


def _change_policy(client: Client) -> None:
    policy = {"pattern": "^queue", "definition": {"max-length": 5}, "apply-to": "queues"}
    client.put("policies", VHOST, "p", body=policy)

    def is_applied() -> bool:
        # The first queue is the last one that the work comes to.
        return bool(client.get("queues", VHOST, "queue-000000")["policy"] == "p")

    wait_until(is_applied, TIMEOUT_S, "the policy on the last queue")


def _measured(latencies: Latencies, seconds: float) -> str:
    p50, p99 = latencies.percentile(0.5), latencies.percentile(0.99)
    most = latencies.values[-1]
    return f"{seconds:.2f} s; confirms p50 {p50:.1f}, p99 {p99:.1f}, max {most:.0f} ms"


def _import_seconds(_tool: Tool, contestant: Contestant) -> Sample:
    took, seen = _probed(contestant, _prepare_nothing, _import)
    return Sample(took, remarks=(_measured(seen, took),))


def _policy_p99(_tool: Tool, contestant: Contestant) -> Sample:
    took, seen = _probed(contestant, _prepare_queues, _change_policy)
    return Sample(seen.percentile(0.99), remarks=(_measured(seen, took),))


DEFINITION_ROWS = (
    Row(
        "definitions-import",
        f"import of {QUEUES:,} queues with bindings, beside a client that publishes",
        "s",
        _import_seconds,
        None,
        IMPORT_S_MAX,
        IMPORT_S_MAX,
        lower_is_better=True,
        contestants=(LEVERET,),
    ),
    Row(
        "policy-change",
        f"p99 of others' confirms: a policy changes {POLICY_QUEUES:,} queues",
        "ms",
        _policy_p99,
        None,
        P99_MS_MAX,
        P99_MS_MAX,
        lower_is_better=True,
        contestants=(LEVERET,),
    ),
)

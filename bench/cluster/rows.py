"""The rows of three nodes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from bench.cluster.failover import seconds_not_served
from bench.cluster.nodes import SECOND_VHOST, Cores, Nodes, three_nodes
from bench.cluster.taking import QUEUES, longest_wait_s
from bench.contestants import LEVERET, RABBITMQ, Contestant
from bench.load import LoadResult, run_load
from bench.row import Measure, Row, Sample, Tool

QUORUM = ("--durable", "1", "--quorum", "1", "--prefetch", "1000")
WINDOW = (*QUORUM, "--confirm", "1000", "--ack", "100")
ONE = (*QUORUM, "--confirm", "1", "--ack", "1")
WINDOW_MAX = 1000
WINDOW_BYTES_MAX = 16 * 1024**2
"""Bytes of bodies that are not confirmed: a thousand of a megabyte are more than three nodes on one
machine have room for."""
LARGE_SIZES = {"16k": 16_384, "64k": 65_536, "256k": 262_144, "1m": 1_048_576}
"""Bytes of a body by the name of its row."""
MEGABYTE = 1_000_000
FAILOVER_S_MAX = 5.0


def _remarks(result: LoadResult, cores: float) -> tuple[str, ...]:
    """The nodes have several processes, so the others are those that are not theirs."""
    others = max(0.0, result.other_cpu - max(0.0, cores - result.broker_cpu))
    return (
        *replace(result, other_cpu=others).remarks(),
        f"{cores:.2f} cores for all nodes and their database",
    )


def _rate(*arguments: str, at: int = 0) -> Measure:
    """Messages a second through the node with this index; the first serves the queue."""

    def measure(tool: Tool, contestant: Contestant) -> Sample:
        with three_nodes(contestant) as nodes:
            cores = Cores(nodes.processes())
            result = run_load(tool.load_program, arguments, tool.timing, nodes.running[at])
            used = cores.end()
        return Sample(result.received_per_s, vars(result), _remarks(result, used))

    return measure


def _bodies(size: int, at: int = 0) -> Measure:
    """Megabytes of bodies a second, as `_rate`."""
    window = min(WINDOW_MAX, WINDOW_BYTES_MAX // size)
    load = ("--size", str(size), "--confirm", str(window), "--ack", str(min(100, window // 4)))
    rate = _rate(*QUORUM, *load, at=at)

    def measure(tool: Tool, contestant: Contestant) -> Sample:
        sample = rate(tool, contestant)
        return replace(sample, value=sample.value * size / MEGABYTE)

    return measure


def _two_vhosts(tool: Tool, contestant: Contestant) -> Sample:
    """The sum of two loads, each at the node that serves its virtual host."""
    with three_nodes(contestant, two_vhosts=True) as nodes:
        cores = Cores(nodes.processes())
        results = _together(tool, nodes)
        used = cores.end()
    remarks = [
        "each " + " and ".join(f"{result.received_per_s:,.0f}" for result in results) + " msg/s",
        f"{used:.2f} cores for all nodes and their database",
    ]
    for result in results:
        remarks += replace(result, other_cpu=0.0).remarks()
    return Sample(sum(result.received_per_s for result in results), remarks=tuple(remarks))


def _together(tool: Tool, nodes: Nodes) -> list[LoadResult]:
    places = [("/", nodes.running[0]), (SECOND_VHOST, nodes.running[nodes.second])]
    with ThreadPoolExecutor(len(places)) as pool:
        pending = [
            pool.submit(run_load, tool.load_program, (*WINDOW, "--vhost", vhost), tool.timing, node)
            for vhost, node in places
        ]
        return [each.result() for each in pending]


def _failover(_tool: Tool, contestant: Contestant) -> Sample:
    with three_nodes(contestant) as nodes:
        at_killed, at_other = seconds_not_served(nodes)
    remark = f"the client of the killed node {at_killed:.2f} s, of another one {at_other:.2f} s"
    return Sample(max(at_killed, at_other), remarks=(remark,))


def _taking(_tool: Tool, contestant: Contestant) -> Sample:
    longest_s, not_served_s = longest_wait_s(contestant)
    remark = f"the {QUEUES:,} queues were not served for {not_served_s:.2f} s"
    return Sample(longest_s * 1000, remarks=(remark,))


CLUSTER_ROWS = (
    Row(
        "cluster-16",
        "three nodes: persistent, confirms, window 1,000",
        "msg/s",
        _rate(*WINDOW),
        RABBITMQ,
        10,
        10,
    ),
    Row(
        "cluster-1k",
        "the same with 1 KiB bodies",
        "msg/s",
        _rate(*WINDOW, "--size", "1024"),
        RABBITMQ,
        5,
        5,
    ),
    *(
        Row(
            f"cluster-{name}",
            f"three nodes, {name} bodies, 16 MiB unconfirmed at most",
            "MB/s",
            _bodies(size),
            RABBITMQ,
            1,
            1,
        )
        for name, size in LARGE_SIZES.items()
    ),
    Row("cluster-one", "three nodes, one message at a time", "msg/s", _rate(*ONE), RABBITMQ, 1, 1),
    Row(
        "cluster-passed-on",
        "window 1,000 through a node that does not have the queue",
        "msg/s",
        _rate(*WINDOW, at=1),
        RABBITMQ,
        None,
        None,
    ),
    Row(
        "cluster-passed-on-64k",
        "64k bodies through a node that does not have the queue",
        "MB/s",
        _bodies(LARGE_SIZES["64k"], at=1),
        RABBITMQ,
        None,
        None,
    ),
    Row(
        "cluster-two",
        "two virtual hosts at two nodes, window 1,000 each: the sum",
        "msg/s",
        _two_vhosts,
        RABBITMQ,
        None,
        None,
    ),
    Row(
        "cluster-failover",
        "kill -9 of the node that has the queue, until all clients are served",
        "s",
        _failover,
        RABBITMQ,
        1.0,
        1.0,
        lower_is_better=True,
    ),
    Row(
        "cluster-taking",
        "a node takes 20,000 queues: the longest wait of a client of its other virtual host",
        "ms",
        _taking,
        None,
        None,
        None,
        lower_is_better=True,
        contestants=(LEVERET,),
    ),
)

"""The stop of a broker that has to hand over what it owns."""

import os
import signal

from tests.cluster.world import World
from tests.parity.http.client import Api
from tests.support.brokers import HOST, wait_until
from tests.support.cluster import BrokerCluster
from tests.support.tcp_proxy import TcpProxy

READY = "/api/health/checks/ready-to-serve-clients"
LEASE_MS = 60_000
"""So long that a broker does not give up meanwhile what it cannot hand over."""


def test_it_answers_by_http_until_all_is_handed_over_and_is_not_ready(world: World) -> None:
    with TcpProxy(world.database.primary.port) as proxy:
        variables = {"LEVERET_CLUSTER_STORES": "1", "LEVERET_CLUSTER_LEASE": str(LEASE_MS)}
        location = world.database.url_of([proxy.port], schema="stopping")
        with BrokerCluster(location, ["one"], variables, management=True) as cluster:
            cluster.start()
            cluster.await_served()
            broker = cluster["one"].running
            api = Api(HOST, broker.management_port)
            assert api.ask("GET", READY).status == 200
            proxy.hold_answers()
            os.kill(broker.pid, signal.SIGTERM)
            wait_until(lambda: api.ask("GET", READY).status == 503, what="not being ready")
            assert api.ask("GET", READY).value["reason"] == "the broker stops"
            assert api.ask("GET", "/api/overview").status == 200
            proxy.pass_answers()
            assert broker.wait() == 0

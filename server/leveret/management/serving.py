"""What is served over HTTP: the API with the management page, metrics, and the control socket."""

from collections.abc import Awaitable, Callable
from functools import partial

from leveret.cluster.joined import Joined
from leveret.config import DEFAULT_MANAGEMENT_LISTEN, DEFAULT_METRICS_LISTEN, Config
from leveret.control_address import control_path
from leveret.logging import get_logger
from leveret.management.application import application
from leveret.management.authentication import Logins
from leveret.management.cluster.state import PassedOn
from leveret.management.control_socket import ControlSocket
from leveret.management.http import Front
from leveret.management.imported_objects import ImportedObjectsDeclared
from leveret.management.listener import HTTP, HTTPS, PROMETHEUS, HttpListener
from leveret.management.metrics.application import metrics_application
from leveret.management.node_status import NodeStatus
from leveret.management.service import Management
from leveret.management.statistics.sampler import Sampler
from leveret.net.links import Links
from leveret.net.server import AmqpServer
from leveret.os_errors import plain_words

logger = get_logger()


class HttpServing:
    """The management of one broker, and the listeners over which it is asked for."""

    def __init__(
        self,
        config: Config,
        server: AmqpServer,
        *,
        free_bytes: Callable[[], int] | None,
        not_ready: Callable[[], str],
        membership: Joined | None = None,
    ) -> None:
        """
        :param free_bytes: of the disk, as measured last; None for a broker that uses no disk.
        :param not_ready: why clients are not served; "" if they are.
        :param membership: of a broker in a cluster, which has joined when this is started.
        """
        self._config = config
        self._server = server
        broker = server.broker
        status = NodeStatus(
            server.alarms, server.sockets, free_bytes, server.certificate_expiries, not_ready
        )
        sampler = Sampler(broker, server.all_connections, status.values)
        self.management = Management(
            broker, server.connections, server.listeners, server.set_memory_limit, status, sampler
        )
        self._membership = membership
        if membership is not None:
            self.management.node = membership.node
            self.management.definitions = membership.definitions
        self._imported_objects = ImportedObjectsDeclared(self.management)
        self._front: Front | None = None
        """Of a broker in a cluster, once it has joined."""
        self._leave_cluster: Callable[[], Awaitable[None]] | None = None
        self._control: ControlSocket | None = None
        self._listeners: list[HttpListener] = []

    async def start(self, management_max: int, metrics_max: int) -> list[str]:
        """Begin to measure, and to listen.

        :param management_max: connections to the HTTP API that may be open.
        :param metrics_max: connections for metrics that may be open.
        :returns: the TCP listeners, each as NAME=HOST:PORT.
        :raises OSError: if a listener that the configuration names cannot be made; the text names
            it. Then `stop` is to be called.
        """
        self.management.status.loop_lag.start()
        self.management.watch.start()
        self.management.sampler.start()
        self._join_cluster()
        if self._membership is not None:
            self._imported_objects.start()
        await self._open_control_socket()
        api = await self._open_management(management_max)
        metrics = await self._open_metrics(metrics_max)
        return [
            *(f"management={address}" for address in api.addresses),
            *(f"metrics={address}" for address in metrics.addresses),
        ]

    async def stop(self) -> None:
        """Stop listening and measuring, and end what is under way."""
        management = self.management
        management.status.loop_lag.stop()
        management.watch.stop()
        management.sampler.stop()
        await self._imported_objects.stop()
        if self._control is not None:
            await self._control.stop()
        for each in self._listeners:
            await each.stop()
        if self._leave_cluster is not None:
            await self._leave_cluster()

    def _join_cluster(self) -> None:
        """Ask the other brokers of the cluster, and answer them, if there is one."""
        if self._membership is None:
            return
        # Not before: a broker that shares its storage with no other needs none of it.
        from leveret.cluster.membership import Membership
        from leveret.management.cluster.cluster_http import ClusterHttp

        membership = self._membership
        if not isinstance(membership, Membership) or membership.agent is None:
            return
        # Without a secret there are none: those who cannot be asked are named then.
        links = self._server.links or Links(self._config.cluster, membership.node)
        cluster = ClusterHttp(self.management, membership, membership.agent, links)
        cluster.state.passed_on = partial(_passed_on, self._server)
        self.management.cluster = cluster.state
        self._front, self._leave_cluster = cluster.front, cluster.stop
        if self._server.cluster_listener is not None:
            cluster.answer_on(self._server.cluster_listener)

    async def _open_management(self, connections_max: int) -> HttpListener:
        """The listener of the HTTP API and the management page.

        :raises OSError: if an address that the configuration names cannot be listened on.
        """
        management = self.management
        logins = Logins(management.broker, clustered=self._membership is not None)
        app = application(management, logins.identify, logins, self._front)
        listener = HttpListener("management", app, connections_max)
        self._listeners.append(listener)
        listen = self._config.management.listen
        context = self._server.tls_context() if self._config.management.tls else None
        await listener.start(listen, context, required=listen != DEFAULT_MANAGEMENT_LISTEN)
        protocol = HTTP if context is None else HTTPS
        management.http_listeners += [(protocol, address) for address in listener.addresses]
        return listener

    async def _open_metrics(self, connections_max: int) -> HttpListener:
        """The listener for metrics.

        :raises OSError: if an address that the configuration names cannot be listened on.
        """
        management = self.management
        listener = HttpListener("metrics", metrics_application(management), connections_max)
        self._listeners.append(listener)
        listen = self._config.metrics.listen
        context = self._server.tls_context() if self._config.metrics.tls else None
        await listener.start(listen, context, required=listen != DEFAULT_METRICS_LISTEN)
        management.http_listeners += [(PROMETHEUS, address) for address in listener.addresses]
        return listener

    async def _open_control_socket(self) -> None:
        """The control socket that the configuration names, or else that of the data directory, if
        it can be made.

        :raises OSError: if the one that the configuration names cannot be made.
        """
        named = self._config.control.socket
        if self._config.storage.memory and not named:
            return
        control = ControlSocket(self.management, control_path(self._config), self._front)
        try:
            await control.start()
        except OSError as error:
            if named:
                reason = f"control.socket: {named}: {plain_words(error)}"
                raise OSError(error.errno, reason) from None
            logger.warning(
                "no control socket: commands cannot reach this broker", reason=plain_words(error)
            )
            return
        self._control = control


def _passed_on(server: AmqpServer) -> PassedOn:
    """The connections of clients that a broker passes on."""
    found = server.passed_on
    return PassedOn(found.open, found.total, found.waiting, found.failures)

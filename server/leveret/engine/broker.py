"""The broker: its virtual hosts, its users, and what it complains of."""

from leveret import __version__
from leveret.config import Config
from leveret.engine.accounts import Accounts
from leveret.engine.topology.exchanges import predeclare
from leveret.engine.vhost import VirtualHost


class Broker:
    """Everything connections share. It knows no socket and no frame."""

    def __init__(self, config: Config) -> None:
        self.config = config
        auth = config.auth
        self.accounts = Accounts({auth.default_user: auth.default_pass}, auth.loopback_users)
        self.vhosts: dict[str, VirtualHost] = {}
        self.add_vhost(auth.default_vhost)
        self.connections_open = 0
        """Connections behind connection.open, which `amqp.max_connections` limits."""
        self.alarm = ""
        """Why publishers are blocked, as connection.blocked tells them; "" while they are not."""
        self.product = config.server.product
        self.version = config.server.version or __version__
        self.cluster_name = config.server.cluster_name

    def add_vhost(self, name: str) -> VirtualHost:
        """Make a virtual host with the exchanges it is born with."""
        vhost = VirtualHost(name)
        predeclare(vhost)
        self.vhosts[name] = vhost
        return vhost

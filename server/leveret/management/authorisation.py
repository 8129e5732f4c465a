"""Who asks the HTTP API, and what they may do there (RabbitMQ: Management Plugin, "Access and
Permissions").

The tags of a user decide: `management` sees its own virtual hosts, `policymaker` changes policies
there, `monitoring` also sees all virtual hosts, connections and nodes, `administrator` also sees
what is in all virtual hosts, users and permissions, and changes them. Operations on queues,
exchanges and messages need the permissions of the user in the virtual host, too.
"""

from enum import Enum
from typing import Final, NamedTuple

from leveret.engine.access.accounts import ADMINISTRATOR
from leveret.engine.access.rights import ALL_RIGHTS, Rights
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import User, VirtualHostEntity

MANAGEMENT: Final = "management"
POLICYMAKER: Final = "policymaker"
MONITORING: Final = "monitoring"

INCLUDED: Final = {
    ADMINISTRATOR: frozenset((ADMINISTRATOR, MONITORING, POLICYMAKER, MANAGEMENT)),
    MONITORING: frozenset((MONITORING, MANAGEMENT)),
    POLICYMAKER: frozenset((POLICYMAKER, MANAGEMENT)),
    MANAGEMENT: frozenset((MANAGEMENT,)),
}
"""What each tag includes."""


class NotAuthorised(Exception):
    """Who asks may not do that, or is not known; the text says so."""

    def __init__(self, text: str, status: int = 401, *, asks_for_login: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.asks_for_login = asks_for_login
        """Whether a login could help."""


class Identity(NamedTuple):
    """Who asks, and from where."""

    name: str
    origin: str
    tags: frozenset[str] = frozenset()
    """The tags, with those that they include."""
    is_owner: bool = False
    """Whether it is the owner of the broker's process, who may do everything."""

    def as_of(self, broker: Broker) -> "Identity":
        """The same user with the tags that the metadata say."""
        if self.is_owner:
            return self
        user = broker.metadata.get(User, self.name)
        return self._replace(tags=with_included(() if user is None else tuple(user.tags)))

    def has(self, tag: str) -> bool:
        """Whether a tag is there, or one that includes it."""
        return self.is_owner or tag in self.tags

    def logs_in_to(self, broker: Broker, vhost: str) -> bool:
        """Whether the user has permissions in a virtual host."""
        return self.is_owner or broker.rights.has_access(self.name, vhost)

    def sees(self, broker: Broker, vhost: str) -> bool:
        """Whether what is in a virtual host is shown."""
        return self.has(ADMINISTRATOR) or self.logs_in_to(broker, vhost)

    def monitors(self, broker: Broker, vhost: str) -> bool:
        """Whether a virtual host is shown in the list of them, with its numbers and limits."""
        return self.has(MONITORING) or self.logs_in_to(broker, vhost)

    def rights(self, broker: Broker, vhost: str) -> Rights:
        """What the permissions in a virtual host allow."""
        return ALL_RIGHTS if self.is_owner else broker.rights.of(self.name, vhost)


def with_included(tags: tuple[str, ...]) -> frozenset[str]:
    """Tags, with those that they include."""
    return frozenset(tags).union(*(INCLUDED.get(tag, frozenset()) for tag in tags))


class Access(Enum):
    """What a resource needs."""

    ANYBODY = "no login"
    USER = "a tag of the management"
    VISIBLE = "a virtual host that is shown"
    VHOST = "permissions in the virtual host"
    POLICYMAKER = "policymaker, and a virtual host that is shown"
    MONITORED = "monitoring, or permissions in the virtual host"
    MONITORING = "monitoring"
    ADMINISTRATOR = "administrator"

    def check(self, broker: Broker, identity: Identity | None, vhost: str) -> None:
        """Check that somebody has this access.

        :param identity: None if nobody has logged in.
        :param vhost: that of the path; empty if it has none.
        :raises NotAuthorised: if not.
        """
        if self is Access.ANYBODY:
            return
        if identity is None:
            raise NotAuthorised("Not logged in", asks_for_login=True)
        if not identity.has(MANAGEMENT):
            raise NotAuthorised("Not management user", asks_for_login=True)
        if self is Access.ADMINISTRATOR and not identity.has(ADMINISTRATOR):
            raise NotAuthorised("Not administrator user")
        if self is Access.MONITORING and not identity.has(MONITORING):
            raise NotAuthorised("Not monitor user")
        if self is Access.POLICYMAKER and not identity.has(POLICYMAKER):
            raise NotAuthorised("Not policymaker user")
        exists = broker.metadata.get(VirtualHostEntity, vhost) is not None
        if self in NEEDING_VHOST and exists and not self._shows(broker, identity, vhost):
            raise NotAuthorised("User not authorised to access virtual host")

    def _shows(self, broker: Broker, identity: Identity, vhost: str) -> bool:
        if self is Access.VHOST:
            return identity.logs_in_to(broker, vhost)
        if self is Access.MONITORED:
            return identity.monitors(broker, vhost)
        return identity.sees(broker, vhost)


NEEDING_VHOST: Final = frozenset(
    (Access.VISIBLE, Access.VHOST, Access.POLICYMAKER, Access.MONITORED)
)

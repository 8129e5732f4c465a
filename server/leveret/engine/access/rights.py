"""What the user of a connection may do in its virtual host (RabbitMQ: Access Control).

`Rights` answers for one user in one virtual host, and remembers the answers for names until the
permissions change. `RightsRegistry` has those of all open connections, and applies changes to them.
"""

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from leveret.engine.access.patterns import Pattern, permission_pattern, quote
from leveret.engine.metadata.entities import Permission, TopicPermission
from leveret.engine.metadata.metadata import Change, Metadata
from leveret.errors import AmqpError, ReplyCode

CONFIGURE: Final = "configure"
WRITE: Final = "write"
READ: Final = "read"

ANY: Final = ".*"
"""The pattern that matches every name."""

DEFAULT_EXCHANGE_NAME: Final = "amq.default"
"""The name by which permissions know the default exchange."""

ANSWERS_MAX: Final = 4096
"""Names for which the answers are remembered, of each user in each virtual host."""


class Rights:
    """What one user may do in one virtual host."""

    def __init__(self, user: str, vhost: str, client_id: str = "") -> None:
        self.user = user
        self.vhost = vhost
        self.client_id = client_id
        self.connections = 0
        """Open connections that have these rights."""
        self.unrestricted = False
        """Whether everything is allowed, so that publishes need no check."""
        self.has_topics = False
        """Whether routing keys have to be checked."""
        self._variables = {"username": user, "vhost": vhost, "client_id": client_id}
        self._patterns: dict[str, Pattern] = {}
        self._topics: dict[str, TopicPermission] = {}
        self._answers: dict[tuple[str, str], bool] = {}
        self._topic_patterns: dict[tuple[str, str], Pattern] = {}
        self._publishable: set[bytes] = set()
        self._generation: i64 = -1
        """The generation of the router in which `_publishable` was checked."""

    def set(self, permission: Permission | None, topics: list[TopicPermission]) -> None:
        """Use other permissions from now on. Without a permission nothing is allowed."""
        self._answers = {}
        self._topic_patterns = {}
        self._publishable = set()
        self._patterns = {}
        self._topics = {topic.exchange: topic for topic in topics}
        if permission is not None:
            self._patterns = {
                CONFIGURE: permission_pattern(permission.configure),
                WRITE: permission_pattern(permission.write),
                READ: permission_pattern(permission.read),
            }
        self.has_topics = bool(topics)
        self.unrestricted = (
            not topics
            and bool(self._patterns)
            and all(pattern.text == ANY for pattern in self._patterns.values())
        )

    def allows(self, right: str, name: str) -> bool:
        """Whether a right extends to a queue or an exchange of that name."""
        if self.unrestricted:
            return True
        asked = (right, name)
        answer = self._answers.get(asked)
        if answer is None:
            pattern = self._patterns.get(right)
            answer = pattern is not None and pattern.matches(name)
            if len(self._answers) >= ANSWERS_MAX:
                self._answers = {}
            self._answers[asked] = answer
        return answer

    def check_queue(self, right: str, name: str) -> None:
        """Check a right to a queue.

        :raises AmqpError: ACCESS_REFUSED.
        """
        if not self.allows(right, name):
            raise self._refused(right, f"queue '{name}'")

    def check_exchange(self, right: str, name: str) -> None:
        """Check a right to an exchange; an empty name is the default exchange.

        :raises AmqpError: ACCESS_REFUSED.
        """
        if not self.allows(right, name or DEFAULT_EXCHANGE_NAME):
            raise self._refused(right, f"exchange '{name or DEFAULT_EXCHANGE_NAME}'")

    def check_topic(self, right: str, exchange: str, routing_key: str) -> None:
        """Check a routing key of a topic exchange, `right` being WRITE or READ. Every key is
        allowed where there is no topic permission.

        :raises AmqpError: ACCESS_REFUSED.
        """
        permission = self._topics.get(exchange)
        if permission is None:
            return
        asked = (right, exchange)
        pattern = self._topic_patterns.get(asked)
        if pattern is None:
            text = permission.write if right == WRITE else permission.read
            pattern = permission_pattern(self._expand(text))
            self._topic_patterns[asked] = pattern
        if not pattern.matches(routing_key):
            raise self._refused(right, f"topic '{routing_key}' in exchange '{exchange}'")

    def may_publish(self, raw_route: bytes, generation: i64) -> bool:
        """Whether `published` was called with the same exchange and routing key, and neither rights
        nor routing have changed since."""
        return generation == self._generation and raw_route in self._publishable

    def published(self, raw_route: bytes, generation: i64) -> None:
        """Remember that an exchange and a routing key, as two short strings, were checked."""
        if generation != self._generation or len(self._publishable) >= ANSWERS_MAX:
            self._publishable = set()
            self._generation = generation
        self._publishable.add(raw_route)

    def _expand(self, text: str) -> str:
        """A pattern with the variables of the connection in place of `{username}` and the like."""
        for name, value in self._variables.items():
            if value:
                text = text.replace("{" + name + "}", quote(value))
        return text

    def _refused(self, right: str, what: str) -> AmqpError:
        return AmqpError(
            ReplyCode.ACCESS_REFUSED,
            f"{right} access to {what} in vhost '{self.vhost}' refused for user '{self.user}'",
        )


ALL_RIGHTS: Final = Rights("", "")
"""The rights of the broker itself."""
ALL_RIGHTS.set(Permission("", "", ANY, ANY, ANY), [])


class RightsRegistry:
    """The rights of all open connections, which are as the metadata say at every time."""

    def __init__(self, metadata: Metadata, changed: Callable[[str], None]) -> None:
        """
        :param changed: called with the name of a virtual host in which rights have changed, so that
            what was allowed before is checked again.
        """
        self._metadata = metadata
        self._changed = changed
        self._rights: dict[tuple[str, str, str], Rights] = {}
        metadata.subscribe(self._on_change)

    def has_access(self, user: str, vhost: str) -> bool:
        """Whether a user may open connections to a virtual host."""
        return self._metadata.get(Permission, user, vhost) is not None

    def of(self, user: str, vhost: str) -> Rights:
        """The rights of a user who has no connection, as they are at this moment."""
        rights = Rights(user, vhost)
        self._update(rights)
        return rights

    def acquire(self, user: str, vhost: str, client_id: str = "") -> Rights:
        """The rights for a connection that opens; call `release` when it has ended."""
        key = (user, vhost, client_id)
        rights = self._rights.get(key)
        if rights is None:
            rights = Rights(user, vhost, client_id)
            self._update(rights)
            self._rights[key] = rights
        rights.connections += 1
        return rights

    def release(self, rights: Rights) -> None:
        """A connection has ended."""
        rights.connections -= 1
        if rights.connections == 0:
            del self._rights[rights.user, rights.vhost, rights.client_id]

    def _update(self, rights: Rights) -> None:
        topics = [
            topic
            for (user, vhost, _), topic in self._metadata.all(TopicPermission).items()
            if (user, vhost) == (rights.user, rights.vhost)
        ]
        rights.set(self._metadata.get(Permission, rights.user, rights.vhost), topics)

    def _on_change(self, change: Change) -> None:
        if change.kind not in (Permission, TopicPermission):
            return
        user, vhost = change.key[:2]
        for rights in self._rights.values():
            if (rights.user, rights.vhost) == (user, vhost):
                self._update(rights)
        self._changed(vhost)

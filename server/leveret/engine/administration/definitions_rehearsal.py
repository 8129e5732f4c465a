"""Rehearsing an import of definitions, so that a wrong entry is found before anything is changed.

What belongs to the whole broker is put into a copy of the metadata. Exchanges are made, but not
kept; queues and bindings are checked against what exists and what the file has before them.
"""

from typing import Final

from leveret.engine.access.limits import MAX_QUEUES, limit
from leveret.engine.administration import virtual_hosts
from leveret.engine.administration.definitions_file import (
    BindingEntry,
    ExchangeEntry,
    QueueEntry,
    argument_table,
    declaration,
    typed_arguments,
)
from leveret.engine.administration.operator import Operator, Refused
from leveret.engine.administration.values import check_name, check_short
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.exchanges import PREDECLARED
from leveret.engine.lifecycle.names import (
    RESERVED_PREFIX,
    refuse_default_exchange,
    refuse_reserved,
)
from leveret.engine.lifecycle.queues import check_declaration
from leveret.engine.routing.exchanges import create
from leveret.engine.routing.exchanges.base import Exchange, ExchangeDeclaration

QUEUE: Final = "queue"
EXCHANGE: Final = "exchange"
DESTINATION_TYPES: Final = (QUEUE, EXCHANGE)

InVhost = QueueEntry | ExchangeEntry | BindingEntry


class Rehearsal:
    """Checks entries in the order in which they are applied."""

    def __init__(self, broker: Broker, vhost: str | None) -> None:
        """:param vhost: where everything belongs, or None if the entries say it."""
        self.operator: Final = Operator(broker.metadata.copy(), "", "", silent=True)
        """Puts what belongs to the whole broker into the copy."""
        self._broker = broker
        self._vhost = vhost
        self._exchanges: dict[tuple[str, str], Exchange] = {}
        """Those that the file adds, by virtual host and name."""
        self._queues: dict[str, set[str]] = {}
        """The names of the queues that the file adds, by virtual host."""

    def check_exchange(self, entry: ExchangeEntry) -> None:
        """Check that an exchange exists, or can be declared.

        :raises Refused: if not; or AmqpError.
        """
        vhost = self._vhost_of(entry)
        refuse_default_exchange(entry.name)
        check_name(EXCHANGE, entry.name)
        made = create(declaration(entry), vhost)
        if self._exchange(vhost, entry.name) is None:
            refuse_reserved(EXCHANGE, entry.name)
            self._exchanges[vhost, entry.name] = made

    def check_queue(self, entry: QueueEntry) -> None:
        """Check that a queue exists, or can be declared.

        :raises Refused: if not; or AmqpError.
        """
        vhost = self._vhost_of(entry)
        check_name(QUEUE, entry.name)
        check_declaration(
            f"queue '{entry.name}' in vhost '{vhost}'",
            typed_arguments(entry.arguments),
            entry.durable,
            entry.auto_delete,
            owner=None,
        )
        if not self._has_queue(vhost, entry.name):
            added = self._queues.setdefault(vhost, set())
            self._check_limit(vhost, len(added))
            added.add(entry.name)

    def _check_limit(self, vhost: str, added: int) -> None:
        most = limit(virtual_hosts.find_vhost(self.operator, vhost), MAX_QUEUES)
        existing = self._broker.vhosts.get(vhost)
        if added + (0 if existing is None else len(existing.queues)) >= most:
            raise Refused(f"the limit of queues in virtual host '{vhost}' ({most}) is reached")

    def check_binding(self, entry: BindingEntry) -> None:
        """Check that both ends of a binding exist, and that it can be made.

        :raises Refused: if not; or AmqpError.
        """
        vhost = self._vhost_of(entry)
        if entry.destination_type not in DESTINATION_TYPES:
            raise Refused(f"destination_type cannot be '{entry.destination_type}'")
        check_short("a routing key", entry.routing_key)
        if not entry.source and entry.destination_type == QUEUE:
            # Every queue is bound to the default exchange.
            return
        refuse_default_exchange(entry.source)
        source = self._exchange(vhost, entry.source)
        if source is None:
            raise Refused(f"there is no exchange '{entry.source}' in virtual host '{vhost}'")
        if entry.destination_type == QUEUE:
            found = self._has_queue(vhost, entry.destination)
        else:
            refuse_default_exchange(entry.destination)
            found = self._exchange(vhost, entry.destination) is not None
        if not found:
            what = f"{entry.destination_type} '{entry.destination}'"
            raise Refused(f"there is no {what} in virtual host '{vhost}'")
        source.validate(entry.routing_key, argument_table(entry.arguments))

    def _vhost_of(self, entry: InVhost) -> str:
        return virtual_hosts.find_vhost(self.operator, self._vhost or entry.vhost).name

    def _has_queue(self, vhost: str, name: str) -> bool:
        existing = self._broker.vhosts.get(vhost)
        if existing is not None and name in existing.queues:
            return True
        return name in self._queues.get(vhost, ())

    def _exchange(self, vhost: str, name: str) -> Exchange | None:
        """An exchange that exists or that the file adds."""
        existing = self._broker.vhosts.get(vhost)
        if existing is not None and name in existing.exchanges:
            return existing.exchanges[name]
        if existing is None and name.startswith(RESERVED_PREFIX):
            self._predeclare(vhost)
        return self._exchanges.get((vhost, name))

    def _predeclare(self, vhost: str) -> None:
        """Add what a virtual host that the file adds has from the start."""
        for name, type_name, internal in PREDECLARED:
            if (vhost, name) not in self._exchanges:
                made = ExchangeDeclaration(type_name, name, True, False, internal, {})
                self._exchanges[vhost, name] = create(made, vhost)

"""Exchanges: declaring, deleting, and auto-delete with the last binding."""

from typing import Final

from leveret.engine.access.rights import ALL_RIGHTS, CONFIGURE, READ, WRITE, Rights
from leveret.engine.lifecycle.attachment import attach, detach
from leveret.engine.lifecycle.names import (
    RESERVED_PREFIX,
    Typed,
    find_exchange,
    flag,
    inequivalent,
    inequivalent_argument,
    refuse_default_exchange,
    refuse_reserved,
    the_exchange,
)
from leveret.engine.lifecycle.policies import apply_to_exchange
from leveret.engine.lifecycle.records import exchange_declared
from leveret.engine.persistence.definitions import ExchangeDeleted
from leveret.engine.routing.exchanges import create
from leveret.engine.routing.exchanges.base import (
    ALTERNATE_EXCHANGE,
    Destination,
    Exchange,
    ExchangeDeclaration,
    alternate_of,
)
from leveret.engine.routing.exchanges.types import check
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode
from leveret.limits import REMOVED_BINDINGS_MIN

PREDECLARED: Final = (
    ("amq.direct", "direct", False),
    ("amq.fanout", "fanout", False),
    ("amq.topic", "topic", False),
    ("amq.headers", "headers", False),
    ("amq.match", "headers", False),
    ("amq.rabbitmq.trace", "topic", True),
)
"""Name, type, and whether it is internal, of the exchanges of every new virtual host."""


def is_predeclared(name: str) -> bool:
    """Whether every new virtual host has an exchange of that name."""
    return name.startswith(RESERVED_PREFIX)


def predeclare(vhost: VirtualHost) -> None:
    """Create the exchanges of a new virtual host (AMQP 0-9-1, section 3.1.3.1)."""
    for name, type_name, internal in PREDECLARED:
        vhost.exchanges[name] = create(
            ExchangeDeclaration(type_name, name, True, False, internal, {}), vhost.name
        )


def check_exchange(vhost: VirtualHost, name: str) -> Exchange:
    """A passive declaration: the exchange must exist.

    :raises AmqpError: NOT_FOUND.
    """
    refuse_default_exchange(name)
    return find_exchange(vhost, name)


def declare_exchange(
    vhost: VirtualHost, declared: ExchangeDeclaration, rights: Rights = ALL_RIGHTS
) -> Exchange:
    """Create an exchange, or check that the one of that name is the same.

    :param rights: of the user: to configure the exchange, and for a new one with an alternate
        exchange to read it and to write to that.
    :raises AmqpError: ACCESS_REFUSED for a reserved name or without the rights, PRECONDITION_FAILED
        for an unknown type, a wrong argument, or an existing exchange that differs.
    """
    name = declared.name
    refuse_default_exchange(name)
    rights.check_exchange(CONFIGURE, name)
    current = vhost.exchanges.get(name)
    check(declared, vhost.name)
    if current is None:
        refuse_reserved("exchange", name)
        alternate = declared.arguments.get(ALTERNATE_EXCHANGE)
        if isinstance(alternate, str):
            rights.check_exchange(READ, name)
            rights.check_exchange(WRITE, alternate)
        vhost.memory.admit(the_exchange(vhost, name))
        exchange = create(declared, vhost.name)
        vhost.memory.added(declared.arguments)
        vhost.exchanges[name] = exchange
        vhost.router.invalidate()
        if exchange.durable and vhost.definition_log is not None:
            vhost.definition_log.write(exchange_declared(vhost.name, exchange))
        attach(vhost, exchange)
        apply_to_exchange(vhost, exchange)
        return exchange
    _check_same(the_exchange(vhost, name), declared, current)
    return current


def _check_same(what: str, declared: ExchangeDeclaration, current: Exchange) -> None:
    """Check that a declaration is equivalent to the exchange that exists.

    :raises AmqpError: PRECONDITION_FAILED.
    """
    if current.type != declared.type:
        raise inequivalent(what, "type", f"'{declared.type}'", f"'{current.type}'")
    for argument, received, present in (
        ("durable", declared.durable, current.durable),
        ("auto_delete", declared.auto_delete, current.auto_delete),
        ("internal", declared.internal, current.internal),
    ):
        if received != present:
            raise inequivalent(what, argument, flag(received), flag(present))
    received_alternate = alternate_of(declared.arguments)
    present_alternate = alternate_of(current.arguments)
    if received_alternate != present_alternate:
        raise inequivalent_argument(
            what, ALTERNATE_EXCHANGE, _typed(received_alternate), _typed(present_alternate)
        )


def _typed(alternate: str) -> Typed | None:
    """The alternate exchange as an argument."""
    return (alternate, "longstr") if alternate else None


def delete_exchange(vhost: VirtualHost, name: str, *, if_unused: bool) -> None:
    """Delete an exchange with all its bindings; one that does not exist is no error.

    :raises AmqpError: ACCESS_REFUSED for a reserved name, PRECONDITION_FAILED for one in use with
        `if_unused`.
    """
    refuse_default_exchange(name)
    refuse_predeclared(vhost, name)
    exchange = vhost.exchanges.get(name)
    if exchange is None:
        return
    if if_unused and exchange.is_bound():
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"{the_exchange(vhost, name)} in use")
    remove_exchange(vhost, exchange)


def refuse_predeclared(vhost: VirtualHost, name: str) -> None:
    """Refuse to delete an exchange whose name is reserved.

    :raises AmqpError: ACCESS_REFUSED.
    """
    if is_predeclared(name):
        raise AmqpError(
            ReplyCode.ACCESS_REFUSED,
            f"deletion of system {the_exchange(vhost, name)} not allowed",
        )


def remove_exchange(vhost: VirtualHost, exchange: Exchange) -> None:
    """Remove an exchange from its virtual host, with the bindings to and from it."""
    _mark_deleted(vhost, exchange)
    remove_bindings(vhost, exchange)


def remove_bindings(vhost: VirtualHost, destination: Destination) -> None:
    """Remove every binding to a queue or an exchange that is deleted, and those of the exchange.

    The sources that auto-delete are deleted with their last binding.
    """
    destination.deleted = True
    vhost.begin(BindingRemoval(vhost, destination))


def delete_if_unbound(vhost: VirtualHost, exchange: Exchange) -> None:
    """Delete an auto-delete exchange that has lost its last binding."""
    if exchange.auto_delete and not exchange.deleted and not exchange.is_bound():
        remove_exchange(vhost, exchange)


class BindingRemoval(Work):
    """Removes the bindings of a destination that was deleted, and the exchanges that auto-delete
    because of it: a chain of any length.

    Nothing is routed over these bindings, for `Destination.deleted` says so.
    """

    def __init__(self, vhost: VirtualHost, destination: Destination) -> None:
        self._vhost = vhost
        self._deleted = [destination]

    def run(self, time_slice: TimeSlice) -> bool:
        removed = 0
        while self._deleted:
            if self._remove_next(self._deleted[-1]):
                removed += 1
                if removed >= REMOVED_BINDINGS_MIN and time_slice.is_over():
                    return False
            else:
                self._deleted.pop()
        return True

    def _remove_next(self, destination: Destination) -> bool:
        """Remove the next binding of a deleted destination.

        :returns: False if it has none.
        """
        binding = destination.drop_newest_incoming()
        if binding is None:
            if not isinstance(destination, Exchange):
                return False
            binding = destination.drop_newest_binding()
            if binding is not None:
                self._vhost.memory.removed(binding.arguments)
            return binding is not None
        self._vhost.memory.removed(binding.arguments)
        source = binding.source
        if source.auto_delete and not source.deleted and not source.is_bound():
            _mark_deleted(self._vhost, source)
            self._deleted.append(source)
        return True


def _mark_deleted(vhost: VirtualHost, exchange: Exchange) -> None:
    """Take an exchange out of its virtual host; its bindings lead nowhere from now on."""
    exchange.deleted = True
    del vhost.exchanges[exchange.name]
    vhost.gone.add_exchange(exchange.counters)
    vhost.memory.removed(exchange.arguments)
    if exchange.durable and vhost.definition_log is not None:
        vhost.definition_log.write(ExchangeDeleted(vhost.name, exchange.name))
    detach(vhost, exchange)
    vhost.router.invalidate()

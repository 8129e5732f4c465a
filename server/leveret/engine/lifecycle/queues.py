"""Queues: declaring, deleting, expiry, and auto-delete with the last consumer."""

from functools import partial
from typing import Final

from leveret.engine.access.rights import ALL_RIGHTS, CONFIGURE, READ, WRITE, Rights
from leveret.engine.lifecycle.argument_checks import DEAD_LETTER_EXCHANGE
from leveret.engine.lifecycle.exchanges import remove_bindings
from leveret.engine.lifecycle.names import (
    check_owner,
    find_queue,
    flag,
    generated,
    inequivalent,
    locked,
    refuse_reserved,
    the_queue,
)
from leveret.engine.lifecycle.policies import apply_to_exchange, policies_of_queue, queue_settings
from leveret.engine.lifecycle.queue_arguments import (
    ADOPTABLE,
    check_equivalent,
    check_queue_arguments,
    is_quorum,
)
from leveret.engine.lifecycle.records import (
    queue_arguments_changed,
    queue_declared,
    queue_pause_changed,
)
from leveret.engine.persistence.definitions import QueueDeleted
from leveret.engine.queues.consumer import Consumer
from leveret.engine.queues.queue import Queue
from leveret.engine.queues.queue_expiry import QueueExpiry
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.settings import NONE
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError, ReplyCode

GENERATED_NAME_PREFIX: Final = "amq.gen-"
QUORUM_TYPE: Final = "rabbit_quorum_queue"
"""What RabbitMQ's texts call the type `quorum`."""


def declare_queue(
    vhost: VirtualHost,
    name: str,
    *,
    durable: bool,
    auto_delete: bool,
    owner: object | None,
    connection: object,
    arguments: Arguments,
    declared_by: str = "",
    rights: Rights = ALL_RIGHTS,
    reserved: bool = False,
) -> Queue:
    """Create a queue, or check that the one of that name is the same.

    :param owner: the connection that an exclusive queue belongs to, else None. An exclusive
        queue does not outlive its connection, so it is never durable.
    :param connection: the connection that declares.
    :param declared_by: the name of this connection for operators.
    :param rights: of its user: to configure the queue, and for a new one with a dead letter
        exchange to read it and to write to that.
    :param reserved: whether the name may be one that a broker has given.
    :raises AmqpError: ACCESS_REFUSED for a reserved name or without the rights, RESOURCE_LOCKED for
        another's exclusive queue, PRECONDITION_FAILED for wrong arguments, an existing queue that
        differs, or one too many in the virtual host.
    """
    if not name:
        name = _generated(arguments)
    elif not reserved:
        refuse_reserved("queue", name)
    rights.check_queue(CONFIGURE, name)
    what = the_queue(vhost, name)
    durable = durable and owner is None
    current = vhost.queues.get(name)
    if current is None:
        _check_limit(vhost, name)
        _check_dead_letter_exchange(rights, name, arguments)
        vhost.memory.admit(what)
        check_declaration(what, arguments, durable, auto_delete, owner)
        vhost.churn.queue_declared += 1
        vhost.churn.queue_created += 1
        return _create(vhost, name, durable, auto_delete, owner, arguments, declared_by)
    check_owner(vhost, current, connection)
    if owner is not current.owner:
        raise locked(vhost, name)
    if durable != current.durable:
        raise inequivalent(what, "durable", flag(durable), flag(current.durable))
    if auto_delete != current.auto_delete:
        raise inequivalent(what, "auto_delete", flag(auto_delete), flag(current.auto_delete))
    adopted = ADOPTABLE if vhost.adopts_redeclared else frozenset()
    if check_equivalent(what, arguments, current.arguments, adopted):
        _check_dead_letter_exchange(rights, name, arguments)
        check_queue_arguments(what, arguments)
        _adopt(vhost, current, arguments)
    if current.expiry is not None:
        current.expiry.renew()
    vhost.churn.queue_declared += 1
    return current


def _check_limit(vhost: VirtualHost, name: str) -> None:
    """Check that the virtual host may have one more queue (RabbitMQ: Virtual Hosts).

    :raises AmqpError: PRECONDITION_FAILED.
    """
    if len(vhost.queues) >= vhost.queues_max:
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"cannot declare queue '{name}': queue limit in vhost '{vhost.name}' "
            f"({vhost.queues_max}) is reached",
        )


def _check_dead_letter_exchange(rights: Rights, name: str, arguments: Arguments) -> None:
    """Check the rights that a dead letter exchange asks for.

    :raises AmqpError: ACCESS_REFUSED.
    """
    exchange = arguments.get(DEAD_LETTER_EXCHANGE)
    if isinstance(exchange, str):
        rights.check_queue(READ, name)
        rights.check_exchange(WRITE, exchange)


def _adopt(vhost: VirtualHost, queue: Queue, arguments: Arguments) -> None:
    """Apply the arguments of a redeclaration to an existing queue."""
    change_arguments(vhost, queue, arguments)
    if queue.durable and vhost.definition_log is not None:
        vhost.definition_log.write(queue_arguments_changed(vhost.name, queue))


def change_own_arguments(vhost: VirtualHost, queue: Queue, changes: Arguments) -> None:
    """Give a queue other values of its own arguments, which are kept as those of its declaration.

    :param changes: what is None is removed.
    :raises AmqpError: PRECONDITION_FAILED for an argument that says what the queue is, for an
        unknown one, or for a value that it cannot have.
    """
    what = the_queue(vhost, queue.name)
    values, types = dict(queue.arguments), dict(queue.arguments.types)
    for name, value in changes.items():
        if name not in ADOPTABLE:
            known = ", ".join(sorted(ADOPTABLE))
            raise AmqpError(
                ReplyCode.PRECONDITION_FAILED,
                f"arg '{name}' of {what} cannot be changed; those that can: {known}",
            )
        if value is None:
            values.pop(name, None)
            types.pop(name, None)
        else:
            values[name] = value
            types[name] = changes.types[name]
    changed = Arguments(values, types)
    check_declaration(what, changed, queue.durable, queue.auto_delete, queue.owner)
    if changed != queue.arguments:
        vhost.memory.removed(queue.arguments)
        vhost.memory.added(changed)
        _adopt(vhost, queue, changed)


def set_paused(vhost: VirtualHost, queue: Queue, paused: bool) -> None:
    """Pause a queue, of which clients get no messages then, or resume it. Like a declaration that
    is kept; no error if the queue is so already."""
    if queue.paused == paused:
        return
    queue.set_paused(paused)
    queue.paused_at = vhost.clock.wall_time() if paused else 0
    if queue.durable and vhost.definition_log is not None:
        vhost.definition_log.write(queue_pause_changed(vhost.name, queue))


def change_arguments(vhost: VirtualHost, queue: Queue, arguments: Arguments) -> None:
    """Replace the arguments of a queue by others, which were checked."""
    queue.arguments = arguments
    _use_settings(vhost, queue)


def apply_policies(vhost: VirtualHost, queue: Queue) -> None:
    """Have a queue be as its arguments and the policies of its virtual host say."""
    if queue.policies != policies_of_queue(vhost, queue):
        _use_settings(vhost, queue)


def _use_settings(vhost: VirtualHost, queue: Queue) -> None:
    queue.policies = policies_of_queue(vhost, queue)
    queue.apply(queue_settings(vhost, queue.arguments, queue.policies))
    set_expiry(vhost, queue)


class PoliciesApplied(Work):
    """Applies the policies of a virtual host to everything in it, after they have changed.

    Each object gets those that are in force when its turn comes. If they change meanwhile, all is
    gone through once more, however often they do.
    """

    def __init__(self, vhost: VirtualHost) -> None:
        self.vhost = vhost
        self.is_done = False
        self._has_begun = False
        self._repeats = False
        self._exchanges: list[Exchange] = []
        self._queues: list[Queue] = []
        self._begin()

    def repeat(self) -> None:
        """The policies have changed again."""
        self._repeats = self._has_begun

    def give_up(self) -> None:
        self.is_done = True

    def run(self, time_slice: TimeSlice) -> bool:
        while True:
            if not self._run_once(time_slice):
                return False
            if not self._repeats:
                self.is_done = True
                return True
            self._begin()

    def _begin(self) -> None:
        self._has_begun = False
        self._repeats = False
        self._exchanges = list(self.vhost.exchanges.values())
        self._queues = list(self.vhost.queues.values())

    def _run_once(self, time_slice: TimeSlice) -> bool:
        vhost = self.vhost
        self._has_begun = True
        while self._exchanges:
            exchange = self._exchanges.pop()
            if not exchange.deleted:
                apply_to_exchange(vhost, exchange)
            if time_slice.is_over_now():
                return False
        while self._queues:
            queue = self._queues.pop()
            if not queue.deleted:
                apply_policies(vhost, queue)
            if time_slice.is_over_now():
                return False
        return True


def set_expiry(vhost: VirtualHost, queue: Queue) -> None:
    """Set or stop the expiry timer of a queue, as its settings say."""
    if queue.expiry is not None:
        queue.expiry.stop()
        queue.expiry = None
    if queue.settings.expires != NONE:
        queue.expiry = QueueExpiry(
            vhost.clock,
            vhost.timers,
            queue.settings.expires,
            queue.is_consumed,
            partial(remove_queue, vhost, queue),
        )


def _generated(arguments: Arguments) -> str:
    if is_quorum(arguments):
        raise AmqpError(
            ReplyCode.PRECONDITION_FAILED,
            f"Cannot declare a server-named queue for type {QUORUM_TYPE}",
        )
    return generated(GENERATED_NAME_PREFIX)


def check_declaration(
    what: str, arguments: Arguments, durable: bool, auto_delete: bool, owner: object | None
) -> None:
    """Check the arguments of a new queue, and that its properties fit its type.

    :param what: the queue in error texts.
    :raises AmqpError: PRECONDITION_FAILED.
    """
    check_queue_arguments(what, arguments)
    if is_quorum(arguments):
        _check_quorum(what, arguments, durable, auto_delete, owner)


def _check_quorum(
    what: str, arguments: Arguments, durable: bool, auto_delete: bool, owner: object | None
) -> None:
    """Check the properties that a quorum queue must have (RabbitMQ: Quorum Queues).

    :raises AmqpError: PRECONDITION_FAILED.
    """
    wrong = ""
    if "x-max-priority" in arguments:
        wrong = f"invalid arg 'x-max-priority' for {what} of queue type {QUORUM_TYPE}"
    elif auto_delete:
        wrong = f"invalid property 'auto-delete' for {what}"
    elif owner is not None:
        wrong = f"invalid property 'exclusive-owner' for {what}"
    elif not durable:
        wrong = f"invalid property 'non-durable' for {what}"
    if wrong:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, wrong)


def _create(
    vhost: VirtualHost,
    name: str,
    durable: bool,
    auto_delete: bool,
    owner: object | None,
    arguments: Arguments,
    declared_by: str,
) -> Queue:
    queue = Queue(
        name,
        durable=durable,
        auto_delete=auto_delete,
        owner=owner,
        arguments=arguments,
        host=vhost,
    )
    vhost.memory.added(arguments)
    queue.declared_by = declared_by
    apply_policies(vhost, queue)
    set_expiry(vhost, queue)
    vhost.queues[name] = queue
    # Nothing is bound to it yet, so other routes stay: clients declare queues all the time.
    vhost.router.invalidate_queue(name)
    if vhost.definition_log is not None:
        store = vhost.definition_log.store
        journal = store.add_queue(True, queue.priority_levels - 1) if durable else None
        queue.attach_store(store, journal)
        if journal is not None:
            vhost.definition_log.write(queue_declared(vhost.name, queue, journal.number))
    return queue


def find_deletable(
    vhost: VirtualHost, name: str, *, if_unused: bool, if_empty: bool, connection: object
) -> Queue | None:
    """The queue of that name, if it may be deleted; None if it does not exist.

    :raises AmqpError: RESOURCE_LOCKED, or PRECONDITION_FAILED for one not empty with `if_empty`, or
        in use with `if_unused`.
    """
    if name not in vhost.queues:
        return None
    queue = find_queue(vhost, name, connection)
    if if_empty and queue.message_count() + queue.retry_delayed_count() != 0:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"{the_queue(vhost, name)} not empty")
    if if_unused and queue.consumer_count != 0:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, f"{the_queue(vhost, name)} in use")
    return queue


def remove_queue(vhost: VirtualHost, queue: Queue) -> None:
    """Remove a queue from its virtual host, with its bindings, messages and consumers."""
    if queue.deleted:
        return
    del vhost.queues[queue.name]
    vhost.churn.queue_deleted += 1
    vhost.gone.publish += queue.counters.publish
    vhost.memory.removed(queue.arguments)
    if queue.durable and vhost.definition_log is not None:
        vhost.definition_log.write(QueueDeleted(vhost.name, queue.name))
    if queue.destination.is_led_to():
        vhost.router.invalidate()
    else:
        vhost.router.invalidate_queue(queue.name)
    remove_bindings(vhost, queue.destination)
    queue.delete()


def remove_consumer(vhost: VirtualHost, queue: Queue, consumer: Consumer) -> None:
    """Remove a consumer; an auto-delete queue is deleted with its last one."""
    if queue.deleted:
        return
    queue.remove_consumer(consumer)
    if queue.consumer_count == 0:
        queue.consumer_left_at = vhost.clock.wall_time()
    if queue.expiry is not None:
        queue.expiry.renew()
    if queue.auto_delete and queue.consumer_count == 0:
        remove_queue(vhost, queue)


def check_may_consume(vhost: VirtualHost, queue: Queue, exclusive: bool) -> None:
    """Check that a consumer may be added: an exclusive one must be the only one.

    An exclusive consumer and a single active consumer exclude each other.

    :raises AmqpError: ACCESS_REFUSED.
    """
    taken = queue.consumer_count != 0 or queue.single_active
    if queue.exclusively_consumed or (exclusive and taken):
        raise AmqpError(
            ReplyCode.ACCESS_REFUSED, f"{the_queue(vhost, queue.name)} in exclusive use"
        )


def check_may_get(vhost: VirtualHost, queue: Queue) -> None:
    """Check that single messages may be fetched.

    :raises AmqpError: RESOURCE_LOCKED.
    """
    if queue.single_active and is_quorum(queue.arguments):
        raise AmqpError(
            ReplyCode.RESOURCE_LOCKED,
            f"cannot obtain access to locked {the_queue(vhost, queue.name)}. basic.get operations "
            "are not supported by quorum queues with single active consumer",
        )

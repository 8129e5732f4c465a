"""Importing definitions (RabbitMQ: Definition Export and Import).

First every entry is checked, and nothing is changed if one is wrong. Then they are applied, both in
slices. The rules by which they are merged with what exists are in `merge_rules.py`; nothing is ever
deleted.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from leveret.engine.access.passwords import matches
from leveret.engine.administration import policies, users, virtual_hosts
from leveret.engine.administration.definitions_export import (
    LIMITS_COMPONENT,
    OPERATOR_POLICY_COMPONENT,
)
from leveret.engine.administration.definitions_file import (
    BindingEntry,
    DefinitionsFile,
    ExchangeEntry,
    GlobalParameterEntry,
    ParameterEntry,
    PermissionEntry,
    PolicyEntry,
    QueueEntry,
    Tags,
    TopicPermissionEntry,
    UserEntry,
    VhostEntry,
    declaration,
    typed_arguments,
)
from leveret.engine.administration.definitions_rehearsal import EXCHANGE, InVhost, Rehearsal
from leveret.engine.administration.operator import Operator, Refused, Unavailable
from leveret.engine.broker import Broker
from leveret.engine.lifecycle.bindings import bind_exchange, bind_queue
from leveret.engine.lifecycle.exchanges import declare_exchange
from leveret.engine.lifecycle.queues import declare_queue
from leveret.engine.metadata.entities import OperatorPolicy, Policy, User, VirtualHostEntity
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps
from leveret.engine.vhost import VirtualHost
from leveret.errors import AmqpError

UNDEFINED: Final = "undefined"
"""What RabbitMQ writes of a default queue type that is none."""

E = TypeVar("E")


class DefinitionsImport(Work):
    """Checks a file, and applies it."""

    def __init__(
        self,
        broker: Broker,
        operator: Operator,
        file: DefinitionsFile,
        vhost: str | None = None,
        pass_on: Callable[[str, DefinitionsFile], None] | None = None,
        **fields: str,
    ) -> None:
        """
        :param vhost: where everything of the file belongs, in which no entry names one.
        :param pass_on: called with each virtual host that other brokers serve, and the exchanges,
            queues and bindings that the file has for it; None to refuse the file.
        :param fields: what the event of the audit log has beside the numbers of entries.
        """
        self.error: Refused | None = None
        """Why it has ended. Nothing was changed, unless a limit was met."""
        self._broker = broker
        self._operator = operator
        self._file = file
        self._vhost = vhost
        self._pass_on = pass_on
        self._elsewhere: dict[str, DefinitionsFile] = {}
        """What belongs to virtual hosts that other brokers serve, by their names."""
        self._fields = fields
        self._steps = self._run()

    def run(self, time_slice: TimeSlice) -> bool:
        try:
            return run_steps(self._steps, time_slice)
        except Refused as error:
            self.error = error
            return True

    def _run(self) -> Iterator[None]:
        file = self._file
        rehearsal = Rehearsal(self._broker, self._vhost)
        yield from self._put_metadata(rehearsal.operator)
        yield from _each("exchanges", file.exchanges, rehearsal.check_exchange)
        yield from _each("queues", file.queues, rehearsal.check_queue)
        yield from _each("bindings", file.bindings, rehearsal.check_binding)
        if self._broker.shares_metadata:
            yield from self._find_elsewhere(rehearsal.operator)
        yield from self._put_metadata(self._operator)
        for vhost, part in self._elsewhere.items():
            assert self._pass_on is not None
            self._pass_on(vhost, part)
        yield from _each("exchanges", file.exchanges, self._declare_exchange)
        yield from _each("queues", file.queues, self._declare_queue)
        yield from _each("bindings", file.bindings, self._bind)
        counts = {
            section: len(entries)
            for section, entries in msgspec.structs.asdict(file).items()
            if entries
        }
        self._operator.log("definitions imported", {**counts, **self._fields})

    def _find_elsewhere(self, operator: Operator) -> Iterator[None]:
        """Find what belongs to virtual hosts that other brokers serve.

        :raises Refused: if there is any that is not to be passed on.
        """
        file = self._file
        is_here: dict[str, bool] = {}
        entries: list[InVhost] = [*file.exchanges, *file.queues, *file.bindings]
        for entry in entries:
            name = self._vhost or entry.vhost
            if name not in is_here:
                is_here[name] = self._broker.serves(virtual_hosts.find_vhost(operator, name))
            if not is_here[name]:
                part = self._elsewhere.setdefault(name, DefinitionsFile())
                if isinstance(entry, ExchangeEntry):
                    part.exchanges.append(entry)
                elif isinstance(entry, QueueEntry):
                    part.queues.append(entry)
                else:
                    part.bindings.append(entry)
            yield
        if self._elsewhere and self._pass_on is None:
            names = ", ".join(f"'{name}'" for name in self._elsewhere)
            raise Refused(
                f"exchanges, queues and bindings of virtual hosts that other brokers serve: {names}"
            )

    # --- metadata -----------------------------------------------------------------------------

    def _put_metadata(self, operator: Operator) -> Iterator[None]:
        file = self._file
        yield from _each("vhosts", file.vhosts, partial(_put_vhost, operator))
        yield from _each("users", file.users, partial(_put_user, operator))
        yield from _each("permissions", file.permissions, partial(_put_permission, operator))
        yield from _each(
            "topic_permissions", file.topic_permissions, partial(_put_topic_permission, operator)
        )
        yield from _each(
            "global_parameters", file.global_parameters, partial(_put_global_parameter, operator)
        )
        yield from _each("parameters", file.parameters, partial(self._put_parameter, operator))
        yield from _each("policies", file.policies, partial(self._put_policy, operator))

    def _put_parameter(self, operator: Operator, entry: ParameterEntry) -> None:
        vhost = self._vhost or entry.vhost
        if entry.component == LIMITS_COMPONENT:
            virtual_hosts.set_limits(operator, vhost, _converted(entry.value, dict[str, int]))
        elif entry.component == OPERATOR_POLICY_COMPONENT:
            value = _converted(entry.value, PolicyEntry)
            policy = _policy(OperatorPolicy, vhost, entry.name, value)
            policies.put_policy(operator, policy)
        else:
            policies.put_parameter(operator, vhost, entry.component, entry.name, entry.value)

    def _put_policy(self, operator: Operator, entry: PolicyEntry) -> None:
        vhost = self._vhost or entry.vhost
        policies.put_policy(operator, _policy(Policy, vhost, entry.name, entry))

    # --- exchanges, queues and bindings ---------------------------------------------------------

    def _vhost_of(self, entry: InVhost) -> VirtualHost | None:
        """The virtual host of an entry; None if the entry was passed on.

        :raises Refused: if it is served here no longer.
        """
        name = virtual_hosts.find_vhost(self._operator, self._vhost or entry.vhost).name
        if name in self._elsewhere:
            return None
        vhost = self._broker.vhosts.get(name)
        if vhost is None:
            raise Refused(f"virtual host '{name}' is served by another broker")
        return vhost

    def _declare_exchange(self, entry: ExchangeEntry) -> None:
        vhost = self._vhost_of(entry)
        if vhost is not None and entry.name not in vhost.exchanges:
            declare_exchange(vhost, declaration(entry))

    def _declare_queue(self, entry: QueueEntry) -> None:
        vhost = self._vhost_of(entry)
        if vhost is not None and entry.name not in vhost.queues:
            declare_queue(
                vhost,
                entry.name,
                durable=entry.durable,
                auto_delete=entry.auto_delete,
                owner=None,
                connection=None,
                arguments=typed_arguments(entry.arguments),
                declared_by=self._operator.label,
                reserved=True,
            )

    def _bind(self, entry: BindingEntry) -> None:
        vhost = self._vhost_of(entry)
        if vhost is None or not entry.source:
            return
        ends = entry.destination, entry.source
        if entry.destination_type == EXCHANGE:
            bind_exchange(vhost, *ends, entry.routing_key, entry.arguments)
        else:
            owner = (
                vhost.queues[entry.destination].owner if entry.destination in vhost.queues else None
            )
            bind_queue(vhost, *ends, entry.routing_key, entry.arguments, owner)


def _each(section: str, entries: list[E], action: Callable[[E], None]) -> Iterator[None]:
    """Do something for each entry of a section.

    :raises Refused: naming the entry for which it is refused.
    """
    for at, entry in enumerate(entries):
        try:
            action(entry)
        except Unavailable:
            raise
        except (Refused, AmqpError) as error:
            name = getattr(entry, "name", "")
            named = f"{section}[{at}] ('{name}')" if name else f"{section}[{at}]"
            reason = error.text if isinstance(error, AmqpError) else str(error)
            raise Refused(f"{named}: {reason}") from None
        yield


def _put_vhost(operator: Operator, entry: VhostEntry) -> None:
    more = entry.metadata
    metadata = operator.metadata
    is_new = metadata.get(VirtualHostEntity, entry.name) is None
    virtual_hosts.put_vhost(
        operator,
        entry.name,
        description=more.description if entry.description is None else entry.description,
        tags=_tags(more.tags if entry.tags is None else entry.tags),
        default_queue_type=_queue_type(entry.default_queue_type or more.default_queue_type),
        protected_from_deletion=entry.protected_from_deletion,
        store=entry.store if metadata.stores and is_new else None,
    )


def _queue_type(name: str | None) -> str | None:
    return None if name in (None, "", UNDEFINED) else name


def _tags(tags: Tags | None) -> list[str] | None:
    if tags is None:
        return None
    given = tags.split(",") if isinstance(tags, str) else tags
    return [tag.strip() for tag in given if tag.strip()]


def _put_user(operator: Operator, entry: UserEntry) -> None:
    password_hash, algorithm = entry.password_hash or "", entry.hashing_algorithm
    password = password_of(entry)
    if password is not None:
        known = operator.metadata.get(User, entry.name)
        if known is not None and matches(
            password.encode(), known.password_hash, known.hashing_algorithm
        ):
            # The same password, whose hash has another salt each time.
            password_hash, algorithm = known.password_hash, known.hashing_algorithm
        else:
            password_hash, algorithm = users.hashed(password)
    users.put_user(
        operator,
        entry.name,
        password_hash=password_hash,
        hashing_algorithm=algorithm,
        tags=_tags(entry.tags) or (),
        limits=entry.limits if isinstance(entry.limits, dict) else None,
    )


def password_of(entry: UserEntry) -> str | None:
    """The password of a user, from where the entry says it is; None if it has a hash.

    :raises Refused: if it is not there.
    """
    if entry.password_env is not None:
        if entry.password_env not in os.environ:
            raise Refused(f"the variable {entry.password_env} of password_env is not set")
        return os.environ[entry.password_env]
    if entry.password_file is not None:
        try:
            return Path(entry.password_file).read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise Refused(f"{entry.password_file} of password_file: {reason}") from None
    return entry.password


def _put_permission(operator: Operator, entry: PermissionEntry) -> None:
    patterns = entry.configure, entry.write, entry.read
    users.set_permission(operator, entry.user, entry.vhost, *patterns)


def _put_topic_permission(operator: Operator, entry: TopicPermissionEntry) -> None:
    patterns = entry.write, entry.read
    users.set_topic_permission(operator, entry.user, entry.vhost, entry.exchange, *patterns)


def _put_global_parameter(operator: Operator, entry: GlobalParameterEntry) -> None:
    policies.put_global_parameter(operator, entry.name, entry.value)


def _policy(kind: type[Policy], vhost: str, name: str, entry: PolicyEntry) -> Policy:
    return kind(vhost, name, entry.pattern, entry.definition, entry.apply_to, entry.priority)


def _converted(value: object, schema: type[E]) -> E:
    """The value of a parameter that has a schema.

    :raises Refused: if it does not follow it.
    """
    try:
        return msgspec.convert(value or {}, schema)
    except msgspec.ValidationError as error:
        raise Refused(str(error)) from None

"""Exporting definitions (RabbitMQ: Definition Export and Import).

What RabbitMQ keeps as parameters, limits of virtual hosts and operator policies, is among the
parameters, so that it can import the file. Not exported are exclusive queues, whose connection they
end with, and what every virtual host has from the start.
"""

from collections.abc import Iterator
from typing import Any, Final

from leveret.engine.broker import Broker
from leveret.engine.lifecycle.exchanges import is_predeclared
from leveret.engine.metadata.entities import (
    GlobalParameter,
    OperatorPolicy,
    Parameter,
    Permission,
    Policy,
    TopicPermission,
    User,
    VirtualHostEntity,
)
from leveret.engine.routing.exchanges.base import Exchange
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps
from leveret.engine.vhost import VirtualHost

LIMITS_COMPONENT: Final = "vhost-limits"
LIMITS_NAME: Final = "limits"
OPERATOR_POLICY_COMPONENT: Final = "operator_policy"

Entries = dict[str, list[dict[str, Any]]]


class DefinitionsExport(Work):
    """Exports everything, or what one virtual host has, in slices."""

    def __init__(self, broker: Broker, vhost: str | None = None) -> None:
        """:param vhost: the virtual host whose objects are exported, without its name."""
        self.entries: Entries = {}
        """The sections of the file."""
        self._broker = broker
        self._vhost = vhost
        self._steps = self._export()

    def run(self, time_slice: TimeSlice) -> bool:
        return run_steps(self._steps, time_slice)

    def _add(self, section: str, entry: dict[str, Any]) -> None:
        if self._vhost is not None:
            entry.pop("vhost", None)
        self.entries[section].append(entry)

    def _includes(self, vhost: str) -> bool:
        return self._vhost in (None, vhost)

    def _export(self) -> Iterator[None]:
        broker = self._broker
        if self._vhost is None:
            self._export_accounts()
        sections = ("parameters", "policies", "queues", "exchanges", "bindings")
        self.entries |= {section: [] for section in sections}
        self._export_parameters()
        yield
        for vhost in list(broker.vhosts.values()):
            if self._includes(vhost.name):
                yield from self._export_vhost(vhost)

    def _export_accounts(self) -> None:
        metadata, entries = self._broker.metadata, self.entries
        entries["users"] = [
            {
                "name": user.name,
                "password_hash": user.password_hash,
                "hashing_algorithm": user.hashing_algorithm,
                "tags": list(user.tags),
                "limits": user.limits,
            }
            for user in metadata.all(User).values()
        ]
        entries["vhosts"] = [
            _vhost_entry(each) for each in metadata.all(VirtualHostEntity).values()
        ]
        entries["permissions"] = [
            {
                "user": each.user,
                "vhost": each.vhost,
                "configure": each.configure,
                "write": each.write,
                "read": each.read,
            }
            for each in metadata.all(Permission).values()
        ]
        entries["topic_permissions"] = [
            {
                "user": each.user,
                "vhost": each.vhost,
                "exchange": each.exchange,
                "write": each.write,
                "read": each.read,
            }
            for each in metadata.all(TopicPermission).values()
        ]
        entries["global_parameters"] = [
            {"name": each.name, "value": each.value}
            for each in metadata.all(GlobalParameter).values()
        ]

    def _export_parameters(self) -> None:
        metadata = self._broker.metadata
        parameters = [
            Parameter(each.name, LIMITS_COMPONENT, LIMITS_NAME, each.limits)
            for each in metadata.all(VirtualHostEntity).values()
            if each.limits
        ]
        parameters += [
            Parameter(each.vhost, OPERATOR_POLICY_COMPONENT, each.name, policy_value(each))
            for each in metadata.all(OperatorPolicy).values()
        ]
        for parameter in [*parameters, *metadata.all(Parameter).values()]:
            if self._includes(parameter.vhost):
                entry = {
                    "vhost": parameter.vhost,
                    "component": parameter.component,
                    "name": parameter.name,
                    "value": parameter.value,
                }
                self._add("parameters", entry)
        for policy in metadata.all(Policy).values():
            if self._includes(policy.vhost):
                entry = {"vhost": policy.vhost, "name": policy.name, **policy_value(policy)}
                self._add("policies", entry)

    def _export_vhost(self, vhost: VirtualHost) -> Iterator[None]:
        for queue in list(vhost.queues.values()):
            if not queue.exclusive and not queue.deleted:
                entry = {
                    "name": queue.name,
                    "vhost": vhost.name,
                    "durable": queue.durable,
                    "auto_delete": queue.auto_delete,
                    "arguments": dict(queue.arguments),
                }
                self._add("queues", entry)
            yield
        for exchange in list(vhost.exchanges.values()):
            if not is_predeclared(exchange.name):
                entry = {
                    "name": exchange.name,
                    "vhost": vhost.name,
                    "type": exchange.type,
                    "durable": exchange.durable,
                    "auto_delete": exchange.auto_delete,
                    "internal": exchange.internal,
                    "arguments": exchange.arguments,
                }
                self._add("exchanges", entry)
            yield from self._export_bindings(vhost, exchange)
            yield

    def _export_bindings(self, vhost: VirtualHost, exchange: Exchange) -> Iterator[None]:
        for binding in list(exchange.bindings()):
            to_exchange = isinstance(binding.destination, Exchange)
            queue = None if to_exchange else vhost.queues.get(binding.destination.name)
            if queue is None or not queue.exclusive:
                entry = {
                    "source": exchange.name,
                    "vhost": vhost.name,
                    "destination": binding.destination.name,
                    "destination_type": "exchange" if to_exchange else "queue",
                    "routing_key": binding.routing_key,
                    "arguments": binding.arguments,
                }
                self._add("bindings", entry)
            yield


def policy_value(policy: Policy) -> dict[str, Any]:
    """A policy without its name."""
    return {
        "pattern": policy.pattern,
        "definition": policy.definition,
        "priority": policy.priority,
        "apply-to": policy.apply_to,
    }


def _vhost_entry(vhost: VirtualHostEntity) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": vhost.description, "tags": list(vhost.tags)}
    if vhost.default_queue_type:
        shown["default_queue_type"] = vhost.default_queue_type
    entry = {"name": vhost.name, "metadata": shown, **shown}
    if vhost.protected_from_deletion:
        entry["protected_from_deletion"] = True
    if vhost.store >= 0:
        entry["store"] = vhost.store
    return entry

"""Applying policies: to what is declared, and to all that exists when policies change.

(RabbitMQ: Parameters and Policies.) An argument wins over a policy, but of numeric limits the
smallest applies; an operator policy wins over a policy.
"""

from leveret.engine.lifecycle.queue_arguments import is_quorum
from leveret.engine.metadata.entities import Policy
from leveret.engine.policies.policy_set import NO_POLICIES, AppliedPolicies
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Exchange, alternate_of
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.settings import (
    SHARED,
    SHARED_SETTINGS_MAX,
    QueueSettings,
    Source,
    arguments_source,
    compute,
    sharing_key,
)
from leveret.engine.vhost import VirtualHost


def queue_settings(
    vhost: VirtualHost, arguments: Arguments, applied: AppliedPolicies
) -> QueueSettings:
    """The settings of a queue with these arguments, and these policies of its virtual host.

    Queues for which both are the same share one object.
    """
    if applied == NO_POLICIES:
        return SHARED.of(arguments)[1]
    key = sharing_key(arguments)
    if key is None:
        return compute(_sources(arguments, applied))
    shared = vhost.policies.shared_settings
    key = (*key, id(applied.policy), id(applied.operator_policy))
    found = shared.get(key)
    if found is None:
        if len(shared) >= SHARED_SETTINGS_MAX:
            shared.clear()
        found = shared[key] = compute(_sources(arguments, applied))
    return found


def _sources(arguments: Arguments, applied: AppliedPolicies) -> list[Source]:
    sources = [arguments_source(arguments)]
    if applied.operator_policy is not None:
        sources.append(_source("operator policy", applied.operator_policy))
    if applied.policy is not None:
        sources.append(_source("policy", applied.policy))
    return sources


def _source(kind: str, policy: Policy) -> Source:
    return Source(f"{kind} '{policy.name}'", policy.definition)


def policies_of_queue(vhost: VirtualHost, queue: Queue) -> AppliedPolicies:
    """The policies that apply to a queue."""
    return vhost.policies.of_queue(queue.name, is_quorum(queue.arguments))


def alternate_and_source(vhost: VirtualHost, exchange: Exchange) -> tuple[str, str]:
    """The alternate exchange of an exchange, and what decided it; both are "" if there is none."""
    sources = [Source("arguments", exchange.arguments)]
    policy, operator_policy = vhost.policies.of_exchange(exchange.name)
    if operator_policy is not None:
        sources.append(_source("operator policy", operator_policy))
    if policy is not None:
        sources.append(_source("policy", policy))
    for source in sources:
        alternate = alternate_of(dict(source.values))
        if alternate:
            return alternate, source.name
    return "", ""


def apply_to_exchange(vhost: VirtualHost, exchange: Exchange) -> None:
    """Have an exchange be as its arguments and the policies say."""
    alternate, _ = alternate_and_source(vhost, exchange)
    if exchange.alternate != alternate:
        exchange.alternate = alternate
        vhost.router.invalidate()

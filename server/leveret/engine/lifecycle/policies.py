"""Applying policies: to what is declared, and to all that exists when policies change.

(RabbitMQ: Parameters and Policies.) An argument wins over a policy, but of numeric limits the
smallest applies; an operator policy wins over a policy.
"""

from leveret.engine.lifecycle.queue_arguments import is_quorum
from leveret.engine.metadata.entities import Policy
from leveret.engine.policies.policy_set import AppliedPolicies
from leveret.engine.queues.queue import Queue
from leveret.engine.routing.exchanges.base import Exchange, alternate_of
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.settings import (
    QueueSettings,
    Source,
    arguments_source,
    compute,
)
from leveret.engine.vhost import VirtualHost


def queue_settings(arguments: Arguments, applied: AppliedPolicies) -> QueueSettings:
    """The settings of a queue with these arguments and policies."""
    sources = [arguments_source(arguments)]
    if applied.operator_policy is not None:
        sources.append(_source("operator policy", applied.operator_policy))
    if applied.policy is not None:
        sources.append(_source("policy", applied.policy))
    return compute(sources)


def _source(kind: str, policy: Policy) -> Source:
    return Source(f"{kind} '{policy.name}'", policy.definition)


def policies_of_queue(vhost: VirtualHost, queue: Queue) -> AppliedPolicies:
    """The policies that apply to a queue."""
    return vhost.policies.of_queue(queue.name, is_quorum(queue.arguments))


def apply_to_exchange(vhost: VirtualHost, exchange: Exchange) -> None:
    """Have an exchange be as its arguments and the policies say."""
    alternate = alternate_of(exchange.arguments)
    for policy in reversed(vhost.policies.of_exchange(exchange.name)):
        if not alternate and policy is not None:
            alternate = alternate_of(policy.definition)
    if exchange.alternate != alternate:
        exchange.alternate = alternate
        vhost.router.invalidate()

"""The policies of one virtual host, and which of them apply (RabbitMQ: Policies).

At most one policy and one operator policy apply to an object: of those that match its name, the one
with the highest priority; of several with that, the first by name.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from leveret.engine.access.patterns import Pattern, PatternError
from leveret.engine.metadata.entities import OperatorPolicy, Policy
from leveret.engine.values.settings import QueueSettings
from leveret.logging import get_logger

ALL: Final = "all"
QUEUES: Final = "queues"
EXCHANGES: Final = "exchanges"
CLASSIC_QUEUES: Final = "classic_queues"
QUORUM_QUEUES: Final = "quorum_queues"
STREAMS: Final = "streams"

APPLY_TO: Final = (ALL, QUEUES, EXCHANGES, CLASSIC_QUEUES, QUORUM_QUEUES, STREAMS)
"""What a policy can apply to. There are no streams: nothing has a policy that is for them."""

logger = get_logger()


class AppliedPolicies(NamedTuple):
    """The policies of one object."""

    policy: Policy | None = None
    operator_policy: Policy | None = None


NO_POLICIES: Final = AppliedPolicies()


class _Compiled(NamedTuple):
    """A policy with its pattern."""

    policy: Policy
    pattern: Pattern


class PolicySet:
    """The policies of one virtual host."""

    def __init__(
        self,
        policies: Iterable[Policy] = (),
        operator_policies: Iterable[OperatorPolicy] = (),
        before: "PolicySet | None" = None,
    ) -> None:
        """:param before: the set that this one replaces, whose patterns need no compilation."""
        self.shared_settings: dict[tuple[object, ...], QueueSettings] = {}
        """The settings of queues with equal arguments and the same policies of this set."""
        self._applied: dict[tuple[int, int], AppliedPolicies] = {}
        self._patterns: dict[str, Pattern] = {}
        known = {} if before is None else before._patterns
        self._policies = self._compiled(policies, known)
        self._operator_policies = self._compiled(operator_policies, known)

    def is_empty(self) -> bool:
        """Whether there is none, so that nothing has a policy."""
        return not self._policies and not self._operator_policies

    def of_queue(self, name: str, quorum: bool) -> AppliedPolicies:
        """The policies of a queue."""
        kinds = (ALL, QUEUES, QUORUM_QUEUES if quorum else CLASSIC_QUEUES)
        return self._matching(name, kinds)

    def of_exchange(self, name: str) -> AppliedPolicies:
        """The policies of an exchange."""
        return self._matching(name, (ALL, EXCHANGES))

    def _matching(self, name: str, kinds: tuple[str, ...]) -> AppliedPolicies:
        if self.is_empty():
            return NO_POLICIES
        policy = _first(self._policies, name, kinds)
        operator_policy = _first(self._operator_policies, name, kinds)
        if policy is None and operator_policy is None:
            return NO_POLICIES
        # One tuple for all objects that have these.
        applied = AppliedPolicies(policy, operator_policy)
        return self._applied.setdefault((id(policy), id(operator_policy)), applied)

    def _compiled(
        self, policies: Iterable[Policy], known: Mapping[str, Pattern]
    ) -> list[_Compiled]:
        """The policies in the order in which they are asked."""
        compiled: list[_Compiled] = []
        for policy in sorted(policies, key=lambda each: (-each.priority, each.name)):
            text = policy.pattern
            try:
                pattern = known.get(text) or self._patterns.get(text) or Pattern(text)
            except PatternError as error:
                logger.warning(
                    "a policy is not applied: its pattern is no regular expression",
                    vhost=policy.vhost,
                    policy=policy.name,
                    error=str(error),
                )
                continue
            self._patterns[text] = pattern
            compiled.append(_Compiled(policy, pattern))
        return compiled


def _first(policies: list[_Compiled], name: str, kinds: tuple[str, ...]) -> Policy | None:
    for policy, pattern in policies:
        if policy.apply_to in kinds and pattern.matches(name):
            return policy
    return None

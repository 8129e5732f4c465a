"""Which policies apply: the first that matches, by priority and then by name."""

import pytest

from leveret.engine.metadata.entities import OperatorPolicy, Policy
from leveret.engine.policies.policy_set import APPLY_TO, NO_POLICIES, PolicySet


def policy(name: str, pattern: str = "", apply_to: str = "all", priority: int = 0) -> Policy:
    return Policy("/", name, pattern, {"max-length": 1}, apply_to, priority)


def test_the_highest_priority_applies_and_then_the_first_name() -> None:
    low, high, same = policy("a"), policy("c", priority=1), policy("b", priority=1)
    assert PolicySet([low, high]).of_queue("q", quorum=False).policy is high
    assert PolicySet([high, low, same]).of_queue("q", quorum=False).policy is same


def test_a_policy_that_does_not_match_is_passed_over() -> None:
    narrow, wide = policy("narrow", "^a", priority=1), policy("wide")
    policies = PolicySet([narrow, wide])
    assert policies.of_queue("ab", quorum=False).policy is narrow
    assert policies.of_queue("b", quorum=False).policy is wide


@pytest.mark.parametrize("apply_to", APPLY_TO)
def test_a_policy_applies_to_a_kind(apply_to: str) -> None:
    policies = PolicySet([policy("a", apply_to=apply_to)])
    applied = {
        "classic": policies.of_queue("q", quorum=False) != NO_POLICIES,
        "quorum": policies.of_queue("q", quorum=True) != NO_POLICIES,
        "exchange": policies.of_exchange("x") != NO_POLICIES,
    }
    expected = {
        "all": {"classic", "quorum", "exchange"},
        "queues": {"classic", "quorum"},
        "exchanges": {"exchange"},
        "classic_queues": {"classic"},
        "quorum_queues": {"quorum"},
        "streams": set(),
    }
    assert {kind for kind, each in applied.items() if each} == expected[apply_to]


def test_operator_policies_apply_beside_the_others() -> None:
    user, operator = policy("a"), OperatorPolicy("/", "b", "", {"expires": 1})
    applied = PolicySet([user], [operator]).of_queue("q", quorum=False)
    assert (applied.policy, applied.operator_policy) == (user, operator)


def test_a_pattern_that_cannot_be_read_is_left_out() -> None:
    """As a newer version or another engine of regular expressions may have written it."""
    good = policy("good")
    assert PolicySet([policy("bad", "("), good]).of_queue("q", quorum=False).policy is good

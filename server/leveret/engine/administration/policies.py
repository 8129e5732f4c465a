"""Policies, operator policies and parameters (RabbitMQ: Policies; Runtime Parameters)."""

from typing import Any

from leveret.engine.access.patterns import Pattern, PatternError
from leveret.engine.administration.operator import NotFound, Operator, Refused
from leveret.engine.administration.values import check_name, check_value
from leveret.engine.administration.virtual_hosts import find_vhost
from leveret.engine.lifecycle.policy_keys import PolicyError, check_definition
from leveret.engine.metadata.entities import (
    GlobalParameter,
    OperatorPolicy,
    Parameter,
    Policy,
)
from leveret.engine.policies.policy_set import APPLY_TO

PRIORITY_MAX = 2**31 - 1


def put_policy(operator: Operator, policy: Policy) -> None:
    """Add or replace a policy, or an operator policy.

    :raises NotFound: if its virtual host does not exist.
    :raises Refused: for a name, a pattern, a definition or anything else that cannot be.
    """
    find_vhost(operator, policy.vhost)
    check_name("policy", policy.name)
    if policy.apply_to not in APPLY_TO:
        raise Refused(f"apply-to cannot be '{policy.apply_to}': {', '.join(APPLY_TO)}")
    if not -PRIORITY_MAX <= policy.priority <= PRIORITY_MAX:
        raise Refused(f"priority cannot be {policy.priority}")
    check_value("definition", policy.definition)
    try:
        Pattern(policy.pattern)
        check_definition(policy.definition, operator=isinstance(policy, OperatorPolicy))
    except PatternError as error:
        raise Refused(f"pattern: '{policy.pattern}' is no regular expression: {error}") from None
    except PolicyError as error:
        raise Refused(f"definition: {error}") from None
    operator.put(policy)


def find_policy(operator: Operator, kind: type[Policy], vhost: str, name: str) -> Policy:
    """The policy, or operator policy, of a name.

    :raises NotFound: if there is none.
    """
    policy = operator.metadata.get(kind, vhost, name)
    if policy is None:
        raise NotFound(f"policy '{name}' does not exist in virtual host '{vhost}'")
    return policy


def delete_policy(operator: Operator, kind: type[Policy], vhost: str, name: str) -> None:
    """Delete a policy, or an operator policy.

    :raises NotFound: if there is none.
    """
    find_policy(operator, kind, vhost, name)
    operator.delete(kind, vhost, name)


def put_parameter(operator: Operator, vhost: str, component: str, name: str, value: Any) -> None:
    """Set a parameter of a component, which is kept for what reads it.

    :raises NotFound: if the virtual host does not exist.
    :raises Refused: for a name or a value that cannot be.
    """
    find_vhost(operator, vhost)
    check_name("component", component)
    check_name("parameter", name)
    check_value("value", value)
    operator.put(Parameter(vhost, component, name, value))


def delete_parameter(operator: Operator, vhost: str, component: str, name: str) -> None:
    """Delete a parameter of a component.

    :raises NotFound: if there is none.
    """
    if not operator.delete(Parameter, vhost, component, name):
        raise NotFound(
            f"parameter '{name}' of '{component}' does not exist in virtual host '{vhost}'"
        )


def put_global_parameter(operator: Operator, name: str, value: Any) -> None:
    """Set a parameter of the whole broker.

    :raises Refused: for a name or a value that cannot be.
    """
    check_name("parameter", name)
    check_value("value", value)
    operator.put(GlobalParameter(name, value))


def delete_global_parameter(operator: Operator, name: str) -> None:
    """Delete a parameter of the whole broker.

    :raises NotFound: if there is none.
    """
    if not operator.delete(GlobalParameter, name):
        raise NotFound(f"global parameter '{name}' does not exist")

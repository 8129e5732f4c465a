"""Policies, as clients meet them: on what is declared later, and on what exists."""

from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue

from leveret.engine.administration import policies
from leveret.engine.administration.operator import NotFound, Operator, Refused
from leveret.engine.metadata.entities import OperatorPolicy, Policy
from tests.protocol.harness import Client, Harness


@pytest.fixture
def client(harness: Harness) -> Client:
    return harness.open_client(1)


@pytest.fixture
def operator(harness: Harness) -> Operator:
    return Operator(harness.broker.metadata, "test", "test")


def put(operator: Operator, kind: type[Policy] = Policy, **definition: Any) -> None:
    """Set a policy for everything."""
    named = {name.replace("_", "-"): value for name, value in definition.items()}
    policies.put_policy(operator, kind("/", "all", ".*", named))


def run(harness: Harness) -> None:
    harness.broker.work.run_all(harness.broker.time_slice)


def origin(harness: Harness, queue: str, setting: str) -> str:
    return harness.queue(queue).settings.origins[setting]


def test_a_policy_holds_for_what_is_declared_later(
    harness: Harness, client: Client, operator: Operator
) -> None:
    put(operator, max_length=1)
    client.declare(1, "q")
    client.publish(1, "q", b"1", b"2")
    assert harness.queue("q").message_count() == 1
    assert origin(harness, "q", "max-length") == "policy 'all'"


def test_a_policy_holds_for_what_exists_as_long_as_it_exists(
    harness: Harness, client: Client, operator: Operator
) -> None:
    client.declare(1, "q")
    client.publish(1, "q", b"1", b"2", b"3")
    put(operator, max_length=2)
    run(harness)
    assert harness.queue("q").message_count() == 2
    policies.delete_policy(operator, Policy, "/", "all")
    run(harness)
    client.publish(1, "q", b"4", b"5")
    assert harness.queue("q").message_count() == 4
    assert harness.queue("q").settings.origins == {}


@pytest.mark.parametrize(
    ("argument", "policy", "operator_policy", "effective", "origin_"),
    [
        (5, 9, None, 5, "arguments"),
        (9, 5, None, 5, "policy 'all'"),
        (9, 8, 7, 7, "operator policy 'all'"),
        (6, None, 7, 6, "arguments"),
        (None, 6, 7, 6, "policy 'all'"),
        (None, None, 7, 7, "operator policy 'all'"),
    ],
)
def test_of_numeric_limits_the_smallest_applies(
    harness: Harness,
    client: Client,
    operator: Operator,
    argument: int | None,
    policy: int | None,
    operator_policy: int | None,
    effective: int,
    origin_: str,
) -> None:
    client.declare(1, "q", arguments={} if argument is None else {"x-max-length": argument})
    if policy is not None:
        put(operator, max_length=policy)
    if operator_policy is not None:
        put(operator, OperatorPolicy, max_length=operator_policy)
    run(harness)
    assert harness.queue("q").settings.max_length == effective
    assert origin(harness, "q", "max-length") == origin_


def test_of_others_the_argument_wins_and_then_the_operator(
    harness: Harness, client: Client, operator: Operator
) -> None:
    client.declare(1, "own", arguments={"x-overflow": "drop-head"})
    client.declare(1, "none")
    put(operator, overflow="reject-publish-dlx")
    put(operator, OperatorPolicy, overflow="reject-publish")
    run(harness)
    assert harness.queue("own").settings.overflow == "drop-head"
    assert harness.queue("none").settings.overflow == "reject-publish"


def test_a_policy_is_no_difference_of_a_redeclaration(client: Client, operator: Operator) -> None:
    put(operator, max_length=2, alternate_exchange="amq.fanout")
    client.declare(1, "q")
    client.declare(1, "q")
    for _ in range(2):
        client.call(1, Exchange.Declare(exchange="x"), Exchange.DeclareOk)


def test_a_policy_sets_an_alternate_exchange(
    harness: Harness, client: Client, operator: Operator
) -> None:
    client.declare(1, "q")
    client.call(1, Queue.Bind(queue="q", exchange="amq.fanout"), Queue.BindOk)
    client.call(1, Exchange.Declare(exchange="x"), Exchange.DeclareOk)
    client.publish(1, "nowhere", b"1", exchange="x")
    put(operator, alternate_exchange="amq.fanout")
    run(harness)
    client.publish(1, "nowhere", b"2", exchange="x")
    client.send(1, Basic.Get(queue="q", no_ack=True))
    client.expect_content(1)
    policies.delete_policy(operator, Policy, "/", "all")
    run(harness)
    client.publish(1, "nowhere", b"3", exchange="x", mandatory=True)
    client.expect_content(1)


def test_a_policy_expires_a_queue(harness: Harness, client: Client, operator: Operator) -> None:
    client.declare(1, "q")
    put(operator, expires=1000)
    run(harness)
    harness.advance_clock(1001)
    assert not harness.has_queue("q")


def test_a_policy_counts_deliveries(harness: Harness, client: Client, operator: Operator) -> None:
    client.declare(1, "q")
    client.publish(1, "q", b"1")
    put(operator, delivery_limit=1)
    run(harness)
    for _ in range(2):
        client.send(1, Basic.Get(queue="q"))
        tag = client.expect_content(1).method
        assert isinstance(tag, Basic.GetOk)
        client.send(1, Basic.Reject(tag.delivery_tag, requeue=True))
    client.call(1, Basic.Get(queue="q"), Basic.GetEmpty)


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Policy("/", "p", ".*", {}), "definition: a policy needs at least one key"),
        (Policy("/", "p", ".*", {"max-lenght": 1}), "definition: unknown key 'max-lenght'"),
        (Policy("/", "p", ".*", {"max-length": -1}), "definition: 'max-length' cannot be -1"),
        (Policy("/", "p", ".*", {"max-length": "1"}), "definition: 'max-length' cannot be '1'"),
        (Policy("/", "p", ".*", {"overflow": "?"}), "definition: 'overflow' cannot be '\\?'"),
        (Policy("/", "p", ".*", {"alternate-exchange": 1}), "must be a text, not 1"),
        (Policy("/", "p", "(", {"expires": 1}), "pattern: '\\(' is no regular expression"),
        (Policy("/", "p", ".*", {"expires": 1}, "everything"), "apply-to cannot be 'everything'"),
        (Policy("/", "p", ".*", {"expires": 1}, "all", 2**40), "priority cannot be"),
        (Policy("/", "", ".*", {"expires": 1}), "the name of a policy must not be empty"),
        (
            OperatorPolicy("/", "p", ".*", {"dead-letter-exchange": "x"}),
            "definition: an operator policy cannot have 'dead-letter-exchange'",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused(operator: Operator, policy: Policy, text: str) -> None:
    with pytest.raises(Refused, match=text):
        policies.put_policy(operator, policy)
    assert not operator.metadata.all(type(policy))


def test_a_policy_needs_its_virtual_host(operator: Operator) -> None:
    with pytest.raises(NotFound, match="virtual host 'shop' does not exist"):
        policies.put_policy(operator, Policy("shop", "p", ".*", {"expires": 1}))


def test_keys_of_mirrors_and_streams_are_kept(operator: Operator) -> None:
    put(operator, ha_mode="all", max_age="7D")
    assert len(operator.metadata.all(Policy)) == 1


def test_what_is_published_meanwhile_is_bounded_too(
    harness: Harness, client: Client, operator: Operator
) -> None:
    """The change goes on in slices, and a queue that it has not come to has its old settings."""
    names = [f"q{number}" for number in range(50)]
    client.declare(1, *names)
    put(operator, max_length=1)
    client.publish(1, "q0", b"1", b"2")
    run(harness)
    assert all(harness.queue(name).settings.max_length == 1 for name in names)
    assert harness.queue("q0").message_count() == 1

"""Policies, as clients meet them: on what is declared later, and on what exists."""

from typing import Any

import pytest
from pamqp.commands import Basic, Exchange, Queue

from leveret.engine.administration import policies
from leveret.engine.administration.operator import NotFound, Operator, Refused
from leveret.engine.lifecycle.policies import alternate_and_source
from leveret.engine.lifecycle.policy_keys import OPERATOR_KEYS, QUEUE_KEYS
from leveret.engine.metadata.entities import OperatorPolicy, Policy
from leveret.engine.values.arguments import Arguments
from leveret.engine.values.settings import LIMITS, SHARED, QueueSettings
from tests.protocol.harness import Client, Harness

NOTHING = Arguments({}, {})


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


SETTINGS: dict[str, tuple[str, Any]] = {
    "message-ttl": ("message_ttl", 1000),
    "expires": ("expires", 60_000),
    "max-length": ("max_length", 3),
    "max-length-bytes": ("max_length_bytes", 300),
    "overflow": ("overflow", "reject-publish"),
    "dead-letter-exchange": ("dead_letter_exchange", "amq.fanout"),
    "dead-letter-routing-key": ("dead_letter_routing_key", "dead"),
    "delivery-limit": ("delivery_limit", 4),
    "delayed-retry-type": ("retry_type", "failed"),
    "delayed-retry-min": ("retry_min", 10),
    "delayed-retry-max": ("retry_max", 20),
    "delayed-retry-multiplier": ("retry_multiplier", 2),
    "consumer-timeout": ("consumer_timeout", 5000),
}
"""The setting that each key sets, and a value of it."""

NEEDS = {"dead-letter-routing-key": {"dead-letter-exchange": "amq.fanout"}}
"""Keys that another has to be beside."""


def test_every_key_has_its_case() -> None:
    assert set(QUEUE_KEYS) == set(SETTINGS)


@pytest.mark.parametrize("key", SETTINGS)
@pytest.mark.parametrize("declared", ["before", "later"])
def test_a_key_sets_what_its_argument_sets(
    harness: Harness, client: Client, operator: Operator, key: str, declared: str
) -> None:
    attribute, value = SETTINGS[key]
    client.declare(1, "with-argument", arguments={f"x-{key}": value, **_arguments(key)})
    expected = getattr(harness.queue("with-argument").settings, attribute)
    unset = getattr(QueueSettings(), attribute)
    assert expected == value != unset
    if declared == "before":
        client.declare(1, "q")
    policies.put_policy(operator, Policy("/", "one", "^q$", {key: value, **NEEDS.get(key, {})}))
    run(harness)
    if declared == "later":
        client.declare(1, "q")
    assert getattr(harness.queue("q").settings, attribute) == expected
    assert origin(harness, "q", key) == "policy 'one'"
    policies.delete_policy(operator, Policy, "/", "one")
    run(harness)
    assert getattr(harness.queue("q").settings, attribute) == unset
    assert harness.queue("q").settings.origins == {}


def _arguments(key: str) -> dict[str, Any]:
    return {f"x-{name}": value for name, value in NEEDS.get(key, {}).items()}


@pytest.mark.parametrize("key", [key for key in SETTINGS if key not in LIMITS])
def test_an_argument_wins_over_both_policies(
    harness: Harness, client: Client, operator: Operator, key: str
) -> None:
    attribute, value = SETTINGS[key]
    other = {"overflow": "drop-head", "delayed-retry-type": "all"}.get(key)
    if other is None:
        other = f"{value}-other" if isinstance(value, str) else value + 1
    client.declare(1, "q", arguments={f"x-{key}": value, **_arguments(key)})
    values: dict[str, Any] = {key: other, **NEEDS.get(key, {})}
    put(operator, **values)
    if key in OPERATOR_KEYS:
        put(operator, OperatorPolicy, **{key: other})
    run(harness)
    assert getattr(harness.queue("q").settings, attribute) == value
    assert origin(harness, "q", key) == "arguments"


@pytest.mark.parametrize(
    ("apply_to", "affected"),
    [
        ("all", {"classic", "quorum", "exchange"}),
        ("queues", {"classic", "quorum"}),
        ("classic_queues", {"classic"}),
        ("quorum_queues", {"quorum"}),
        ("exchanges", {"exchange"}),
        ("streams", set()),
    ],
)
def test_a_policy_applies_to_a_kind(
    harness: Harness, client: Client, operator: Operator, apply_to: str, affected: set[str]
) -> None:
    client.declare(1, "classic")
    client.declare(1, "quorum", durable=True, arguments={"x-queue-type": "quorum"})
    client.call(1, Exchange.Declare(exchange="exchange"), Exchange.DeclareOk)
    definition = {"max-length": 1, "alternate-exchange": "amq.fanout"}
    policies.put_policy(operator, Policy("/", "p", "", definition, apply_to))
    run(harness)
    names = {name for name in ("classic", "quorum") if harness.queue(name).settings.origins}
    if harness.broker.vhosts["/"].exchanges["exchange"].alternate:
        names.add("exchange")
    assert {name for name in names if name != "quorum"} == affected - {"quorum"}
    assert ("max-length" in harness.queue("quorum").settings.origins) == ("quorum" in affected)


def test_the_highest_priority_applies_alone(
    harness: Harness, client: Client, operator: Operator
) -> None:
    client.declare(1, "q")
    for name, priority, key in (("a", 1, "max-length"), ("b", 2, "expires"), ("c", 2, "overflow")):
        value = "reject-publish" if key == "overflow" else 60_000
        policies.put_policy(operator, Policy("/", name, "^q", {key: value}, priority=priority))
    run(harness)
    assert harness.queue("q").settings.origins == {"expires": "policy 'b'"}


def test_the_argument_of_an_exchange_wins(
    harness: Harness, client: Client, operator: Operator
) -> None:
    own: dict[str, Any] = {"alternate-exchange": "amq.topic"}
    client.call(1, Exchange.Declare(exchange="own", arguments=own), Exchange.DeclareOk)
    put(operator, alternate_exchange="amq.fanout")
    run(harness)
    vhost = harness.broker.vhosts["/"]
    exchanges = vhost.exchanges
    assert exchanges["own"].alternate == "amq.topic"
    assert exchanges["amq.direct"].alternate == "amq.fanout"
    assert alternate_and_source(vhost, exchanges["own"]) == ("amq.topic", "arguments")
    found = alternate_and_source(vhost, exchanges["amq.direct"])
    assert found == ("amq.fanout", "policy 'all'")


def test_an_operator_policy_may_have_keys_without_an_effect(operator: Operator) -> None:
    put(operator, OperatorPolicy, max_in_memory_length=5, ha_mode="all")
    assert len(operator.metadata.all(OperatorPolicy)) == 1


def test_queues_with_the_same_policies_share_their_settings(
    harness: Harness, client: Client, operator: Operator
) -> None:
    names = [f"q{number}" for number in range(20)]
    client.declare(1, *names)
    put(operator, max_length=5)
    put(operator, OperatorPolicy, expires=60_000)
    run(harness)
    assert len({id(harness.queue(name).settings) for name in names}) == 1
    assert len({id(harness.queue(name).policies) for name in names}) == 1
    policies.delete_policy(operator, Policy, "/", "all")
    policies.delete_policy(operator, OperatorPolicy, "/", "all")
    run(harness)
    assert {id(harness.queue(name).settings) for name in names} == {id(SHARED.of(NOTHING)[1])}


def test_many_changes_are_applied_in_two_passes(
    harness: Harness, client: Client, operator: Operator
) -> None:
    """Each queue is looked at twice at most, however many policies are set meanwhile."""
    names = [f"q{number}" for number in range(20)]
    client.declare(1, *names)
    work, time_slice = harness.broker.work, harness.broker.time_slice
    policies.put_policy(operator, Policy("/", "p0", "^q", {"max-length": 1}))
    for number in range(1, 10):
        time_slice.begin(0)
        work.run_next(time_slice)
        policies.put_policy(
            operator, Policy("/", f"p{number}", "^q", {"max-length": number + 1}, priority=number)
        )
    slices = 0
    while not work.is_empty():
        time_slice.begin(0)
        work.run_next(time_slice)
        slices += 1
    assert {int(harness.queue(name).settings.max_length) for name in names} == {10}
    objects = len(names) + len(harness.broker.vhosts["/"].exchanges)
    assert slices <= 2 * objects + 2


def test_changes_before_the_first_slice_are_applied_in_one_pass(
    harness: Harness, client: Client, operator: Operator
) -> None:
    client.declare(1, *[f"q{number}" for number in range(20)])
    for number in range(10):
        policies.put_policy(operator, Policy("/", f"p{number}", "^q", {"max-length": number + 1}))
    work, time_slice = harness.broker.work, harness.broker.time_slice
    slices = 0
    while not work.is_empty():
        time_slice.begin(0)
        work.run_next(time_slice)
        slices += 1
    assert harness.queue("q7").settings.max_length == 1
    assert slices <= 20 + len(harness.broker.vhosts["/"].exchanges) + 1

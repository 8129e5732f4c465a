"""What a restart finds of virtual hosts, users and permissions."""

import pytest

from leveret.config import Auth, Config
from leveret.engine.administration import users, virtual_hosts
from leveret.engine.administration.operator import NotFound, Operator, Refused
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import Permission, User
from leveret.engine.routing.sink import ACCEPTED, AWAITS_COMMIT
from leveret.engine.values.message import Message
from leveret_storage.errors import StorageError
from leveret_storage.media.executor import InlineExecutor
from tests.storage.faulty import FaultyMedium
from tests.storage.owning import take
from tests.unit.engine.declaring import declare_plain_queue
from tests.unit.engine.queues.consumers import message


def failed(error: StorageError) -> None:
    raise error


AUTH = Auth()


class Started:
    """A broker on a medium."""

    def __init__(self, medium: FaultyMedium, auth: Auth = AUTH) -> None:
        self.medium = medium
        self.broker = Broker(Config(auth=auth))
        take(medium)
        self.broker.open_store(medium, InlineExecutor(), InlineExecutor(), failed)
        self.operator = Operator(self.broker.metadata, "test", "test")

    def again(self, auth: Auth = AUTH) -> "Started":
        """The next process, after power was lost."""
        self.broker.work.run_all(self.broker.time_slice)
        self.broker.commit(urgent=True)
        return Started(self.medium.crash(), auth)

    def users(self) -> set[str]:
        return {name for (name,) in self.broker.metadata.all(User)}

    def fill(self, vhost: str) -> None:
        """Declare a queue, with a persistent message in it."""
        host = self.broker.vhosts[vhost]
        declare_plain_queue(host, "q", durable=True)
        route = host.router.route(b"\0\1q")
        published = Message(route.raw, message().header, b"1", True)
        assert host.publisher.publish(published, route.sinks) == ACCEPTED | AWAITS_COMMIT


@pytest.fixture
def first() -> Started:
    return Started(FaultyMedium(1))


def test_the_first_start_makes_the_user_of_the_configuration() -> None:
    auth = Auth(default_user="ann", default_pass="123", default_vhost="shop")
    first = Started(FaultyMedium(1), auth)
    assert first.broker.accounts.authenticate("ann", b"123")
    assert first.users() == {"ann"}
    assert first.broker.metadata.get(Permission, "ann", "shop") is not None
    later = first.again(Auth(default_user="bob", default_vhost="shop"))
    assert later.users() == {"ann"}
    assert later.broker.accounts.authenticate("ann", b"123")


def test_what_operators_did_is_found_again(first: Started) -> None:
    operator = first.operator
    virtual_hosts.put_vhost(operator, "shop", description="a shop", tags=["x"])
    virtual_hosts.set_limits(operator, "shop", {"max-queues": 3})
    users.add_user(operator, "ann", "secret", ["monitoring"])
    users.set_permission(operator, "ann", "shop", "^a", "^b", "^c")
    users.set_topic_permission(operator, "ann", "shop", "t", "^d", "^e")
    users.delete_user(operator, "guest")
    before = list(first.broker.metadata.records())
    for _ in range(2):
        first = first.again()
        assert list(first.broker.metadata.records()) == before
        assert first.broker.vhosts.keys() == {"/", "shop"}
        assert first.broker.vhosts["shop"].queues_max == 3
        assert first.broker.accounts.authenticate("ann", b"secret")
        assert not first.broker.accounts.authenticate("guest", b"guest")


def test_messages_of_a_new_virtual_host_are_kept(first: Started) -> None:
    virtual_hosts.put_vhost(first.operator, "shop")
    first.fill("shop")
    first = first.again()
    assert first.broker.vhosts["shop"].queues["q"].message_count() == 1


def test_a_deleted_virtual_host_is_gone_with_its_messages(first: Started) -> None:
    virtual_hosts.put_vhost(first.operator, "shop")
    first.fill("shop")
    first.fill("/")
    first = first.again()
    users.set_permission(first.operator, "guest", "shop", "", "", "")
    virtual_hosts.delete_vhost(first.operator, "shop")
    assert "shop" not in first.broker.vhosts
    assert first.broker.metadata.get(Permission, "guest", "shop") is None
    first = first.again()
    assert first.broker.vhosts.keys() == {"/"}
    assert first.broker.vhosts["/"].queues["q"].message_count() == 1
    virtual_hosts.put_vhost(first.operator, "shop")
    assert first.broker.vhosts["shop"].queues == {}
    first.fill("shop")
    assert first.again().broker.vhosts["shop"].queues["q"].message_count() == 1


def test_a_crash_during_the_deletion_of_a_virtual_host_deletes_it(first: Started) -> None:
    """The deletion is one record, whatever of its queues was removed."""
    virtual_hosts.put_vhost(first.operator, "shop")
    first.fill("shop")
    virtual_hosts.delete_vhost(first.operator, "shop")
    first.broker.commit(urgent=True)
    assert Started(first.medium.crash()).broker.vhosts.keys() == {"/"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda on: users.add_user(on, "guest", "x"), "user 'guest' already exists"),
        (lambda on: users.add_user(on, "ann", ""), "a password must not be empty"),
        (lambda on: users.add_user(on, "", "x"), "the name of a user must not be empty"),
        (lambda on: users.add_user(on, "é" * 128, "x"), "must not be longer than 255 bytes"),
        (
            lambda on: users.put_user(on, "ann", password_hash="x"),
            "user 'ann': a password hash that is not base64",
        ),
        (
            lambda on: users.set_permission(on, "guest", "/", "(", "", ""),
            "configure: '\\(' is no regular expression: missing \\) at position 1",
        ),
        (
            lambda on: users.set_limits(on, "guest", {"max-queues": 1}),
            "unknown limit 'max-queues'; known: max-connections, max-channels",
        ),
        (
            lambda on: virtual_hosts.set_limits(on, "/", {"max-queues": True}),
            "the limit 'max-queues' must be a whole number, not True",
        ),
        (
            lambda on: virtual_hosts.put_vhost(on, "/", default_queue_type="fast"),
            "unknown queue type 'fast'",
        ),
    ],
)
def test_what_cannot_be_is_refused(first: Started, change: object, text: str) -> None:
    before = list(first.broker.metadata.records())
    assert callable(change)
    with pytest.raises(Refused, match=text):
        change(first.operator)
    assert list(first.broker.metadata.records()) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda on: users.delete_user(on, "ann"),
        lambda on: users.change_password(on, "ann", "x"),
        lambda on: users.set_tags(on, "ann", []),
        lambda on: users.set_permission(on, "ann", "/", "", "", ""),
        lambda on: users.set_permission(on, "guest", "shop", "", "", ""),
        lambda on: users.clear_permission(on, "guest", "shop"),
        lambda on: virtual_hosts.delete_vhost(on, "shop"),
        lambda on: virtual_hosts.set_limits(on, "shop", {}),
    ],
)
def test_what_does_not_exist_is_not_found(first: Started, change: object) -> None:
    assert callable(change)
    with pytest.raises(NotFound, match=r"'(ann|shop)' does not exist"):
        change(first.operator)


def test_a_protected_virtual_host_cannot_be_deleted(first: Started) -> None:
    virtual_hosts.put_vhost(first.operator, "/", protected_from_deletion=True)
    with pytest.raises(Refused, match="virtual host '/' is protected from deletion"):
        virtual_hosts.delete_vhost(first.operator, "/")
    virtual_hosts.put_vhost(first.operator, "/", protected_from_deletion=False)
    virtual_hosts.delete_vhost(first.operator, "/")
    assert "/" not in first.broker.vhosts

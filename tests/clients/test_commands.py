"""The command line against a running broker, as an operator types it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from pika.exceptions import ProbableAuthenticationError

from leveret.commands.client import Client
from leveret.control_address import SOCKET_NAME
from tests.support.brokers import Leveret

TIMEOUT_S = 120.0


class CommandLine:
    """Runs commands against the broker of a data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "leveret", *arguments, "--data-dir", str(self.data)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """The output of a command that succeeds."""
        ended = self.run(*arguments, stdin=stdin)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        return ended.stdout

    def refused(self, *arguments: str, code: int = 1) -> str:
        """The one line with which a command fails."""
        ended = self.run(*arguments)
        assert ended.returncode == code, ended
        assert ended.stdout == ""
        assert ended.stderr.startswith("leveret: ")
        assert ended.stderr.count("\n") == 1
        return ended.stderr.removeprefix("leveret: ").rstrip("\n")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leveret]:
    with Leveret(data_dir=tmp_path_factory.mktemp("commands") / "data") as broker:
        yield broker


@pytest.fixture(scope="module")
def leveret(broker: Leveret) -> CommandLine:
    return CommandLine(broker.data_dir)


@pytest.fixture
def client(leveret: CommandLine) -> Client:
    return Client(leveret.data)


def test_a_user_gets_a_password_and_rights(broker: Leveret, leveret: CommandLine) -> None:
    leveret("user", "add", "ann", "--tag", "monitoring", stdin="first\n")
    leveret("vhost", "add", "shop", "--description", "a shop")
    leveret("permission", "set", "ann", "^ann", ".*", ".*", "--vhost", "shop")
    leveret("user", "password", "ann", stdin="second\n")
    parameters = pika.URLParameters(broker.url)
    parameters.virtual_host = "shop"
    parameters.credentials = pika.PlainCredentials("ann", "first")
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(parameters)
    parameters.credentials = pika.PlainCredentials("ann", "second")
    with pika.BlockingConnection(parameters) as connection:
        connection.channel().queue_declare("ann's")
        listed = json.loads(leveret("list", "connections", "--json", "--filter", "user=ann"))
        assert [each["vhost"] for each in listed] == ["shop"]
    assert leveret("list", "permissions", "--filter", "user=ann") == (
        "vhost  user  configure  write  read\nshop   ann   ^ann       .*     .*\n"
    )
    leveret("user", "delete", "ann")
    leveret("vhost", "delete", "shop")
    assert leveret("list", "vhosts", "name") == "name\n/\n"


def test_a_message_goes_through_what_was_declared(leveret: CommandLine) -> None:
    leveret("declare", "queue", "orders", "--argument", "x-max-length=2", "--type", "quorum")
    leveret("declare", "exchange", "events", "topic")
    leveret("bind", "events", "orders", "order.#")
    leveret("publish", "events", "order.new", '{"id": 1}', "--property", "priority=3")
    leveret("publish", "", "orders", stdin="from stdin")
    found = json.loads(leveret("get", "orders", "--count", "5", "--json"))
    assert [each["payload"] for each in found] == ['{"id": 1}', "from stdin"]
    assert found[0]["properties"]["priority"] == 3
    assert leveret("list", "queues", "name", "messages_ready", "--filter", "name=orders") == (
        "name    messages_ready\norders               2\n"
    )
    leveret("get", "orders", "--ack")
    leveret("purge", "orders")
    assert leveret("get", "orders", "--json") == "[]\n"
    leveret("unbind", "events", "orders", "order.#")
    assert leveret.refused("publish", "events", "order.new", "x") == "no queue took the message"
    leveret("delete", "queue", "orders")
    leveret("delete", "exchange", "events")


def test_a_policy_holds_until_it_is_cleared(leveret: CommandLine, client: Client) -> None:
    leveret("declare", "queue", "bounded")
    leveret("policy", "set", "p", "^bound", '{"max-length": 1}', "--apply-to", "queues")
    queue = client.get("queues", "/", "bounded")
    assert (queue["policy"], queue["settings_from"]) == ("p", {"max-length": "policy 'p'"})
    leveret("policy", "clear", "p")
    assert client.get("queues", "/", "bounded")["policy"] is None
    leveret("delete", "queue", "bounded")


def test_streams_are_left_out_of_an_import(leveret: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "definitions.json"
    stream = {"vhost": "/", "name": "a-stream", "arguments": {"x-queue-type": "stream"}}
    queue = {"vhost": "/", "name": "beside-it"}
    bindings = [
        {"vhost": "/", "source": "amq.direct", "destination": each["name"]}
        for each in (stream, queue)
    ]
    file.write_text(json.dumps({"queues": [stream, queue], "bindings": bindings}))
    assert leveret.refused("definitions", "import", str(file)) == (
        "queues[0] ('a-stream'): queue type 'stream' is not supported"
    )
    ended = leveret.run("definitions", "import", "--without-streams", str(file))
    assert ended.returncode == 0
    assert ended.stderr.startswith("left out: stream 'a-stream'\n")
    exported = json.loads(leveret("definitions", "export"))
    assert "a-stream" not in json.dumps(exported)
    assert any(each["destination"] == "beside-it" for each in exported["bindings"])
    leveret("delete", "queue", "beside-it")


def test_definitions_are_carried_over(leveret: CommandLine, tmp_path: Path) -> None:
    leveret("vhost", "add", "carried/over")
    leveret("vhost", "limit", "carried/over", "max-queues", "10")
    leveret("declare", "queue", "q", "--vhost", "carried/over", "--argument", "x-max-length=1")
    leveret("bind", "amq.topic", "q", "a.#", "--vhost", "carried/over")
    file = tmp_path / "definitions.json"
    leveret("definitions", "export", str(file))
    exported = json.loads(file.read_text())
    leveret("vhost", "delete", "carried/over")
    ended = leveret.run("definitions", "import", str(file))
    assert ended.returncode == 0
    assert "nothing is deleted" in ended.stderr
    assert json.loads(leveret("definitions", "export")) == exported
    leveret("vhost", "delete", "carried/over")


def test_a_wrong_file_changes_nothing(leveret: CommandLine, tmp_path: Path) -> None:
    before = leveret("definitions", "export")
    file = tmp_path / "definitions.json"
    entries = [{"name": "good", "tags": ""}, {"name": "bad", "tags": "", "password_hash": "?"}]
    file.write_text(json.dumps({"users": entries}))
    assert leveret.refused("definitions", "import", str(file)) == (
        "users[1] ('bad'): user 'bad': a password hash that is not base64"
    )
    file.write_text('{"queues": [{"name": 1}]}')
    assert leveret.refused("definitions", "import", str(file)) == (
        "Expected `str`, got `int` - at `$.queues[0].name`"
    )
    file.write_text("{")
    assert leveret.refused("definitions", "import", str(file), code=2).startswith(
        f"{file}: no JSON"
    )
    assert leveret("definitions", "export") == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("user", "delete", "nobody"), "user 'nobody' does not exist"),
        (("user", "add", "guest"), "user 'guest' already exists"),
        (("delete", "queue", "none"), "queue 'none' does not exist in virtual host '/'"),
        (("purge", "none", "--vhost", "none"), "virtual host 'none' does not exist"),
        (("permission", "set", "guest", "(", "", ""), "configure: '(' is no regular expression"),
        (("policy", "set", "p", ".*", '{"max": 1}'), "definition: unknown key 'max'"),
        (("unbind", "amq.topic", "none"), "no binding of 'none' to 'amq.topic' with this key"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    leveret: CommandLine, arguments: tuple[str, ...], reason: str
) -> None:
    assert leveret.refused(*arguments).startswith(reason)


def test_without_a_broker_there_is_nobody_to_ask(tmp_path: Path) -> None:
    nowhere = CommandLine(tmp_path)
    assert nowhere.refused("status", code=4) == f"no broker listens on {tmp_path / SOCKET_NAME}"


def test_a_killed_broker_leaves_nothing_that_hinders_the_next(tmp_path: Path) -> None:
    data = tmp_path / "data"
    leveret = CommandLine(data)
    with Leveret(data_dir=data) as broker:
        broker.kill()
        assert "does not answer" in leveret.refused("status", code=4)
    with Leveret(data_dir=data):
        assert leveret("list", "users", "name") == "name\nguest\n"


def test_the_socket_is_the_owners(leveret: CommandLine) -> None:
    mode = (leveret.data / "control.sock").stat().st_mode
    assert mode & 0o077 == 0


def test_connections_are_closed_with_a_reason(broker: Leveret, leveret: CommandLine) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    leveret("close-connection", "--user", "guest", "--reason", "for a test")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        connection.process_data_events(time_limit=TIMEOUT_S)
    assert (closed.value.reply_code, closed.value.reply_text) == (
        320,
        "CONNECTION_FORCED - for a test",
    )


def test_messages_are_moved_to_a_queue_and_to_an_exchange(leveret: CommandLine) -> None:
    for queue in ("moved-from", "moved-to"):
        leveret("declare", "queue", queue)
    for payload in ("first", "second", "third"):
        leveret("publish", "", "moved-from", payload, "--property", "priority=3")
    assert leveret("move", "moved-from", "moved-to", "--count", "1") == "1 message moved\n"
    leveret("bind", "amq.topic", "moved-to", "moved-from")
    assert leveret("move", "moved-from", "amq.topic", "--to-exchange") == "2 messages moved\n"
    assert leveret("move", "moved-from", "moved-to") == "0 messages moved\n"
    assert leveret("copy", "moved-to", "moved-from", "--count", "2") == "2 messages copied\n"
    looked = json.loads(leveret("peek", "moved-from", "--payload", "econ", "--json"))
    assert leveret("discard", "moved-from", looked[0]["position"]) == "1 message discarded\n"
    assert leveret("replay", "moved-from") == "0 messages replayed\n"
    assert json.loads(leveret("get", "moved-from", "--json"))[0]["payload"] == "first"
    found = json.loads(leveret("get", "moved-to", "--count", "5", "--json"))
    assert [(each["payload"], each["exchange"], each["redelivered"]) for each in found] == [
        ("first", "", False),
        ("second", "amq.topic", False),
        ("third", "amq.topic", False),
    ]
    assert all(each["properties"]["priority"] == 3 for each in found)
    assert leveret.refused("move", "moved-to", "moved-to") == (
        "a queue's messages cannot be moved to itself"
    )
    for queue in ("moved-from", "moved-to"):
        leveret("delete", "queue", queue)


def test_what_keeps_messages_is_said(leveret: CommandLine) -> None:
    leveret("declare", "queue", "kept")
    leveret("publish", "", "kept", "x")
    told = leveret("diagnose", "kept")
    assert told.startswith("error: No consumer yet, since ")
    assert told in leveret("diagnose").replace("/ kept: ", "")
    assert json.loads(leveret("diagnose", "kept", "--json"))[0]["code"] == "no_consumers"
    leveret("bind", "amq.topic", "kept", "a.#")
    assert leveret("route", "amq.topic", "a.b") == "queue  by\nkept   amq.topic 'a.#'\n"
    assert leveret("route", "amq.headers", "a", "--header", "n=1") == "queue  by\n"
    leveret("delete", "queue", "kept")


def test_delayed_messages_are_listed_and_cancelled(leveret: CommandLine) -> None:
    leveret(
        "declare", "exchange", "later", "x-delayed-message", "--argument", "x-delayed-type=direct"
    )
    leveret("publish", "later", "k", "x", "--property", 'headers={"x-delay": 3600000}')
    (message,) = json.loads(leveret("delayed", "list", "later", "--json"))
    leveret("delayed", "cancel", "later", message["id"])
    assert json.loads(leveret("delayed", "list", "later", "--json")) == []
    assert "waits in exchange" in leveret.refused("delayed", "cancel", "later", message["id"])
    gone = leveret.refused("cancel-consumer", "a -> b", "1", "tag")
    assert gone == "channel 1 of connection 'a -> b' does not exist"
    leveret("delete", "exchange", "later")


def test_a_message_that_no_queue_takes_stays(leveret: CommandLine) -> None:
    leveret("declare", "queue", "stays")
    leveret("publish", "", "stays", "here")
    ended = leveret.run("move", "stays", "amq.direct", "--to-exchange", "--routing-key", "none")
    assert (ended.returncode, ended.stdout) == (1, "0 messages moved\n")
    assert ended.stderr == "leveret: no queue took the next message, with routing key 'none'\n"
    assert "here" in leveret("get", "stays")
    leveret("delete", "queue", "stays")


def test_messages_that_were_moved_survive_a_kill(tmp_path: Path) -> None:
    leveret = CommandLine(tmp_path / "data")
    with Leveret(data_dir=leveret.data) as broker:
        for queue in ("from", "to"):
            leveret("declare", "queue", queue)
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            channel = connection.channel()
            channel.tx_select()
            for _ in range(1200):
                channel.basic_publish("", "from", b"x", pika.BasicProperties(delivery_mode=2))
            channel.tx_commit()
        assert leveret("move", "from", "to", "--count", "1100") == "1100 messages moved\n"
        broker.kill()
    with Leveret(data_dir=leveret.data):
        assert leveret("list", "queues", "name", "messages") == (
            "name  messages\nfrom       100\nto        1100\n"
        )


def test_arguments_of_a_queue_change_and_are_kept(tmp_path: Path) -> None:
    leveret = CommandLine(tmp_path / "data")
    with Leveret(data_dir=leveret.data):
        leveret("declare", "queue", "q", "--argument", "x-max-length=10")
        for payload in ("first", "second"):
            leveret("publish", "", "q", payload)
        leveret("change", "queue", "q", "x-max-length=1", "message-ttl=3600000")
        found = json.loads(leveret("get", "q", "--count", "5", "--json"))
        assert [each["payload"] for each in found] == ["second"]
        assert "x-max-priority" in leveret.refused("change", "queue", "q", "x-max-priority=3")
        assert "invalid arg 'x-expires'" in leveret.refused("change", "queue", "q", "x-expires=-1")
    with Leveret(data_dir=leveret.data):
        (queue,) = json.loads(leveret("list", "queues", "--json"))
        assert queue["arguments"] == {"x-max-length": 1, "x-message-ttl": 3600000}
        leveret("change", "queue", "q", "x-max-length=null", "x-message-ttl=null")
        (queue,) = json.loads(leveret("list", "queues", "--json"))
        assert queue["arguments"] == {}


def test_limits_are_set_and_removed(leveret: CommandLine) -> None:
    leveret("limit", "vhost", "/", "max-queues", "1000")
    leveret("limit", "user", "guest", "max-channels", "50")
    assert leveret("list", "vhost-limits") == ('vhost  value\n/      {"max-queues":1000}\n')
    assert leveret("list", "user-limits") == ('user   value\nguest  {"max-channels":50}\n')
    leveret("limit", "clear", "vhost", "/", "max-queues")
    leveret("limit", "clear", "user", "guest", "max-channels")
    assert leveret("list", "vhost-limits", "--json") == "[]\n"


@pytest.mark.parametrize("arguments", [(), ("--argument", "x-max-priority=2")])
def test_a_look_changes_nothing(leveret: CommandLine, arguments: tuple[str, ...]) -> None:
    leveret("declare", "queue", "looked-at", *arguments)
    for payload in ("first", "second", "third"):
        leveret("publish", "", "looked-at", payload)
    for _ in range(2):
        looked = json.loads(leveret("peek", "looked-at", "--count", "2", "--json"))
        assert [(each["payload"], each["redelivered"]) for each in looked] == [
            ("first", False),
            ("second", False),
        ]
    got = json.loads(leveret("get", "looked-at", "--json"))
    assert (got[0]["payload"], got[0]["redelivered"]) == ("first", False)
    looked = json.loads(leveret("peek", "looked-at", "--count", "9", "--json"))
    assert [(each["payload"], each["redelivered"]) for each in looked] == [
        ("first", True),
        ("second", False),
        ("third", False),
    ]
    leveret("delete", "queue", "looked-at")


def test_a_look_finds_messages_that_are_on_disk(tmp_path: Path) -> None:
    leveret = CommandLine(tmp_path / "data")
    payloads = [f"message {number}" for number in range(50)]
    with Leveret(data_dir=leveret.data):
        leveret("declare", "queue", "q")
        with pika.BlockingConnection(pika.URLParameters(_url(leveret))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for payload in payloads:
                channel.basic_publish("", "q", payload, pika.BasicProperties(delivery_mode=2))
    with Leveret(data_dir=leveret.data):
        looked = json.loads(leveret("peek", "q", "--count", "100", "--json"))
        assert [each["payload"] for each in looked] == payloads
        assert not any(each["redelivered"] for each in looked)
        assert "expected 0 to 100" in leveret.refused("peek", "q", "--count", "101")


def _url(leveret: CommandLine) -> str:
    listener = Client(leveret.data).get("overview")["listeners"][0]
    return f"amqp://guest:guest@127.0.0.1:{listener['port']}/"


def _rabbitmqctl(leveret: CommandLine, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "leveret", "rabbitmqctl", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "LEVERET_STORAGE_DATA_DIR": str(leveret.data)},
    )


def test_scripts_set_limits_by_the_names_of_rabbitmq(leveret: CommandLine) -> None:
    def output(*arguments: str) -> str:
        ended = _rabbitmqctl(leveret, *arguments)
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        return ended.stdout

    definition = '{"max-queues": 500}'
    assert output("set_vhost_limits", "-p", "/", definition) == (
        f'Setting vhost limits to "{definition}" for vhost "/" ...\n'
    )
    assert output("-q", "list_vhost_limits") == '{"max-queues":500}\n'
    output("-q", "clear_vhost_limits")
    assert output("-q", "list_vhost_limits") == "\n"
    assert output("-q", "list_user_permissions", "guest") == (
        "vhost\tconfigure\twrite\tread\n/\t.*\t.*\t.*\n"
    )
    assert output("-q", "list_users") == "user\ttags\nguest\t[administrator]\n"
    wrong = _rabbitmqctl(leveret, "set_user_limits", "guest", "[]")
    assert (wrong.returncode, wrong.stdout.count("\n")) == (64, 1)
    assert wrong.stderr.startswith("Error:\nthe limits are no JSON object")


def test_a_list_has_the_columns_and_rows_that_are_asked_for(leveret: CommandLine) -> None:
    for name, messages in (("listed-a", 0), ("listed-b", 1), ("listed-c", 2)):
        leveret("declare", "queue", name)
        for _ in range(messages):
            leveret("publish", "", name, "payload")

    def names(*filters: str) -> list[str]:
        given = [word for each in ("name~listed-", *filters) for word in ("--filter", each)]
        return leveret("list", "queues", "name", *given).split()[1:]

    assert names() == ["listed-a", "listed-b", "listed-c"]
    assert names("messages>0") == ["listed-b", "listed-c"]
    assert names("messages>0", "messages<2") == ["listed-b"]
    assert names("messages=2") == ["listed-c"]
    assert names("name!=listed-a", "durable=true") == ["listed-b", "listed-c"]
    assert names("policy=") == ["listed-a", "listed-b", "listed-c"]
    assert names("arguments.x-max-length=1") == []
    refused = leveret.refused("list", "queues", "nmae", code=2)
    assert refused == "there is no column 'nmae'; did you mean 'name'?"
    refused = leveret.refused("list", "queues", "--filter", "messages>many", code=2)
    assert refused == "--filter: 'many' in 'messages>many' is no number"
    assert "expected COLUMN=TEXT" in leveret.refused("list", "queues", "--filter", "name", code=2)

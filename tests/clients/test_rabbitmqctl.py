"""The commands of rabbitmqctl and rabbitmq-diagnostics: output and exit codes.

Those of TRANSCRIPT and LISTS were written down from RabbitMQ 3.10.8. Where Leveret says something
of its own, the test says so.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pika
import pytest
from click.testing import CliRunner
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ConnectionClosedByBroker

from leveret.commands.rabbitmqctl import group
from tests.support.brokers import Leveret, wait_until


class Ended(NamedTuple):
    """The exit code of a command, and its output."""

    code: int
    output: str


class Ctl:
    """Runs commands against a broker."""

    def __init__(self, broker: Leveret) -> None:
        self.broker = broker

    def run(self, *arguments: str) -> Ended:
        ended = CliRunner().invoke(
            group, arguments, env={"LEVERET_STORAGE_DATA_DIR": str(self.broker.data_dir)}
        )
        assert isinstance(ended.exception, SystemExit | None), ended
        return Ended(ended.exit_code, ended.output)

    def __call__(self, *arguments: str) -> str:
        """The output of a command that succeeds."""
        ended = self.run(*arguments)
        assert ended.code == 0, ended
        return ended.output


@pytest.fixture(scope="module")
def ctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctl]:
    with Leveret(data_dir=tmp_path_factory.mktemp("rabbitmqctl") / "data") as broker:
        yield Ctl(broker)


@pytest.fixture(scope="module")
def channel(ctl: Ctl) -> Iterator[BlockingChannel]:
    """A channel of a client that has two queues, one with a message, and a consumer."""
    with pika.BlockingConnection(pika.URLParameters(ctl.broker.url)) as connection:
        channel = connection.channel()
        arguments = {"x-max-priority": 3, "x-message-ttl": 60000}
        channel.queue_declare("qa", durable=True, arguments=arguments)
        channel.queue_declare("qb")
        channel.basic_publish("", "qb", b"hi")
        channel.queue_bind("qb", "amq.topic", "a.#", arguments={"x": "y"})
        channel.basic_consume(
            "qa", lambda *delivery: None, consumer_tag="tag", arguments={"x-priority": 5}
        )
        yield channel


def lines(output: str) -> list[str]:
    """The lines of a list, in an order that does not depend on the broker's."""
    return sorted(output.splitlines())


POLICY = '{"max-length":5}'

TRANSCRIPT = [
    (("add_vhost", "v"), 0, 'Adding vhost "v" ...\n'),
    (("add_vhost", "v"), 0, 'Adding vhost "v" ...\n'),
    (("list_vhosts",), 0, "Listing vhosts ...\nname\n/\nv\n"),
    (("-q", "list_vhosts", "name", "tracing"), 0, "name\ttracing\n/\tfalse\nv\tfalse\n"),
    (("add_user", "ann", "secret", "-q"), 0, ""),
    (
        ("add_user", "ann", "secret"),
        70,
        'Adding user "ann" ...\nError:\nUser "ann" already exists\n',
    ),
    (
        ("set_user_tags", "ann", "administrator", "monitoring"),
        0,
        'Setting tags for user "ann" to [administrator, monitoring] ...\n',
    ),
    (("-s", "list_users"), 0, "guest\t[administrator]\nann\t[administrator, monitoring]\n"),
    (
        ("authenticate_user", "ann", "secret"),
        0,
        'Authenticating user "ann" ...\nSuccess\n',
    ),
    (
        ("authenticate_user", "ann", "wrong"),
        65,
        (
            'Authenticating user "ann" ...\nError:\nError: failed to authenticate user "ann"\n'
            "user 'ann' - invalid credentials\n"
        ),
    ),
    (("clear_password", "ann"), 0, 'Clearing password for user "ann" ...\n'),
    (("-q", "authenticate_user", "ann", "secret"), 65, None),
    (("change_password", "nobody", "x"), 67, None),
    (("delete_user", "nobody"), 67, None),
    (
        ("set_permissions", "-p", "v", "ann", "^a", "^b", "^c"),
        0,
        'Setting permissions for user "ann" in vhost "v" ...\n',
    ),
    (("set_permissions", "-p", "v", "nobody", ".*", ".*", ".*"), 67, None),
    (("set_permissions", "-p", "nowhere", "ann", ".*", ".*", ".*"), 69, None),
    (("set_permissions", "-p", "v", "ann", "(", ".*", ".*"), 69, None),
    (
        ("list_permissions", "-p", "v"),
        0,
        'Listing permissions for vhost "v" ...\nuser\tconfigure\twrite\tread\nann\t^a\t^b\t^c\n',
    ),
    (
        ("list_user_permissions", "ann"),
        0,
        'Listing permissions for user "ann" ...\nvhost\tconfigure\twrite\tread\nv\t^a\t^b\t^c\n',
    ),
    (
        ("clear_permissions", "-p", "v", "ann"),
        0,
        'Clearing permissions for user "ann" in vhost "v" ...\n',
    ),
    (("list_topic_permissions",), 0, 'Listing topic permissions for vhost "/" ...\n\n'),
    (
        ("set_topic_permissions", "guest", "amq.topic", "^a", "^b"),
        0,
        'Setting topic permissions on "amq.topic" for user "guest" in vhost "/" ...\n',
    ),
    (("-q", "set_topic_permissions", "guest", "other", "^c", "^d"), 0, ""),
    (
        ("-q", "list_user_topic_permissions", "guest"),
        0,
        "vhost\texchange\twrite\tread\n/\tamq.topic\t^a\t^b\n/\tother\t^c\t^d\n",
    ),
    (("-q", "clear_topic_permissions", "guest", "other"), 0, ""),
    (
        ("list_topic_permissions",),
        0,
        (
            'Listing topic permissions for vhost "/" ...\nuser\texchange\twrite\tread\n'
            "guest\tamq.topic\t^a\t^b\n"
        ),
    ),
    (
        ("clear_topic_permissions", "guest"),
        0,
        'Clearing topic permissions for user "guest" in vhost "/" ...\n',
    ),
    (("-q", "list_topic_permissions"), 0, "\n"),
    (("delete_user", "ann"), 0, 'Deleting user "ann" ...\n'),
    (
        ("set_vhost_limits", "-p", "v", '{"max-queues":7}'),
        0,
        'Setting vhost limits to "{"max-queues":7}" for vhost "v" ...\n',
    ),
    (("list_vhost_limits",), 0, 'Listing limits for vhost "/" ...\n\n'),
    (
        ("list_vhost_limits", "-p", "v"),
        0,
        'Listing limits for vhost "v" ...\n{"max-queues":7}\n',
    ),
    (
        ("list_vhost_limits", "--global"),
        0,
        'Listing limits for all vhosts ...\nvhost\tlimits\nv\t{"max-queues":7}\n',
    ),
    (("clear_vhost_limits", "-p", "v"), 0, 'Clearing vhost "v" limits ...\n'),
    (
        ("set_user_limits", "guest", '{"max-channels":50}'),
        0,
        'Setting user limits to "{"max-channels":50}" for user "guest" ...\n',
    ),
    (("list_user_limits",), 0, 'Listing limits for user "guest" ...\n{"max-channels":50}\n'),
    (
        ("list_user_limits", "--global"),
        0,
        'Listing limits for all users ...\nuser\tlimits\nguest\t{"max-channels":50}\n',
    ),
    (
        ("clear_user_limits", "guest", "max-channels"),
        0,
        'Clearing "max-channels" limit for user "guest" ...\n',
    ),
    (("-q", "list_user_limits", "--user", "guest"), 0, "\n"),
    (
        ("set_policy", "p", "^a", POLICY),
        0,
        f'Setting policy "p" for pattern "^a" to "{POLICY}" with priority "0" for vhost "/" ...\n',
    ),
    (
        ("list_policies",),
        0,
        (
            'Listing policies for vhost "/" ...\n'
            "vhost\tname\tpattern\tapply-to\tdefinition\tpriority\n"
            f"/\tp\t^a\tall\t{POLICY}\t0\n"
        ),
    ),
    (
        ("list_policies", "--formatter", "json"),
        0,
        (
            '[\n{"vhost":"/","name":"p","pattern":"^a","apply-to":"all",'
            '"definition":"{\\"max-length\\":5}","priority":0}\n]\n'
        ),
    ),
    (("set_policy", "p", "^a", "nonsense"), 69, None),
    (("set_policy", "p", "^a", '{"nonsense":5}'), 69, None),
    (("clear_policy", "p"), 0, 'Clearing policy "p" on vhost "/" ...\n'),
    (("clear_policy", "p"), 69, None),
    (
        ("set_operator_policy", "op", "^a", POLICY),
        0,
        (
            f'Setting operator policy override "op" for pattern "^a" to "{POLICY}" with priority'
            ' "0" for vhost "/" ...\n'
        ),
    ),
    (
        ("clear_operator_policy", "op"),
        0,
        'Clearing operator policy "op" on vhost "/" ...\n',
    ),
    (
        ("list_operator_policies",),
        0,
        'Listing operator policy overrides for vhost "/" ...\n\n',
    ),
    (("list_parameters",), 0, 'Listing runtime parameters for vhost "/" ...\n\n'),
    (
        ("set_global_parameter", "gp", '{"a":1}'),
        0,
        'Setting global runtime parameter "gp" to "{"a":1}" ...\n',
    ),
    (
        ("list_global_parameters",),
        0,
        'Listing global runtime parameters ...\nname\tvalue\ngp\t{"a":1}\n',
    ),
    (("clear_global_parameter", "gp"), 0, 'Clearing global runtime parameter "gp" ...\n'),
    (
        ("list_queues", "-p", "v"),
        0,
        "Timeout: 60.0 seconds ...\nListing queues for vhost v ...\n",
    ),
    (
        ("list_unresponsive_queues",),
        0,
        "Listing unresponsive queues for vhost / ...\n",
    ),
    (("-q", "list_queues", "nonsense"), 64, None),
    (("delete_queue", "nope"), 64, None),
    (("purge_queue", "nope"), 69, None),
    (
        ("close_all_connections", "--vhost", "v", "bye"),
        0,
        "Closing all connections in vhost v, reason: bye...\nClosed 0 connections\n",
    ),
    (("delete_vhost", "v"), 0, 'Deleting vhost "v" ...\n'),
    (("delete_vhost", "v"), 65, None),
    (("-q", "ping"), 0, "Ping succeeded\n"),
    (("set_vm_memory_high_watermark", "1.5"), 65, None),
    (("set_vm_memory_high_watermark", "absolute", "nonsense"), 65, None),
    (("check_port_listener", "1"), 69, None),
    (("check_protocol_listener", "mqtt"), 69, None),
]
"""Commands, their exit codes, and their output where it is RabbitMQ's to the letter."""


def test_a_session_of_commands_answers_as_rabbitmq_does(ctl: Ctl) -> None:
    for arguments, code, output in TRANSCRIPT:
        ended = ctl.run(*arguments)
        assert ended.code == code, (arguments, ended)
        if output is not None:
            assert ended.output == output, arguments
        elif code:
            assert "Error:\n" in ended.output, arguments


LISTS = [
    (
        ("list_queues",),
        ["Listing queues for vhost / ...", "Timeout: 60.0 seconds ...", "name\tmessages"],
        ["qa\t0", "qb\t1"],
    ),
    (("-q", "list_queues"), ["name\tmessages"], ["qa\t0", "qb\t1"]),
    (("-s", "list_queues"), [], ["qa\t0", "qb\t1"]),
    (
        ("-s", "list_queues", "name", "durable", "auto_delete", "arguments", "consumers", "type"),
        [],
        [
            'qa\ttrue\tfalse\t[{"x-max-priority",3},{"x-message-ttl",60000}]\t1\tclassic',
            "qb\tfalse\tfalse\t[]\t0\tclassic",
        ],
    ),
    (
        ("list_queues", "--formatter", "csv", "name", "arguments"),
        ['"name","arguments"'],
        ['"qa","[{""x-max-priority"",3},{""x-message-ttl"",60000}]"', '"qb","[]"'],
    ),
    (
        ("list_exchanges",),
        ["Listing exchanges for vhost / ...", "name\ttype"],
        [
            "\tdirect",
            "amq.direct\tdirect",
            "amq.fanout\tfanout",
            "amq.headers\theaders",
            "amq.match\theaders",
            "amq.rabbitmq.trace\ttopic",
            "amq.topic\ttopic",
        ],
    ),
    (
        ("list_bindings",),
        [
            "Listing bindings for vhost /...",
            "source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments",
        ],
        [
            "\texchange\tqa\tqueue\tqa\t[]",
            "\texchange\tqb\tqueue\tqb\t[]",
            'amq.topic\texchange\tqb\tqueue\ta.#\t[{"x","y"}]',
        ],
    ),
    (
        ("-q", "list_channels", "number", "user", "vhost", "prefetch_count", "confirm"),
        ["number\tuser\tvhost\tprefetch_count\tconfirm"],
        ["1\tguest\t/\t0\tfalse"],
    ),
    (
        ("-q", "list_consumers", "queue_name", "consumer_tag", "active", "arguments"),
        ["queue_name\tconsumer_tag\tactive\targuments"],
        ['qa\ttag\ttrue\t[{"x-priority",5}]'],
    ),
]
"""Commands, and the lines before the rows and the rows that RabbitMQ 3.10.8 prints."""


@pytest.mark.parametrize(
    ("arguments", "before", "rows"), LISTS, ids=[" ".join(each[0]) for each in LISTS]
)
def test_lists_are_printed_as_rabbitmq_does(
    ctl: Ctl,
    channel: BlockingChannel,
    arguments: tuple[str, ...],
    before: list[str],
    rows: list[str],
) -> None:
    printed = ctl(*arguments).splitlines()
    assert lines("\n".join(printed[: len(before)])) == before
    assert lines("\n".join(printed[len(before) :])) == rows


def test_lists_have_the_default_columns_of_rabbitmq(ctl: Ctl, channel: BlockingChannel) -> None:
    assert re.fullmatch(
        "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\n"
        "guest\t127.0.0.1\t\\d+\trunning\n",
        ctl("list_connections"),
    )
    assert re.fullmatch(
        "Listing channels ...\npid\tuser\tconsumer_count\tmessages_unacknowledged\n"
        "[^\t]+\tguest\t1\t0\n",
        ctl("list_channels"),
    )
    assert re.fullmatch(
        "Listing consumers in vhost / ...\n"
        "queue_name\tchannel_pid\tconsumer_tag\tack_required\tprefetch_count\tactive\targuments\n"
        'qa\t[^\t]+\ttag\ttrue\t0\ttrue\t\\[{"x-priority",5}]\n',
        ctl("list_consumers"),
    )


def test_json_is_a_list_with_an_object_a_line(ctl: Ctl, channel: BlockingChannel) -> None:
    output = ctl("list_queues", "--formatter", "json")
    assert lines(output.replace("\n,", "\n")) == [
        "[",
        "]",
        '{"name":"qa","messages":0}',
        '{"name":"qb","messages":1}',
    ]
    assert {each["name"] for each in json.loads(output)} == {"qa", "qb"}
    assert json.loads(ctl("list_operator_policies", "--formatter", "json")) == []


def test_a_pretty_table_has_a_frame(ctl: Ctl) -> None:
    assert ctl("-q", "list_vhosts", "--formatter", "pretty_table") == (
        "┌──────┐\n│ name │\n├──────┤\n│ /    │\n└──────┘\n"
    )


def test_a_wrong_command_line_is_one_line_and_64(ctl: Ctl) -> None:
    assert ctl.run("list_ques") == (
        64,
        "Error:\nCommand 'list_ques' not found. Did you mean 'list_queues'?\n",
    )
    assert ctl.run("stop_app") == (
        64,
        "Error:\nCommand 'stop_app' not found. --help lists the commands.\n",
    )
    assert ctl.run("add_user") == (64, "Error:\nMissing argument 'NAME'.\n")
    assert ctl.run("eval", "rabbit:status().").code == 64
    assert ctl.run().code == 64
    assert ctl.run("--formatter", "nonsense", "list_queues").code == 64
    assert ctl.run("set_vm_memory_high_watermark", "absolute").code == 64


def test_no_broker_is_69(tmp_path: Path) -> None:
    ended = CliRunner().invoke(
        group, ["list_queues"], env={"LEVERET_STORAGE_DATA_DIR": str(tmp_path)}
    )
    assert ended.exit_code == 69
    assert "no broker listens" in ended.output


def test_the_broker_says_how_it_is(ctl: Ctl) -> None:
    """In words of its own."""
    port = str(ctl.broker.port)
    for command in (
        "check_running",
        "is_running",
        "check_local_alarms",
        "check_alarms",
        "check_virtual_hosts",
        "check_port_connectivity",
        "await_startup",
    ):
        ctl(command)
    ctl("await_online_nodes", "1")
    ctl("check_port_listener", port)
    ctl("check_protocol_listener", "amqp")
    assert f"port: {port}, protocol: amqp, purpose: AMQP 0-9-1" in ctl("listeners")
    status = json.loads(ctl("cluster_status", "--formatter", "json"))
    assert status["running_nodes"] == status["disk_nodes"]
    assert json.loads(ctl("status", "--formatter", "json"))["product_name"] == "Leveret"
    assert 'auth.default_pass: "***"' in ctl("environment")
    assert "set_policy [OPTIONS] NAME PATTERN DEFINITION" in ctl("help", "set_policy")
    assert json.loads(ctl("memory_breakdown", "--formatter", "json"))["total"]["bytes"] > 0


def test_a_queue_is_deleted_if_it_is_as_asked(ctl: Ctl, channel: BlockingChannel) -> None:
    channel.queue_declare("deleted")
    channel.basic_publish("", "deleted", b"one")
    channel.queue_declare("deleted", passive=True)
    assert ctl.run("delete_queue", "--if-empty", "deleted").code == 69
    assert ctl("delete_queue", "--if-unused", "deleted") == (
        "Deleting queue 'deleted' on vhost '/' ...\n"
        "Queue was successfully deleted with 1 ready messages\n"
    )


def test_connections_are_closed_with_a_reason(ctl: Ctl) -> None:
    ctl("add_vhost", "closed")
    ctl("set_permissions", "-p", "closed", "guest", ".*", ".*", ".*")
    parameters = pika.URLParameters(ctl.broker.url)
    parameters.virtual_host = "closed"
    connections = [pika.BlockingConnection(parameters) for _ in range(2)]
    closing = ("close_all_connections", "-p", "closed", "good bye")
    assert ctl(*closing, "--limit", "1").endswith("\nClosed 1 connections\n")
    assert ctl(*closing).endswith("\nClosed 1 connections\n")
    for connection in connections:
        with pytest.raises(ConnectionClosedByBroker, match="good bye"):
            connection.process_data_events(10)


def test_the_memory_limit_is_changed_until_the_next_start(ctl: Ctl) -> None:
    def limit() -> int:
        found: int = json.loads(ctl("status", "--formatter", "json"))["memory_limit"]
        return found

    before = limit()
    assert ctl("set_vm_memory_high_watermark", "absolute", "512M") == (
        "Setting memory threshold to 512M bytes ...\n"
    )
    assert limit() == 512 * 2**20
    ctl("set_vm_memory_high_watermark", "0")
    assert ctl.run("check_local_alarms").code == 69
    with pika.BlockingConnection(pika.URLParameters(ctl.broker.url)) as connection:
        # Publishers alone are blocked.
        channel = connection.channel()
        channel.queue_declare("declared-in-the-alarm", exclusive=True)
        ctl("set_vm_memory_high_watermark", "absolute", str(before))
    assert limit() == before
    wait_until(lambda: ctl.run("check_local_alarms").code == 0, 30, "the alarm ends")
    assert ctl.broker.log_text().count("memory limit changed") == 3

"""Converting a rabbitmq.conf: what has a counterpart, and what is listed because it has none."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from leveret.commands.configuration import config_group
from leveret.commands.rabbitmq_conf import SIMPLE, convert
from leveret.config_keys import KEYS
from leveret.config_loading import load_config


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("listeners.tcp.default = 5672", {"amqp.listen": [":5672"]}),
        ("listeners.ssl.1 = 127.0.0.1:5671", {"tls.listen": ["127.0.0.1:5671"]}),
        ("loopback_users.guest = false", {"auth.loopback_users": []}),
        ("loopback_users = none", {"auth.loopback_users": []}),
        ("loopback_users.ann = true", {"auth.loopback_users": ["guest", "ann"]}),
        ("vm_memory_high_watermark.relative = 0.65", {"memory.limit": "65%"}),
        ("vm_memory_high_watermark.absolute = 1GiB", {"memory.limit": 2**30}),
        ("disk_free_limit.absolute = 50MB", {"storage.disk_free_limit": 50_000_000}),
        ("handshake_timeout = 5000", {"amqp.handshake_timeout": 5.0}),
        ("log.console.formatter = json", {"log.format": "json"}),
        ("log.level = critical", {"log.level": "error"}),
        ("ssl_options.versions.1 = tlsv1.3", {"tls.min_version": "1.3"}),
        ("ssl_options.fail_if_no_peer_cert = true", {"tls.fail_if_no_peer_cert": True}),
        ("default_pass = 'two words'  # a comment", {"auth.default_pass": "two words"}),
    ],
)
def test_what_has_a_counterpart_is_converted(line: str, values: dict[str, Any]) -> None:
    converted = convert(line)
    assert converted.values == values
    assert converted.without_counterpart == []


@pytest.mark.parametrize(
    "line",
    [
        "reverse_dns_lookups = true",
        "heartbeat = often",
        "heartbeat = 100000",
        "frame_max = 1",
        "ssl_options.verify = perhaps",
        "this is no setting",
    ],
)
def test_what_has_none_is_listed_with_its_line(line: str) -> None:
    converted = convert(f"# comment\n\n{line}\n")
    assert converted.values == {}
    assert converted.without_counterpart == [f"3: {line}"]


@pytest.mark.parametrize(
    ("line", "listed"),
    [
        ("cluster_formation.peer_discovery_backend = k8s", "(a broker is one process)"),
        ("ssl_options.versions.1 = tlsv1.1", "(versions older than 1.2 are refused)"),
        ("disk_free_limit.absolute = 10%", "(storage.disk_free_limit is a number of bytes)"),
        ("management.tcp.port = 15672", "(there is no HTTP API)"),
        ("listeners.tcp = none", "(an address such as 127.0.0.1:5672)"),
    ],
)
def test_the_reason_is_listed_where_there_is_a_short_one(line: str, listed: str) -> None:
    converted = convert(line)
    assert converted.values == {}
    assert converted.without_counterpart == [f"1: {line}  {listed}"]


def test_secrets_that_have_no_counterpart_are_hidden() -> None:
    (listed,) = convert("auth_ldap.dn_lookup_bind.password = s3cret").without_counterpart
    assert listed == "1: auth_ldap.dn_lookup_bind.password = ***"


def test_the_older_form_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "rabbitmq.config"
    source.write_text("[{rabbit, [{tcp_listeners, [5672]}]}].\n")
    refused = CliRunner().invoke(config_group, ["convert", str(source)])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Erlang" in refused.stderr


OPERATORS_FILE = """\
## of an operator
listeners.tcp.default = 5672
listeners.tcp.local = ::1:5673
listeners.ssl.default = 5671
ssl_options.certfile = /etc/rabbitmq/server.pem
ssl_options.keyfile = /etc/rabbitmq/server.key
default_user = shop
default_pass = s3cret
channel_max = 128
vm_memory_high_watermark.relative = 0.6
vm_memory_high_watermark_paging_ratio = 0.5
disk_free_limit.absolute = 1G
consumer_timeout = 3600000
collect_statistics_interval = 5000
load_definitions = /etc/rabbitmq/definitions.json
log.console = true
log.console.level = warning
"""


def test_the_file_of_an_operator_is_converted_to_one_that_loads(tmp_path: Path) -> None:
    source, target = tmp_path / "rabbitmq.conf", tmp_path / "leveret.toml"
    source.write_text(OPERATORS_FILE)
    printed = CliRunner().invoke(config_group, ["convert", str(source)])
    target.write_text(printed.stdout)
    config = load_config(str(target))
    assert config.amqp.listen == (":5672", "[::1]:5673")
    assert config.tls.listen == (":5671",)
    assert config.storage.disk_free_limit == 2**30
    assert config.definitions.file == "/etc/rabbitmq/definitions.json"
    assert printed.stderr == "leveret: without a counterpart, as the end lists: 3\n"


def test_the_oldest_version_counts() -> None:
    lines = "ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2\n"
    assert convert(lines).values == {"tls.min_version": "1.2"}


def test_every_counterpart_is_a_key() -> None:
    assert {path for path, _ in SIMPLE.values()} <= KEYS.keys()


def test_what_is_converted_can_be_loaded(tmp_path: Any) -> None:

    source, target = tmp_path / "rabbitmq.conf", tmp_path / "leveret.toml"
    source.write_text("heartbeat = 30\nlisteners.tcp.1 = 127.0.0.1:5673\nmystery = 1\n")
    printed = CliRunner().invoke(config_group, ["convert", str(source)])
    assert printed.exit_code == 0
    assert "# line 3: mystery = 1\n" in printed.output
    target.write_text(printed.stdout)
    config = load_config(str(target))
    assert (config.amqp.heartbeat, config.amqp.listen) == (30, ("127.0.0.1:5673",))

"""The configuration: sources of values, refused values, and the generated files."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from leveret.commands.configuration import config_group
from leveret.commands.context import EXIT_WRONG_USE
from leveret.config import Config
from leveret.config_keys import KEYS, Key
from leveret.config_loading import PATHS, ConfigError, load_config
from leveret.reference import configuration
from leveret.sample_configuration import sample_configuration

ROOT = Path(__file__).parents[2]


def warnings(environment: dict[str, str]) -> list[str]:
    """What a configuration is warned of."""
    found: list[str] = []
    load_config(None, environment, warn=found.append)
    return found


def refusal(
    path: Path | None = None,
    environment: dict[str, str] | None = None,
    flags: dict[str, tuple[str, object]] | None = None,
) -> str:
    """The one line of a refused configuration."""
    with pytest.raises(ConfigError) as refused:
        load_config(str(path) if path else None, environment, flags)
    text = str(refused.value)
    assert "\n" not in text
    return text


@pytest.fixture
def write_toml(tmp_path: Path) -> Path:
    """The path of a test's configuration file."""
    return tmp_path / "leveret.toml"


class TestPrecedence:
    def test_without_any_source_every_key_has_its_default(self) -> None:
        assert load_config() == Config()

    def test_each_source_overrides_the_next(self, write_toml: Path) -> None:
        write_toml.write_text('[auth]\ndefault_user = "file"\n[log]\nlevel = "error"\n')
        path = str(write_toml)
        rabbitmq = {"RABBITMQ_DEFAULT_USER": "rabbitmq"}
        leveret = {**rabbitmq, "LEVERET_AUTH_DEFAULT_USER": "leveret"}
        flag = {"auth.default_user": ("--user", "flag")}

        assert load_config(path).auth.default_user == "file"
        assert load_config(path, rabbitmq).auth.default_user == "rabbitmq"
        assert load_config(path, leveret).auth.default_user == "leveret"
        assert load_config(path, leveret, flag).auth.default_user == "flag"
        assert load_config(path, leveret, flag).log.level == "error"

    def test_the_variables_of_rabbitmqs_image_set_user_password_and_virtual_host(self) -> None:
        auth = load_config(
            environment={
                "RABBITMQ_DEFAULT_USER": "ann",
                "RABBITMQ_DEFAULT_PASS": "123",
                "RABBITMQ_DEFAULT_VHOST": "shop",
            }
        ).auth

        assert (auth.default_user, auth.default_pass, auth.default_vhost) == ("ann", "123", "shop")

    @pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.path)
    def test_every_key_can_be_set_by_its_variable(self, key: Key) -> None:
        examples: dict[str, tuple[str, object]] = {
            "amqp.listen": ("127.0.0.1:0, [::]:5673", ("127.0.0.1:0", "[::]:5673")),
            "amqp.unix_socket_mode": ("0600", "0600"),
            "amqp.proxy_networks": ("10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")),
            "amqp.handshake_timeout": ("2.5", 2.5),
            "qos.retune": ("true", "true"),
            "queues.redeclare": ("adopt", "adopt"),
            "queues.delivery_count": ("failures", "failures"),
            "memory.limit": ("2GiB", "2GiB"),
            "auth.loopback_users": ("ann,bob", ("ann", "bob")),
            "log.level": ("debug", "debug"),
            "log.format": ("json", "json"),
            "storage.memory": ("true", True),
            "management.listen": (":15672", (":15672",)),
            "management.tls": ("true", True),
            "metrics.tls": ("true", True),
            "metrics.listen": (":15692", (":15692",)),
            "tls.listen": ("127.0.0.1:5671", ("127.0.0.1:5671",)),
            "tls.sni": ("a=c.pem:k.pem", ("a=c.pem:k.pem",)),
            "tls.verify": ("verify_peer", "verify_peer"),
            "tls.fail_if_no_peer_cert": ("true", True),
            "tls.min_version": ("1.3", "1.3"),
            "tls.login_from": ("dns", "dns"),
            "storage.sync": ("interval", "interval"),
            "storage.replicas": ("provider", "provider"),
            "storage.replicas_min": ("2", 2),
            "cluster.stores": ("32", 32),
            "cluster.listen": (":25672", (":25672",)),
            "cluster.advertise": ("broker:25672", "broker:25672"),
            "cluster.secret": ("secret of 20 bytes.", "secret of 20 bytes."),
        }
        text, value = examples.get(key.path, ("4096", "4096" if key.type is str else 4096))

        needed = {
            f"LEVERET_{section}_{name}": "needed.pem"
            for section in ("TLS", "CLUSTER")
            for name in ("CERTFILE", "KEYFILE", "CACERTFILE")
        }

        config = load_config(environment={**needed, key.variable: text})

        assert getattr(getattr(config, key.section), key.name) == value
        assert value != key.default

    @pytest.mark.parametrize(("toml", "value"), [("true", "true"), ("false", "false")])
    def test_a_choice_between_true_false_and_more_needs_no_quotes(
        self, write_toml: Path, toml: str, value: str
    ) -> None:
        write_toml.write_text(f"[qos]\nretune = {toml}\n")

        assert load_config(str(write_toml)).qos.retune == value

    def test_an_empty_variable_empties_a_list(self) -> None:
        config = load_config(environment={"LEVERET_AUTH_LOOPBACK_USERS": ""})

        assert config.auth.loopback_users == ()

    @pytest.mark.parametrize(
        "name",
        [
            "LEVERET_CONFIG",
            "LEVERET_COMPILE",
            "LEVERET_SERVICE_HOST",
            "LEVERET_SERVICE_PORT_AMQP",
            "LEVERET_PORT",
            "LEVERET_PORT_5672_TCP_ADDR",
            "LEVERET_AMQP_SERVICE_PORT",
            "PATH",
        ],
    )
    def test_a_variable_of_another_program_is_ignored(self, name: str) -> None:
        assert load_config(environment={name: "x"}) == Config()


class TestRefusals:
    @pytest.mark.parametrize(
        ("toml", "problem"),
        [
            (
                "[amqp]\nheartbeet = 1\n",
                "amqp.heartbeet in {}: no such key; did you mean amqp.heartbeat?",
            ),
            ("[ampq]\nheartbeat = 1\n", "ampq in {}: no such section; did you mean amqp?"),
            ("amqp = 1\n", "amqp in {}: is a section, and takes keys below it"),
            (
                '[amqp]\nheartbeat = "60"\n',
                "amqp.heartbeat in {}: expected a whole number from 0 to 65535, got '60'",
            ),
            (
                "[amqp]\nheartbeat = true\n",
                "amqp.heartbeat in {}: expected a whole number from 0 to 65535, got True",
            ),
            (
                "[amqp]\nheartbeat = 65536\n",
                "amqp.heartbeat in {}: expected a whole number from 0 to 65535, got 65536",
            ),
            (
                "[amqp]\nframe_max = 4095\n",
                "amqp.frame_max in {}: expected a whole number from 4096 to 1048576, got 4095",
            ),
            (
                "[amqp]\nhandshake_timeout = nan\n",
                "amqp.handshake_timeout in {}: expected a number from 0.1 to 3600, got nan",
            ),
            (
                "[amqp]\nlisten = []\n",
                "amqp.listen is empty, and there is no amqp.unix_socket or tls.listen",
            ),
            (
                '[amqp]\nproxy_networks = ["x"]\n',
                "amqp.proxy_networks in {}: expected a list of ADDRESS or ADDRESS/BITS, got ['x']",
            ),
            (
                '[amqp]\nunix_socket_mode = "888"\n',
                "amqp.unix_socket_mode in {}: expected an octal number such as 0660, got '888'",
            ),
            (
                '[amqp]\nlisten = "127.0.0.1:5672"\n',
                "amqp.listen in {}: expected a list of HOST:PORT, got '127.0.0.1:5672'",
            ),
            (
                '[log]\nlevel = "loud"\n',
                "log.level in {}: expected one of debug, info, warning, error, got 'loud'",
            ),
            (
                "[memory]\nlimit = 0.4\n",
                (
                    'memory.limit in {}: expected a share such as "40%", a size such as "2GiB",'
                    " or bytes, got 0.4"
                ),
            ),
            (
                '[storage]\nmemory = "yes"\n',
                "storage.memory in {}: expected true or false, got 'yes'",
            ),
            (
                '[storage]\nsync = "never"\n',
                "storage.sync in {}: expected one of commit, interval, os, got 'never'",
            ),
            (
                "[storage]\nsync_interval = 0\n",
                "storage.sync_interval in {}: expected a whole number from 1 to 60000, got 0",
            ),
            (
                '[server]\nnode_name = ""\n',
                "server.node_name in {}: expected a text of 1 to 255 bytes, got ''",
            ),
            (
                '[auth]\ndefault_user = ""\n',
                "auth.default_user in {}: expected a text that is not empty, got ''",
            ),
        ],
    )
    def test_a_wrong_file_names_key_and_file(
        self, write_toml: Path, toml: str, problem: str
    ) -> None:
        write_toml.write_text(toml)

        assert refusal(write_toml) == problem.format(write_toml)

    def test_a_file_that_is_not_toml_names_the_line(self, write_toml: Path) -> None:
        write_toml.write_text("[amqp]\nheartbeat 60\n")

        line = refusal(write_toml)

        assert line.startswith(f"{write_toml}: not valid TOML: ")
        assert "line 2" in line

    def test_a_file_that_is_not_text_is_not_toml(self, write_toml: Path) -> None:
        write_toml.write_bytes(b"\xff\xfe")

        assert refusal(write_toml).startswith(f"{write_toml}: not valid TOML: ")

    def test_a_missing_file_is_named(self, write_toml: Path) -> None:
        assert refusal(write_toml) == f"{write_toml}: no such file or directory"

    def test_a_directory_is_no_file(self, tmp_path: Path) -> None:
        assert refusal(tmp_path) == f"{tmp_path}: is a directory"

    def test_a_wrong_variable_names_key_and_variable(self) -> None:
        assert refusal(environment={"LEVERET_AMQP_CHANNEL_MAX": "0"}) == (
            "amqp.channel_max in LEVERET_AMQP_CHANNEL_MAX: "
            "expected a whole number from 1 to 65535, got '0'"
        )

    def test_a_misspelt_variable_is_warned_of(self) -> None:
        nothing = "in the environment sets nothing: no such key"
        assert warnings({"LEVERET_AMQP_HEARTBEET": "1", "LEVERET_QQQQQQQQ": "1"}) == [
            f"LEVERET_AMQP_HEARTBEET {nothing}; did you mean LEVERET_AMQP_HEARTBEAT?",
            f"LEVERET_QQQQQQQQ {nothing}",
        ]

    def test_a_wrong_flag_names_key_and_flag(self) -> None:
        assert refusal(flags={"amqp.listen": ("--listen", ["::1:5672"])}) == (
            "amqp.listen in --listen: '::1:5672': an IPv6 address needs brackets"
        )

    @pytest.mark.parametrize("key", PATHS)
    def test_a_path_may_begin_in_the_home_directory(self, key: str, write_toml: Path) -> None:
        section, name = key.split(".")
        write_toml.write_text(f'[{section}]\n{name} = "~/x"\n')
        needed = {f"LEVERET_CLUSTER_{each}FILE": "needed.pem" for each in ("CERT", "CACERT")}
        if section == "cluster":
            needed.pop(f"LEVERET_CLUSTER_{name.upper()}", None)

        value = getattr(getattr(load_config(str(write_toml), needed), section), name)
        assert value == str(Path.home() / "x")

    def test_a_node_name_that_is_too_long_is_refused(self) -> None:
        name = "\u00e9" * 128

        assert refusal(environment={"LEVERET_SERVER_NODE_NAME": name}) == (
            "server.node_name in LEVERET_SERVER_NODE_NAME: "
            f"expected a text of 1 to 255 bytes, got {name!r}"
        )

    def test_a_wrong_password_is_refused_without_being_shown(self, write_toml: Path) -> None:
        write_toml.write_text("[auth]\ndefault_pass = 4711\n")

        assert refusal(write_toml) == f"auth.default_pass in {write_toml}: expected a text"


def test_a_printed_configuration_shows_no_password() -> None:
    config = load_config(environment={"LEVERET_AUTH_DEFAULT_PASS": "correct horse"})

    assert config.auth.default_pass == "correct horse"
    assert "correct horse" not in repr(config)
    assert "correct horse" not in f"{config.auth}"


def test_a_command_for_a_broker_that_runs_needs_no_secret_of_the_cluster() -> None:
    environment = {"LEVERET_CLUSTER_LISTEN": ":25672"}
    assert refusal(environment=environment) == (
        "cluster.listen needs cluster.secret, or cluster.certfile"
    )
    assert load_config(None, environment, secrets=False).cluster.listen == (":25672",)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("postgresl://a/db", "no medium has the scheme 'postgresl'"),
        ("postgresql://u:s3cret@a/db", "the location of a PostgreSQL database has a password"),
        ("postgresql://a/db?sslmod=disable", "sslmod"),
    ],
)
def test_a_wrong_location_is_found_without_a_start(location: str, reason: str) -> None:
    checked = CliRunner().invoke(
        config_group, ["check"], env={"LEVERET_STORAGE_DATA_DIR": location}
    )
    assert checked.exit_code == EXIT_WRONG_USE
    assert checked.stderr.startswith("leveret: storage.data_dir: ")
    assert reason in checked.stderr
    assert "s3cret" not in checked.stderr


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        setattr(Config().amqp, "heartbeat", 1)  # noqa: B010 - mypy would not let it be written


class TestWrittenForms:
    def test_the_example_file_is_generated_from_the_table(self) -> None:
        written = (ROOT / configuration.TOML_PATH).read_text("utf-8")

        assert written == sample_configuration()

    def test_the_documentation_is_generated_from_the_table(self) -> None:
        written = (ROOT / configuration.DOCUMENT_PATH).read_text("utf-8")

        assert written == configuration.with_tables(written)

    def test_the_example_file_has_every_key_at_its_default(self) -> None:
        path = ROOT / configuration.TOML_PATH
        document = tomllib.loads(path.read_text("utf-8"))

        assert [f"{section}.{key}" for section in document for key in document[section]] == list(
            KEYS
        )
        assert load_config(str(path)) == Config()

    def test_a_document_without_marks_is_refused(self) -> None:
        with pytest.raises(ValueError, match="marks"):
            configuration.with_tables("# Configuration\n")

    @pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.path)
    def test_every_default_is_an_accepted_value(self, key: Key, write_toml: Path) -> None:
        default = msgspec.json.encode(key.default).decode()
        write_toml.write_text(f"[{key.section}]\n{key.name} = {default}\n")

        assert load_config(str(write_toml)) == Config()


class TestRabbitMQ:
    """Variables of RabbitMQ and its Docker image."""

    def test_variables_that_have_a_meaning(self) -> None:
        environment = {
            "RABBITMQ_NODE_PORT": "5673",
            "RABBITMQ_VM_MEMORY_HIGH_WATERMARK": "0.5",
        }
        config = load_config(None, environment)
        assert config.amqp.listen == (":5673",)
        assert config.memory.limit == "50%"
        assert warnings(environment) == []

    def test_others_are_named_in_one_warning(self) -> None:
        (warning,) = warnings({"RABBITMQ_NODENAME": "a@b", "RABBITMQ_ERLANG_COOKIE": "secret"})
        named = "RABBITMQ_ERLANG_COOKIE, RABBITMQ_NODENAME"
        assert warning == f"variables of RabbitMQ without an effect here: {named}"


class TestSecretsInFiles:
    @pytest.mark.parametrize(
        "variable", ["RABBITMQ_DEFAULT_PASS_FILE", "LEVERET_AUTH_DEFAULT_PASS_FILE"]
    )
    def test_the_first_line_is_the_value(self, tmp_path: Path, variable: str) -> None:
        secret = tmp_path / "secret"
        secret.write_text("s3cret word\r\nmore\n")
        assert load_config(None, {variable: str(secret)}).auth.default_pass == "s3cret word"

    def test_the_user_may_be_in_a_file(self, tmp_path: Path) -> None:
        user = tmp_path / "user"
        user.write_text("ann")
        assert (
            load_config(None, {"RABBITMQ_DEFAULT_USER_FILE": str(user)}).auth.default_user == "ann"
        )

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "missing"
        assert refusal(environment={"RABBITMQ_DEFAULT_PASS_FILE": str(path)}) == (
            f"RABBITMQ_DEFAULT_PASS_FILE: {path}: no such file or directory"
        )

    def test_a_file_beside_a_value_is_refused(self, tmp_path: Path) -> None:
        environment = {
            "RABBITMQ_DEFAULT_PASS": "a",
            "RABBITMQ_DEFAULT_PASS_FILE": str(tmp_path / "b"),
        }
        assert refusal(environment=environment) == (
            "RABBITMQ_DEFAULT_PASS and RABBITMQ_DEFAULT_PASS_FILE are both set"
        )

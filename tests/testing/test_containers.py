"""The stand-in for testcontainers' RabbitMqContainer: the same names, and what it honours."""

import inspect
import json
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path

import pika
import pika.exceptions
import pytest

from leveret.testing.containers import RabbitMqContainer
from leveret.testing.errors import BrokerError
from tests.support.brokers import free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # their own use of their own decorator
    from testcontainers.core.container import DockerContainer
    from testcontainers.rabbitmq import RabbitMqContainer as Theirs

PUBLIC = sorted(
    {name for name in dir(Theirs) if not name.startswith("_")} | {"__enter__", "__exit__"}
)


def parameters(function: Callable[..., object]) -> dict[str, object]:
    """Name -> default of each parameter, but for those that collect others."""
    collecting = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        each.name: each.default
        for each in inspect.signature(function).parameters.values()
        if each.kind not in collecting
    }


class TestInterface:
    @pytest.mark.parametrize("name", PUBLIC)
    def test_each_public_name_is_there_with_the_same_parameters(self, name: str) -> None:
        theirs, ours = getattr(Theirs, name), getattr(RabbitMqContainer, name)
        if name not in ("__enter__", "__exit__") and callable(theirs):
            assert parameters(ours) == parameters(theirs)

    def test_the_constructor_takes_what_theirs_takes(self) -> None:
        ours = parameters(RabbitMqContainer.__init__)
        theirs = parameters(Theirs.__init__)
        assert list(ours)[: len(theirs)] == list(theirs)
        assert {name: ours[name] for name in theirs} == theirs
        common = parameters(DockerContainer.__init__)
        assert [name for name in common if not name.startswith("_") and name not in ours] == []

    def test_the_attributes_are_those_of_theirs(self) -> None:
        container = RabbitMqContainer(port=5673, username="ann", password="secret", vhost="shop")
        assert container.image == "rabbitmq:latest"
        assert (container.port, container.ports) == (5673, {5673: None})
        assert (container.username, container.password) == ("ann", "secret")
        assert container.vhost == "shop"
        assert container.env["RABBITMQ_DEFAULT_VHOST"] == "shop"


class TestRunning:
    def test_a_message_is_published_and_received(self) -> None:
        with RabbitMqContainer("rabbitmq:3.13") as rabbitmq:
            connection = pika.BlockingConnection(rabbitmq.get_connection_params())
            channel = connection.channel()
            channel.queue_declare("orders")
            channel.basic_publish("", "orders", b"A-1")
            assert channel.basic_get("orders", auto_ack=True)[2] == b"A-1"
            connection.close()

    def test_the_user_and_the_virtual_host_are_those_asked_for(self) -> None:
        with RabbitMqContainer(username="ann", password="secret", vhost="shop") as rabbitmq:
            rabbitmq.readiness_probe()
            given = rabbitmq.get_connection_params()
            given.credentials = pika.PlainCredentials("guest", "guest")
            with pytest.raises(pika.exceptions.ProbableAuthenticationError):
                pika.BlockingConnection(given)

    def test_variables_of_the_image_are_honoured(self) -> None:
        container = RabbitMqContainer(env={"RABBITMQ_DEFAULT_USER": "ann", "TZ": "UTC"})
        container.with_env("RABBITMQ_DEFAULT_PASS", "secret")
        container.with_envs(RABBITMQ_DEFAULT_VHOST="shop", RABBITMQ_ERLANG_COOKIE="x")
        with container as rabbitmq:
            given = rabbitmq.get_connection_params()
            assert (given.virtual_host, given.credentials.username) == ("shop", "ann")
            rabbitmq.readiness_probe()

    def test_variables_of_the_process_are_honoured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RABBITMQ_DEFAULT_USER", "bob")
        assert RabbitMqContainer().username == "bob"
        assert RabbitMqContainer(username="ann").username == "ann"

    def test_a_port_of_this_machine_can_be_chosen(self) -> None:
        port = free_port()
        with RabbitMqContainer().with_bind_ports("5672/tcp", port) as rabbitmq:
            assert rabbitmq.get_exposed_port(5672) == port
            rabbitmq.readiness_probe()

    def test_another_port_inside_the_container_is_mapped(self) -> None:
        with RabbitMqContainer(port=5673) as rabbitmq:
            assert rabbitmq.get_exposed_port("5673/tcp") == rabbitmq.broker.port  # type: ignore[arg-type]
            rabbitmq.readiness_probe()

    def test_an_image_with_management_serves_the_http_api(self) -> None:
        container = RabbitMqContainer("rabbitmq:3-management").with_exposed_ports(15672)
        with container as rabbitmq:
            host, port = rabbitmq.get_container_host_ip(), rabbitmq.get_exposed_port(15672)
            manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
            url = f"http://{host}:{port}/api/whoami"
            manager.add_password(None, url, "guest", "guest")
            opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
            with opener.open(url) as answer:
                assert json.load(answer)["name"] == "guest"

    def test_a_volume_keeps_what_is_durable(self, tmp_path: Path) -> None:
        for is_there in (False, True):
            container = RabbitMqContainer(volumes=[(str(tmp_path), "/var/lib/rabbitmq", "rw")])
            with container as rabbitmq:
                connection = pika.BlockingConnection(rabbitmq.get_connection_params())
                connection.channel().queue_declare("orders", durable=True, passive=is_there)
                connection.close()

    def test_start_and_stop_without_a_block(self) -> None:
        container = RabbitMqContainer()
        assert container.status == "not_started"
        try:
            assert container.start() is container
            assert container.status == "running"
            with pytest.raises(BrokerError, match="runs already"):
                container.start()
            assert isinstance(container.get_logs()[0], bytes)
        finally:
            container.stop()
        assert container.status == "exited"
        container.stop()

    def test_the_handle_controls_the_broker(self) -> None:
        with RabbitMqContainer() as rabbitmq:
            connection = pika.BlockingConnection(rabbitmq.get_connection_params())
            channel = connection.channel()
            channel.queue_declare("orders", arguments={"x-message-ttl": 60_000})
            channel.confirm_delivery()
            channel.basic_publish("", "orders", b"A-1")
            rabbitmq.broker.advance(60)
            assert channel.basic_get("orders")[0] is None
            connection.close()


class TestRefused:
    @pytest.mark.parametrize(
        ("ask", "text"),
        [
            (lambda it: it.exec("rabbitmqctl status"), "no container to run"),
            (lambda it: it.with_command("bash -c x"), "no container to run"),
            (lambda it: it.with_network(object()), "no container network"),
            (lambda it: it.with_network_aliases("broker"), "aliases broker"),
            (lambda it: it.with_volume_mapping("x", "/etc/rabbitmq"), "/etc/rabbitmq cannot be"),
            (lambda it: it.with_copy_into_container(b"", "/x"), "copy files"),
            (lambda it: it.copy_into_container(b"", "/x"), "copy files"),
            (lambda it: it.copy_from_container("/x", Path("x")), "copy files"),
            (lambda it: it.with_env_file(".env"), "use with_env"),
            (lambda it: it.wait(), "nothing to wait for"),
            (lambda it: it.get_container_id(), "no container"),
            (lambda it: it.get_container_info(), "no container"),
            (lambda it: it.get_wrapped_container(), "no container"),
            (lambda it: it.get_docker_client(), "no container engine"),
            (lambda it: it.get_connection_params(), "does not run"),
            (lambda it: it.get_logs(), "does not run"),
            (lambda it: it.with_env("RABBITMQ_CONF", "x").start(), "RABBITMQ_CONF"),
            (lambda it: it.with_bind_ports(15672, 25672).start(), "free port only"),
            (lambda _: RabbitMqContainer(command="x"), "no container to run"),
            (lambda _: RabbitMqContainer(network=object()), "no container network"),
            (lambda _: RabbitMqContainer(network_aliases=["x"]), "aliases x"),
            (lambda _: RabbitMqContainer(transferables=[(b"", "/x")]), "copy files"),
        ],
    )
    def test_what_needs_a_container_says_so(
        self, ask: Callable[[RabbitMqContainer], object], text: str
    ) -> None:
        with pytest.raises(BrokerError, match=text):
            ask(RabbitMqContainer())

    def test_a_port_that_is_not_served(self) -> None:
        with RabbitMqContainer() as rabbitmq, pytest.raises(BrokerError, match="15672"):
            rabbitmq.get_exposed_port(15672)

    def test_what_has_no_effect_is_accepted(self) -> None:
        container = RabbitMqContainer(name="broker", hostname="rabbit", docker_client_kw={})
        container.with_name("broker").with_kwargs(mem_limit="1g").with_tmpfs_mount("/var/lib")
        container.maybe_emulate_amd64().waiting_for(object()).with_command("rabbitmq-server")
        container.reload()
        assert container.status == "not_started"

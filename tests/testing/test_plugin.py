"""The plugin of pytest: its fixtures, its marker and its variables, in runs of pytest."""

import os
import socket

import pytest

from tests.testing.plugin_runs import Runs


class TestFixtures:
    def test_each_test_has_a_fresh_broker_at_the_same_port(self, runs: Runs) -> None:
        runs.tests("""
            urls = set()

            @pytest.mark.parametrize("number", range(3))
            def test_it(leveret, leveret_url, number):
                assert leveret_url == leveret.url
                assert not is_there(leveret.url)
                declare(leveret.url)
                urls.add(leveret.url)
                assert len(urls) == 1
        """)
        runs.here().assert_outcomes(passed=3)

    def test_connections_are_closed_when_all_fixtures_of_the_test_have_ended(
        self, runs: Runs
    ) -> None:
        runs.tests("""
            left = []

            @pytest.fixture
            def connection(leveret_url):
                connection = connected(leveret_url)
                yield connection
                connection.close()

            @pytest.fixture
            def independent(request):
                connections = []
                yield connections
                for connection in connections:
                    connection.process_data_events(0)
                    connection.close()

            def test_a(independent, leveret, connection):
                independent.append(connected(leveret.url))
                left.append(connected(leveret.url))

            def test_b():
                with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
                    left.pop().process_data_events(10)
        """)
        runs.here().assert_outcomes(passed=2)

    @pytest.mark.parametrize("how", ["kill", "stop", "pause", "close"])
    def test_whatever_a_test_does_to_it_the_next_one_has_a_broker(
        self, runs: Runs, how: str
    ) -> None:
        runs.tests(f"""
            def test_a(leveret):
                declare(leveret.url)
                leveret.{how}()

            def test_b(leveret):
                assert not is_there(leveret.url)
                declare(leveret.url)

            def test_c(leveret):
                assert not is_there(leveret.url)
        """)
        runs.here().assert_outcomes(passed=3)

    def test_consumers_in_threads_do_not_hold_up_the_next_test(self, runs: Runs) -> None:
        runs.tests("""
            threads = []

            def consume(url, ready):
                connection = connected(url)
                channel = connection.channel()
                channel.queue_declare("q")
                channel.basic_consume("q", lambda *_: None)
                ready.set()
                try:
                    channel.start_consuming()
                except pika.exceptions.AMQPError:
                    pass

            @pytest.mark.parametrize("number", range(3))
            def test_it(leveret, number):
                assert not is_there(leveret.url)
                ready = threading.Event()
                threads.append(threading.Thread(target=consume, args=[leveret.url, ready]))
                threads[-1].start()
                assert ready.wait(30)

            def test_all_of_them_have_ended():
                for thread in threads:
                    thread.join(30)
                    assert not thread.is_alive()
        """)
        runs.here().assert_outcomes(passed=4)

    def test_a_broker_of_its_own_and_one_of_the_session(self, runs: Runs) -> None:
        runs.tests("""
            brokers = []

            def test_a(leveret_broker, leveret, leveret_session):
                brokers.append(leveret_broker)
                assert len({leveret_broker.port, leveret.port, leveret_session.port}) == 3
                declare(leveret_broker.url)
                declare(leveret_session.url)
                assert not is_there(leveret.url)

            def test_b(leveret_broker, leveret_session):
                assert not brokers[0].is_running
                assert not is_there(leveret_broker.url)
                assert is_there(leveret_session.url)
        """)
        runs.here().assert_outcomes(passed=2)

    def test_a_broker_of_the_session_that_is_gone_is_started_again(self, runs: Runs) -> None:
        runs.tests("""
            @pytest.mark.parametrize("how", ["kill", "pause", "close", "stop"])
            def test_it(leveret_session, how):
                declare(leveret_session.url)
                getattr(leveret_session, how)()
        """)
        runs.here().assert_outcomes(passed=4)

    def test_a_connection_of_kombu(self, runs: Runs) -> None:
        runs.tests("""
            def test_it(leveret_kombu, leveret):
                with leveret_kombu.SimpleQueue("q") as queue:
                    queue.put({"number": 1})
                assert is_there(leveret.url)
        """)
        runs.here("-p", "no:warnings").assert_outcomes(passed=1)

    def test_classes_of_unittest(self, runs: Runs) -> None:
        runs.tests("""
            import unittest

            @pytest.mark.usefixtures("leveret")
            class TestA(unittest.TestCase):
                @pytest.fixture(autouse=True)
                def broker(self, leveret):
                    self.broker = leveret

                def test_a(self):
                    assert not is_there(self.broker.url)
                    declare(self.broker.url)

                test_b = test_a

            @pytest.mark.leveret(env="AMQP_URL")
            class TestB(unittest.TestCase):
                def test_a(self):
                    assert not is_there(os.environ["AMQP_URL"])
                    declare(os.environ["AMQP_URL"])

                test_b = test_a
        """)
        runs.here().assert_outcomes(passed=4)

    def test_nothing_is_started_or_imported_that_no_test_asks_for(self, runs: Runs) -> None:
        runs.tests("""
            import sys

            def test_it():
                assert "leveret.testing.plugin" in sys.modules
                assert "leveret.engine" not in sys.modules
                assert "structlog" not in sys.modules
                assert [each.name for each in threading.enumerate()] == ["MainThread"]
        """)
        runs.apart("-p", "no:asyncio").assert_outcomes(passed=1)

    def test_brokers_are_closed_at_the_end(self, runs: Runs) -> None:
        runs.tests("""
            def test_it(leveret, leveret_session):
                with open("ports", "w") as file:
                    print(leveret.port, leveret_session.port, file=file)
        """)
        runs.here().assert_outcomes(passed=1)
        for port in (runs.path / "ports").read_text().split():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", int(port)))


class TestMarker:
    def test_what_a_broker_can_have(self, runs: Runs) -> None:
        runs.tests("""
            import urllib.request
            from pathlib import Path

            @pytest.mark.leveret(management=True)
            def test_management(leveret):
                with urllib.request.urlopen(leveret.management_url) as response:
                    assert response.status == 200

            @pytest.mark.leveret(process=True)
            def test_process(leveret):
                assert [each.name for each in threading.enumerate()].count("leveret") < 2
                leveret.kill()

            @pytest.mark.leveret(process=True)
            def test_process_again(leveret):
                declare(leveret.url)

            directories = []

            @pytest.mark.leveret(directory=True)
            def test_directory(leveret):
                directories.append(Path(leveret.directory))
                assert directories[0].is_dir()
                with connected(leveret.url) as connection:
                    connection.channel().queue_declare("q", durable=True)
                leveret.restart()
                assert is_there(leveret.url)

            @pytest.mark.leveret(directory=True)
            def test_directory_again(leveret):
                assert not is_there(leveret.url)

            @pytest.mark.leveret(directory=True, settings={"auth.default_user": "tom"})
            def test_broker(leveret_broker):
                assert "tom:guest@" in leveret_broker.url
                directories.append(Path(leveret_broker.directory))

            def test_a_directory_is_removed_with_its_broker():
                assert [each.is_dir() for each in directories] == [True, False]
        """)
        runs.here().assert_outcomes(passed=7)

    def test_arguments_of_several_markers_are_put_together(self, runs: Runs) -> None:
        runs.tests("""
            pytestmark = pytest.mark.leveret(
                env="A", settings={"auth.default_user": "tom", "auth.default_pass": "a"}
            )

            @pytest.mark.leveret(env=["B={user} {password}"], settings={"auth.default_pass": "b"})
            def test_it(leveret):
                assert os.environ["A"] == leveret.url
                assert os.environ["B"] == "tom b"
        """)
        runs.here().assert_outcomes(passed=1)

    def test_tests_that_want_the_same_share_a_broker(self, runs: Runs) -> None:
        runs.tests("""
            ports = []

            @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 6, 6])
            def test_it(request, limit):
                settings = {"amqp.channel_max": limit}
                request.node.add_marker(pytest.mark.leveret(settings=settings))
                leveret = request.getfixturevalue("leveret")
                ports.append(leveret.port)

            def test_so_there_are_six():
                assert len(set(ports)) == 6
        """)
        runs.here().assert_outcomes(passed=9)

    def test_variables_are_set_before_fixtures_and_restored(self, runs: Runs) -> None:
        runs.tests("""
            @pytest.fixture
            def application():
                return os.environ["AMQP_URL"]

            @pytest.mark.leveret(env=["AMQP_URL", "AMQP_PORT={port}"])
            def test_a(application, leveret):
                assert application == leveret.url
                assert os.environ["AMQP_PORT"] == str(leveret.port)

            def test_b():
                assert os.environ["AMQP_URL"] == "as before"
                assert "AMQP_PORT" not in os.environ

            @pytest.mark.leveret(env="AMQP_URL")
            def test_c(leveret_broker):
                assert os.environ["AMQP_URL"] == leveret_broker.url
        """)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AMQP_URL", "as before")
            runs.here().assert_outcomes(passed=3)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ("mangement=True", "it has no argument mangement, but management, process,"),
            ("True", "its arguments have names: management, process,"),
            ("process=1", "process is True or False, and not 1"),
            ("settings=5", "settings is a dictionary such as*, not 5"),
            ("env=5", "env is a name of a variable, or several, and not 5"),
            ("env='A B'", "'A B' is not NAME or NAME=VALUE"),
        ],
    )
    def test_a_wrong_argument_is_named(self, runs: Runs, arguments: str, text: str) -> None:
        runs.tests(f"""
            @pytest.mark.leveret({arguments})
            def test_it():
                pass
        """)
        result = runs.here()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"@pytest.mark.leveret: {text}*"])
        result.stdout.no_fnmatch_line("*wanted_by*")

    def test_a_wrong_setting_is_named(self, runs: Runs) -> None:
        runs.tests("""
            @pytest.mark.leveret(settings={"amqp.heartbeet": 5})
            def test_it(leveret):
                pass
        """)
        result = runs.here()
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*does not start*amqp.heartbeet*"])

    def test_it_is_described(self, runs: Runs) -> None:
        runs.here("--markers").stdout.fnmatch_lines(["@pytest.mark.leveret(management=False,*"])


class TestEnvironment:
    def test_it_is_there_for_who_reads_it_when_imported(self, runs: Runs) -> None:
        runs.ini("""
            leveret_env =
                AMQP_URL
                AMQP_ADDRESS={host}:{port}
        """)
        runs.conftest("""
            from application import URL

            @pytest.fixture
            def url():
                return URL
        """)
        (runs.path / "application.py").write_text("import os\nURL = os.environ['AMQP_URL']\n")
        runs.tests("""
            with connected(os.environ["AMQP_URL"]):
                pass  # It runs when tests are imported.

            def test_a(url):
                assert not is_there(url)
                declare(url)

            test_b = test_a

            def test_kill(leveret, url):
                assert leveret.url == url
                assert os.environ["AMQP_ADDRESS"] == f"{leveret.host}:{leveret.port}"
                leveret.kill()

            test_c = test_a

            def test_close(leveret, url):
                leveret.close()

            test_d = test_a

            def test_e(url):
                assert os.environ["AMQP_URL"] == url
                test_a(url)
        """)
        assert "AMQP_URL" not in os.environ
        runs.here().assert_outcomes(passed=7)
        assert "AMQP_URL" not in os.environ
        assert "AMQP_ADDRESS" not in os.environ

    def test_a_broker_of_another_kind_is_at_the_same_port(self, runs: Runs) -> None:
        runs.ini("leveret_env = AMQP_URL")
        runs.tests("""
            URL = os.environ["AMQP_URL"]

            def test_a():
                assert not is_there(URL)
                declare(URL)

            @pytest.mark.leveret(settings={"amqp.channel_max": 5})
            def test_marked(leveret):
                assert leveret.url == os.environ["AMQP_URL"] == URL
                with connected(URL) as connection:
                    assert connection._impl.params.channel_max == 5

            test_b = test_a

            @pytest.mark.leveret(directory=True)
            def test_durable(leveret):
                with connected(URL) as connection:
                    connection.channel().queue_declare("q", durable=True)
                leveret.restart()
                assert is_there(URL)

            @pytest.mark.leveret(process=True)
            def test_process(leveret):
                test_a()
                leveret.kill()

            test_c = test_a

            def test_own(leveret_broker):
                assert leveret_broker.url != URL
                declare(leveret_broker.url)
                assert not is_there(URL)
        """)
        runs.here().assert_outcomes(passed=7)

    @pytest.mark.parametrize(
        ("entry", "text"),
        [
            ("AMQP URL", "leveret_env: 'AMQP URL' is not NAME or NAME=VALUE"),
            ("A={uri}", "leveret_env: 'A={uri}': {uri} is none of {url}, {host},"),
            ("A={url", "leveret_env: 'A={url': expected '}'"),
        ],
    )
    def test_a_wrong_entry_is_a_usage_error(self, runs: Runs, entry: str, text: str) -> None:
        runs.ini(f"leveret_env = {entry}")
        result = runs.apart("-p", "no:asyncio")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*{text}*"])

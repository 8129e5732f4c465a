"""The plugin of pytest: what reports of tests say of the broker."""

import pytest

from tests.testing.plugin_runs import Runs


def test_the_log_is_a_section_if_asked_for(runs: Runs) -> None:
    runs.tests("""
        def test_a(leveret):
            declare(leveret.url)

        def test_b(leveret):
            declare(leveret.url, "lost")
            leveret.restart()
            declare(leveret.url)
            raise KeyError("b")
    """)
    result = runs.here("--leveret-log")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*leveret: log*", "*connection opened*", "*FAILED*"])
    runs.here("--leveret-log=warning").stdout.no_fnmatch_line("*leveret: log*")
    runs.here().stdout.no_fnmatch_line("*leveret: log*")
    passed = runs.here("--leveret-log=debug", "-rP", "-k", "test_a")
    passed.stdout.fnmatch_lines(["*leveret: log*", "*connection opened*"])


def test_a_wrong_level_is_a_usage_error(runs: Runs) -> None:
    result = runs.here("--leveret-log=loud")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--leveret-log*'loud'*"])


def test_an_internal_error_is_a_warning_of_its_test(runs: Runs) -> None:
    runs.ini("", warnings="default")
    runs.tests("""
        from leveret.logging import get_logger

        def test_a(leveret):
            get_logger().error("internal error: please report this", error="as ordered")

        def test_b(leveret):
            pass
    """)
    result = runs.here()
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["test_it.py::test_a", "*BrokerWarning*as ordered*"])


def test_a_broker_that_died_is_a_warning_and_the_next_test_has_one(runs: Runs) -> None:
    runs.ini("", warnings="default")
    runs.tests("""
        import signal

        @pytest.mark.leveret(process=True)
        def test_a(leveret):
            os.kill(leveret._driver._process.pid, signal.SIGKILL)
            assert leveret._driver._process.wait(30) < 0

        @pytest.mark.leveret(process=True)
        def test_b(leveret):
            declare(leveret.url)
    """)
    result = runs.here()
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["test_it.py::test_a", "*BrokerWarning: the broker was lost:*"])


def test_a_failing_test_says_what_its_broker_has(runs: Runs) -> None:
    runs.tests("""
        @pytest.fixture
        def connection(leveret):
            with connected(leveret.url) as connection:
                yield connection

        @pytest.mark.leveret(record=True)
        def test_a(leveret, connection):
            channel = connection.channel()
            channel.queue_declare("orders")
            for body in (b"1", b"2", b"3"):
                channel.basic_publish("", "orders", body)
            channel.basic_publish("amq.topic", "nowhere", b"lost")
            channel.basic_get("orders")
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume("orders", lambda *_: None, consumer_tag="worker")
            leveret.queue("orders").wait_for_consumers(1)
            raise KeyError("a")

        def test_b(leveret):
            raise KeyError("b")

        def test_c(leveret):
            for number in range(12):
                declare(leveret.url, f"q{number:02}")
            raise KeyError("c")

        def test_d(leveret, leveret_broker):
            leveret.kill()
            raise KeyError("d")
    """)
    result = runs.here()
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "*leveret: state*",
            "queue 'orders': 1 message ready, 2 unacknowledged, 1 consumer ('worker')",
            "connection '127.0.0.1:*': user 'guest', 1 channel",
            "unroutable: <Published 'nowhere' of exchange 'amq.topic' to no queue: lost>",
            "*leveret: state*",
            "no queues",
            "no connections",
            "*leveret: state*",
            "queue 'q00': 0 messages ready, 0 unacknowledged, no consumers",
            "and 2 more queues",
            "*leveret: state*",
            "the broker is not running",
            "*leveret_broker: state*",
        ]
    )


def test_what_fails_is_shown_at_the_line_of_the_test(runs: Runs) -> None:
    runs.tests("""
        def test_a(leveret):
            leveret.published()

        def test_b(leveret):
            leveret.faults.refuse_connections(how="slowly")

        def test_c(leveret):
            leveret.record()
            leveret.wait_for_published(timeout=0)

        def test_d(leveret):
            leveret.queue("orders").wait_for(timeout=0)

        def test_e(leveret):
            leveret.kill()
            leveret.queues()

        def test_f(leveret_broker):
            leveret_broker.wait_for_published()
    """)
    result = runs.here("--tb=short")
    result.assert_outcomes(failed=6)
    shown = [line.partition(": in ")[2] for line in result.stdout.lines if ": in " in line]
    assert shown == [f"test_{name}" for name in "abcdef"]


def test_a_broker_that_began_empty_is_told(runs: Runs) -> None:
    runs.tests("""
        def test_a(leveret):
            declare(leveret.url)
            leveret.restart()
            assert leveret.queue("q").exists

        @pytest.mark.leveret(directory=True)
        def test_b(leveret):
            leveret.restart()
            assert leveret.queue("q").exists
    """)
    result = runs.here()
    result.assert_outcomes(failed=2)
    assert result.stdout.str().count("began empty") == 1


def test_a_wrong_marker_is_told_once(runs: Runs) -> None:
    runs.tests("""
        @pytest.mark.leveret(directoy=True)
        def test_a(leveret):
            pass

        @pytest.mark.leveret(settings={"amqp.chanel_max": 3})
        def test_b(leveret_broker):
            pass
    """)
    result = runs.here()
    result.assert_outcomes(errors=2)
    result.stdout.no_fnmatch_line("*During handling*")


def test_errors_of_two_brokers_fail_a_test_if_warnings_are_errors(runs: Runs) -> None:
    runs.tests("""
        from leveret.logging import get_logger

        def test_a(leveret, leveret_session):
            declare(leveret.url)
            get_logger().error("internal error: please report this", error="as ordered")

        def test_b(leveret):
            assert not is_there(leveret.url)
    """)
    result = runs.here()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*BrokerWarning*as ordered*"])


def test_a_test_that_has_not_connected_says_nothing_of_the_broker(runs: Runs) -> None:
    runs.ini("leveret_env = AMQP_URL")
    runs.tests("""
        def test_a():
            raise KeyError("a")

        def test_b():
            declare(os.environ["AMQP_URL"])
            raise KeyError("b")
    """)
    result = runs.here()
    result.assert_outcomes(failed=2)
    assert result.stdout.str().count("leveret: state") == 1

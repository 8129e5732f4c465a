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

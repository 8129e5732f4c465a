"""Celery's fixtures of pytest with the broker of the plugin."""

import pytest

from tests.testing.plugin_runs import Runs

BOTH = "['leveret.testing.celery', 'celery.contrib.pytest']"


@pytest.mark.parametrize("plugins", ["['leveret.testing.celery']", BOTH], ids=["alone", "both"])
def test_apps_and_workers_use_the_broker(runs: Runs, plugins: str) -> None:
    runs.ini("", warnings="default")
    runs.conftest(f"pytest_plugins = {plugins}\n")
    runs.tests("""
        from celery import shared_task

        @shared_task(name="double")
        def double(number):
            return 2 * number

        @pytest.mark.parametrize("number", range(2))
        def test_worker(leveret, celery_app, celery_worker, number):
            assert celery_app.conf.broker_url == leveret.url
            assert double.delay(number).get(timeout=30) == 2 * number

        def test_without_worker(celery_app, leveret):
            celery_app.set_current()
            double.delay(5)
            (message,) = leveret.queue("celery").wait_for(1)
            assert message.headers["task"] == "double"

        @pytest.mark.parametrize("number", range(2))
        def test_worker_of_the_session(celery_session_worker, leveret_session, number):
            assert double.delay(number).get(timeout=30) == 2 * number
            assert leveret_session.queue("celery").consumers()

        @pytest.mark.celery(result_backend="cache+memory://")
        def test_own_results(celery_app):
            assert celery_app.conf.result_backend == "cache+memory://"
            assert celery_app.conf.broker_url.startswith("amqp://")

        class TestOwn:
            @pytest.fixture(scope="class")
            def celery_parameters(self):
                return {"broker": "memory://"}

            def test_own_broker(self, celery_app):
                assert celery_app.conf.broker_url == "memory://"
    """)
    runs.apart("-p", "no:asyncio").assert_outcomes(passed=7)

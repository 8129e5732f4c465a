"""The plugin of pytest beside other plugins: coroutines, processes, forks."""

import pytest

from tests.testing.plugin_runs import FORKING, Runs


def test_coroutines_of_asyncio_and_trio(runs: Runs) -> None:
    runs.ini("""
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = function
    """)
    runs.tests("""
        import anyio
        import aio_pika

        async def publish(url):
            async with await aio_pika.connect(url) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue("q")
                assert queue.declaration_result.message_count == 0
                await channel.default_exchange.publish(aio_pika.Message(b"x"), "q")

        @pytest.fixture
        async def connection(leveret_url):
            async with await aio_pika.connect(leveret_url) as connection:
                yield connection

        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", range(2))
        async def test_asyncio(leveret, connection, number):
            await publish(leveret.url)
            async with leveret_broker(leveret):
                pass

        def leveret_broker(leveret):
            return type(leveret)()

        @pytest.mark.anyio
        class TestAnyio:
            @pytest.fixture(params=["asyncio", "trio"])
            def anyio_backend(self, request):
                return request.param

            async def test_anyio(self, leveret, anyio_backend):
                assert not await anyio.to_thread.run_sync(is_there, leveret.url)
                await anyio.to_thread.run_sync(declare, leveret.url)
                async with leveret_broker(leveret):
                    pass
    """)
    runs.apart().assert_outcomes(passed=4)


def test_each_worker_of_xdist_has_a_broker_and_its_controller_has_none(runs: Runs) -> None:
    runs.ini("leveret_env = AMQP_URL")
    runs.conftest("""
        URL = os.environ["AMQP_URL"]

        def pytest_sessionfinish(session):
            if not hasattr(session.config, "workerinput"):
                assert "leveret" not in [each.name for each in threading.enumerate()]
    """)
    runs.tests("""
        from pathlib import Path

        from conftest import URL

        @pytest.mark.parametrize("number", range(6))
        def test_it(leveret, number, worker_id):
            assert leveret.url == URL == os.environ["AMQP_URL"]
            assert not is_there(URL)
            declare(URL)
            Path(__file__).with_name(f"{worker_id}.{leveret.port}").touch()
    """)
    runs.apart("-n", "2", "-p", "no:asyncio").assert_outcomes(passed=6)
    used = {path.suffix for path in runs.path.glob("gw*")}
    assert len(used) == len({path.stem for path in runs.path.glob("gw*")}) > 0


@pytest.mark.parametrize("env", ["", "leveret_env = AMQP_URL"])
def test_tests_in_processes_of_their_own(runs: Runs, env: str) -> None:
    runs.ini(env)
    runs.conftest(FORKING)
    runs.tests("""
        def test_a(leveret):
            assert not is_there(leveret.url)
            declare(leveret.url)
            assert os.environ.get("AMQP_URL", leveret.url) == leveret.url

        test_b = test_a
    """)
    runs.apart("--forked", "-p", "no:asyncio").assert_outcomes(passed=2)


def test_one_forked_test_among_others(runs: Runs) -> None:
    runs.ini("leveret_env = AMQP_URL")
    runs.conftest(FORKING)
    runs.tests("""
        def test_a(leveret):
            assert not is_there(leveret.url)
            declare(leveret.url)

        @pytest.mark.forked
        def test_by_variable():
            assert not is_there(os.environ["AMQP_URL"])
            declare(os.environ["AMQP_URL"])

        test_b = test_a

        @pytest.mark.forked
        def test_by_fixture(leveret):
            pass

        @pytest.mark.forked
        def test_by_its_own(leveret_broker):
            declare(leveret_broker.url)
    """)
    result = runs.apart("-p", "no:asyncio")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*runs in the process that forked this one*"])


def test_it_can_be_switched_off(runs: Runs) -> None:
    runs.tests("""
        def test_it(leveret):
            pass
    """)
    result = runs.without_plugin()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'leveret' not found*"])

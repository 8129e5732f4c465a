"""Storage that fails, and data that cannot be used: what clients, the log and the exit code say.

A sync that fails is made by a library in front of the C library (failing_sync.c), so that what runs
is the real process.
"""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from pamqp import commands

from leveret_storage.format.file_header import (
    CHECKED_BEFORE_CRC,
    FORMAT_VERSION,
    MAGIC,
    PRELUDE,
    READABLE_VERSIONS,
)
from tests.clients.peers import MEGABYTE, Numbered, Peer, Peers, Sender, log_lines
from tests.support.brokers import FEW_CONNECTIONS, BrokerError, Leveret, leveret_command, wait_until

PERSISTENT = commands.Basic.Properties(delivery_mode=2)
SHIM_SOURCE = Path(__file__).parents[1] / "support" / "failing_sync.c"
EIO = os.strerror(5)


def declare(peer: Peer, queue: str = "work") -> int:
    """Declare a durable queue; how many messages it has."""
    declared = peer.call(
        commands.Queue.Declare(queue=queue, durable=True), commands.Queue.DeclareOk
    )
    return declared.message_count or 0


def publish(peer: Peer, number: int) -> None:
    """Publish a persistent message, and wait for nothing."""
    body = Numbered(100).body(number)
    peer.send_content(commands.Basic.Publish(routing_key="work"), 1, body, PERSISTENT)


def publisher(peers: Peers) -> Peer:
    """A peer with confirms, and the queue."""
    peer = peers.log_in()
    declare(peer)
    peer.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
    return peer


def refusal(data: Path, **variables: str) -> str:
    """The one line with which a broker refuses the data."""
    variables |= dict([FEW_CONNECTIONS])
    with pytest.raises(BrokerError) as refused, Leveret(data_dir=data, env=variables):
        raise AssertionError("it has started")
    head, line = str(refused.value).splitlines()
    assert "exit code 2" in head
    prefix = f"leveret: storage.data_dir: {data}: "
    assert line.startswith(prefix)
    return line.removeprefix(prefix)


def of_version(version: int, head: bytes) -> bytes:
    """A head with the number of another version, and nothing wrong with it."""
    body = head[PRELUDE.size :]
    checked = PRELUDE.pack(MAGIC, version, len(head), 0)[:CHECKED_BEFORE_CRC]
    return PRELUDE.pack(MAGIC, version, len(head), crc32(body, crc32(checked))) + body


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data of a broker that has ended, with a queue of five messages."""
    directory = tmp_path / "data"
    with Leveret(data_dir=directory) as broker, Peers(broker) as peers:
        peer = publisher(peers)
        for number in range(5):
            publish(peer, number)
            peer.read_one(commands.Basic.Ack)
    return directory


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """LD_PRELOAD with the library that makes a sync fail, before what this process preloads."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make the failing sync with")
    library = tmp_path_factory.mktemp("shim") / "failing_sync.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(SHIM_SOURCE)]
    subprocess.run(command, check=True)
    return ":".join([str(library), *filter(None, [os.environ.get("LD_PRELOAD")])])


class TestFailingSync:
    @pytest.fixture
    def sign(self, tmp_path: Path) -> Path:
        """While this file exists, every sync fails."""
        return tmp_path / "sign"

    @pytest.fixture
    def broker(self, shim: str, sign: Path, tmp_path: Path) -> Iterator[Leveret]:
        variables = {"LD_PRELOAD": shim, "FAILING_SYNC": str(sign)}
        with Leveret(data_dir=tmp_path / "data", env=variables) as leveret:
            yield leveret

    def test_nothing_is_confirmed_any_more_and_clients_are_told(
        self, broker: Leveret, sign: Path
    ) -> None:
        with Peers(broker) as peers:
            peer, bystander = publisher(peers), peers.log_in()
            publish(peer, 0)
            peer.read_one(commands.Basic.Ack)
            sign.touch()
            publish(peer, 1)

            for each in (peer, bystander):
                close = each.read_close()
                assert close
                assert close.reply_code == 320
                assert "storage failed" in str(close.reply_text)

    def test_it_ends_with_3_and_one_line_says_why(self, broker: Leveret, sign: Path) -> None:
        with Peers(broker) as peers:
            peer = publisher(peers)
            sign.touch()
            for number in range(100):
                publish(peer, number)
            peer.read_close()
            assert broker.wait() == 3

        (line,) = [
            line for line in broker.log_text().splitlines() if "nothing is confirmed" in line
        ]
        # Most batches are written and synced in one call.
        assert "cannot sync" in line or "cannot append" in line
        assert str(broker.data_dir / "blobs") in line
        assert EIO in line

    def test_a_declaration_that_is_not_durable_is_not_answered(
        self, broker: Leveret, sign: Path
    ) -> None:
        with Peers(broker) as peers:
            peer = peers.log_in()
            sign.touch()
            peer.send(commands.Queue.Declare(queue="work", durable=True), 1)

            close = peer.read_close()

        assert close
        assert "storage failed" in str(close.reply_text)

    def test_what_was_confirmed_is_there_at_the_next_start(
        self, broker: Leveret, sign: Path
    ) -> None:
        with Peers(broker) as peers:
            peer = publisher(peers)
            for number in range(50):
                publish(peer, number)
            confirmed = 0
            while confirmed < 50:
                confirmed = peer.read_one(commands.Basic.Ack).delivery_tag
            sign.touch()
            publish(peer, 50)
            peer.read_close()
            broker.wait()

        with Leveret(data_dir=broker.data_dir) as again, Peers(again) as peers:
            peer = peers.log_in()
            there = declare(peer)
            peer.consume("work")
            arrived = [Numbered.number(peer.read_content()) for _ in range(there)]
        assert there >= 50
        assert arrived == list(range(there))

    def test_a_sync_at_intervals_that_fails_ends_it_as_well(
        self, shim: str, sign: Path, tmp_path: Path
    ) -> None:
        variables = {
            "LD_PRELOAD": shim,
            "FAILING_SYNC": str(sign),
            "LEVERET_STORAGE_SYNC": "interval",
            "LEVERET_STORAGE_SYNC_INTERVAL": "20",
        }
        with Leveret(data_dir=tmp_path / "data", env=variables) as broker, Peers(broker) as peers:
            peer = publisher(peers)
            sign.touch()
            publish(peer, 0)
            peer.read_close()

            assert broker.wait() == 3

    def test_without_syncs_a_message_is_confirmed_and_the_stop_tells_of_the_failure(
        self, shim: str, sign: Path, tmp_path: Path
    ) -> None:
        variables = {
            "LD_PRELOAD": shim,
            "FAILING_SYNC": str(sign),
            "LEVERET_STORAGE_SYNC": "os",
        }
        with Leveret(data_dir=tmp_path / "data", env=variables) as broker:
            with Peers(broker) as peers:
                peer = publisher(peers)
                sign.touch()
                publish(peer, 0)
                peer.read_one(commands.Basic.Ack)

            assert broker.stop() == 3


class TestReading:
    """A durable message that cannot be read ends the broker: that it is there was promised."""

    @pytest.fixture
    def deep(self, tmp_path: Path) -> Path:
        """The data of a broker that has ended, with a queue that is mostly on disk."""
        directory = tmp_path / "data"
        with Leveret(data_dir=directory) as broker, Peers(broker) as peers:
            peer = peers.log_in()
            declare(peer)
            Sender(peer, "work", 64 * 1024, 200, PERSISTENT).join()
            wait_until(lambda: peer.count("work") == 200, what="a full queue")
            blobs = directory / "blobs"
            wait_until(
                lambda: sum(path.stat().st_size for path in blobs.glob("queue-*")) > 8 * MEGABYTE,
                what="a queue that is mostly on disk",
            )
        return directory

    @staticmethod
    def damage(data: Path) -> tuple[Path, int]:
        """Change a byte of a message on disk; its file, and where."""
        blob = min((data / "blobs").glob("queue-*"))
        content = bytearray(blob.read_bytes())
        at = content.rindex(b"." * 1000)
        content[at] ^= 1
        blob.write_bytes(content)
        return blob, at

    @staticmethod
    def line(broker: Leveret) -> str:
        """The line that says why it ended."""
        (line,) = [
            line for line in broker.log_text().splitlines() if "is confirmed any more" in line
        ]
        assert "Traceback" not in broker.log_text()
        return line

    def test_a_damaged_run_ends_it_with_3_and_a_line_that_says_where_and_what_to_do(
        self, deep: Path
    ) -> None:
        blob, at = self.damage(deep)
        with Leveret(data_dir=deep) as broker, Peers(broker) as peers:
            peer = peers.log_in()
            peer.consume("work")
            close = peer.read_close()

            assert close
            assert (close.reply_code, "storage failed" in str(close.reply_text)) == (320, True)
            assert broker.wait() == 3
            line = self.line(broker)
        told = re.search(rf"{blob.name}: damaged from offset (\d+) to (\d+): ", line)
        assert told
        assert int(told[1]) <= at < int(told[2])
        assert "--salvage" in line
        assert str(deep) in line

    def test_a_salvage_sets_it_aside_and_has_its_messages_from_the_log(self, deep: Path) -> None:
        self.damage(deep)
        with Leveret("--salvage", data_dir=deep) as broker, Peers(broker) as peers:
            peer = peers.log_in()
            ready = declare(peer)
            peer.consume("work")
            assert [Numbered.number(peer.read_content()) for _ in range(ready)] == list(range(200))

    def test_basic_get_of_what_cannot_be_read_ends_it_as_well(self, deep: Path) -> None:
        blob, _ = self.damage(deep)
        with Leveret(data_dir=deep) as broker, Peers(broker) as peers:
            peer = peers.log_in()
            close = None
            while close is None:
                peer.send(commands.Basic.Get(queue="work", no_ack=True), 1)
                arrived = peer.read().frame
                if isinstance(arrived, commands.Connection.Close):
                    close = arrived
                else:
                    peer.read_body()

            assert close.reply_code in (320, 541)
            assert broker.wait() == 3
            assert blob.name in self.line(broker)


class TestRefusals:
    def test_a_directory_in_use_names_the_process(self, tmp_path: Path) -> None:
        with Leveret(data_dir=tmp_path / "data") as broker:
            line = refusal(broker.data_dir)

            assert line == (
                f"{broker.data_dir} is in use by process {broker.pid} on {socket.gethostname()}"
            )

    @pytest.mark.parametrize("left", [None, 0, 29, 60])
    def test_a_log_that_was_cut_or_deleted_is_damage(self, data: Path, left: int | None) -> None:
        """Of a broker that was stopped all is there, so that no start takes it for a crash."""
        with Leveret(data_dir=data) as broker:
            assert broker.stop() == 0
        blobs = data / "blobs"
        log = max(blobs.glob("log-*"))
        if left is None:
            log.unlink()
        else:
            os.truncate(log, left)

        line = refusal(data)

        assert line.startswith(f"{log.name}: damaged from offset ")
        assert line.endswith("start with --salvage to set this range aside and start without it")
        checked = subprocess.run(
            [*leveret_command()[0], "log", "check", str(data)],
            env={**os.environ, **leveret_command()[1]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert checked.returncode == 1
        assert f"damaged: {log}: offset " in checked.stdout
        with Leveret("--salvage", data_dir=data) as broker:
            assert "damage set aside" in broker.log_text()

    def test_what_is_no_file_of_the_storage_is_named_and_left(self, data: Path) -> None:
        blobs = data / "blobs"
        (blobs / "a-directory").mkdir()
        (blobs / "notes.txt").write_text("foreign")
        (blobs / ".hidden").write_text("foreign")

        with Leveret(data_dir=data) as broker:
            text = broker.log_text()
            before_ready = text[: text.index("leveret ready")]
            for name in ("a-directory", "notes.txt", ".hidden"):
                assert f"{blobs / name}" in before_ready
            assert broker.stop() == 0
        assert (blobs / "notes.txt").read_text() == (blobs / ".hidden").read_text() == "foreign"
        assert (blobs / "a-directory").is_dir()

    def test_data_of_another_node_names_both(self, data: Path) -> None:
        line = refusal(data, LEVERET_SERVER_NODE_NAME="second")

        assert line == (
            "holds the data of the node 'leveret', and this one is 'second' (server.node_name)"
        )

    def test_data_of_a_newer_format_names_both_versions(self, data: Path) -> None:
        head = data / "head"
        head.write_bytes(of_version(FORMAT_VERSION + 1, head.read_bytes()))

        line = refusal(data)

        assert line == (
            f"{head}: offset 8: written in format version {FORMAT_VERSION + 1};"
            f" this program reads versions {' and '.join(map(str, READABLE_VERSIONS))} only"
        )

    def test_a_refused_directory_is_not_changed(self, data: Path) -> None:
        before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
        refusal(data, LEVERET_SERVER_NODE_NAME="second")
        after = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}

        lock = data / "lock"
        del before[lock], after[lock]
        assert after == before

    def test_damage_names_file_and_offset_and_what_to_do(self, data: Path) -> None:
        blob = min((data / "blobs").iterdir())
        content = bytearray(blob.read_bytes())
        at = content.index(Numbered(100).body(2))
        content[at] ^= 0xFF
        blob.write_bytes(content)

        line = refusal(data)

        assert line.startswith(f"{blob.name}: damaged from offset ")
        assert "--salvage" in line


class TestTornEnd:
    def test_it_is_cut_with_a_line_and_the_rest_is_there(self, data: Path) -> None:
        blob = max((data / "blobs").iterdir())
        with blob.open("ab") as file:
            file.write(b"\x00\x00\x01\x00torn")

        with Leveret(data_dir=data) as broker, Peers(broker) as peers:
            (line,) = log_lines(broker, "torn")
            assert blob.name in line
            assert declare(peers.log_in()) == 5

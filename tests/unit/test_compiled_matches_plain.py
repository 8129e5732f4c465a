"""The compiled build behaves as its .py files: same results, same exceptions, same sessions.

Where the plain build is installed there is nothing to compare; there it is only seen to that the
.py files are what runs.
"""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librt.strings import BytesWriter

import leveret
from leveret.compiled import COMPILED, build_kind, loaded_from_shared_object
from leveret.engine.values import encoded_table
from leveret.engine.values.message import Message
from leveret.protocol.wire import frames
from tests.protocol.replay import PLAIN, replay
from tests.protocol.sessions import HANDSHAKE, SESSION
from tests.support.examples import examples
from tests.unit.protocol.wire import octets

ROOT = Path(__file__).parents[2]


def twin(module: ModuleType) -> ModuleType:
    """The .py file beside a module, loaded under another name."""
    # A compiled module is not told its own place well; the package, which is not, is.
    _, *path = module.__name__.split(".")
    source = Path(leveret.__file__).parent.joinpath(*path).with_suffix(".py")
    loader = SourceFileLoader(f"plain_{path[-1]}", str(source))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    made = module_from_spec(spec)
    loader.exec_module(made)
    return made


def outcome(function: Any, *arguments: object) -> object:
    """The result of a function, or the type and text of its exception."""
    try:
        return function(*arguments)
    except (ValueError, IndexError, OverflowError, TypeError) as error:
        return type(error), str(error)


if build_kind() == "plain Python":

    @pytest.mark.parametrize("name", COMPILED)
    def test_each_module_runs_from_its_py_file(name: str) -> None:
        """Nothing is compiled here, so there is nothing to compare."""
        assert str(importlib.import_module(name).__file__).endswith(".py")

else:
    plain_tables = twin(encoded_table)
    plain_frames = twin(frames)

    def damaged(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        """Some unchanged, some with one octet changed, some truncated."""
        return st.one_of(
            good,
            st.tuples(good, st.integers(0, 10_000), st.integers(0, 255)).map(
                lambda parts: (
                    parts[0][: parts[1] % (len(parts[0]) + 1)]
                    + bytes((parts[2],))
                    + parts[0][parts[1] % (len(parts[0]) + 1) + 1 :]
                )
            ),
            st.tuples(good, st.integers(0, 10_000)).map(
                lambda parts: parts[0][: parts[1] % (len(parts[0]) + 1)]
            ),
        )

    def test_the_twins_are_compiled_and_plain() -> None:
        assert loaded_from_shared_object(encoded_table.__name__)
        assert loaded_from_shared_object(frames.__name__)
        for module, plain in ((encoded_table, plain_tables), (frames, plain_frames)):
            source = Path(leveret.__file__).parents[1] / f"{module.__name__.replace('.', '/')}.py"
            assert Path(str(plain.__file__)) == source

    @given(damaged(octets.tables), st.integers(0, 3))
    @settings(max_examples=examples(200), deadline=None)
    def test_tables_are_checked_alike(table: bytes, start: int) -> None:
        data = b"\0" * start + table
        compiled = outcome(encoded_table.check_table, data, start, len(data))
        assert compiled == outcome(plain_tables.check_table, data, start, len(data))
        if isinstance(compiled, int):
            types = encoded_table.table_types(data, start)
            assert types == plain_tables.table_types(data, start)

    @given(st.integers(0, 0xFFFF), damaged(st.binary(max_size=80)), damaged(octets.tables))
    @settings(max_examples=examples(200), deadline=None)
    def test_properties_are_checked_alike(flags: int, values: bytes, table: bytes) -> None:
        for data in (
            flags.to_bytes(2, "big") + values,
            (flags & 0x9FFF | encoded_table.HEADERS).to_bytes(2, "big") + table + values,
        ):
            compiled = outcome(encoded_table.check_properties, data, 0, len(data))
            assert compiled == outcome(plain_tables.check_properties, data, 0, len(data))
            if isinstance(compiled, int):
                mode = encoded_table.delivery_mode(data, 0, compiled)
                assert mode == plain_tables.delivery_mode(data, 0, compiled)

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_names_read_alike(name: bytes) -> None:
        assert encoded_table.name_text(name) == plain_tables.name_text(name)

    @settings(deadline=None)
    @given(
        st.integers(0, 65_535),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.binary(max_size=9000),
        st.integers(0, 2**31 - 1),
        st.sampled_from([4096, 4097, 131_072]),
    )
    def test_frames_are_written_alike(
        channel: int, tag: int, flag: bool, body: bytes, left: int, frame_max: int
    ) -> None:
        message = Message(b"\x01x\x01k", b"\0\x3c" + bytes(12), body, False)
        written = []
        for module in (frames, plain_frames):
            out, parts = BytesWriter(), module.OutputParts()
            number = module.wire_number(channel)
            template = module.DeliveryTemplate()
            for _ in range(3):
                module.write_deliver(
                    out, parts, template, number, b"\x01c", tag, flag, message, frame_max
                )
            module.write_get_ok(out, parts, number, tag, flag, message, left, frame_max)
            module.write_return(out, parts, number, message, frame_max)
            module.write_ack(out, number, tag, flag)
            written.append(b"".join(parts.take(out)))
        assert written[0] == written[1]

    class PlainReplay:
        """Another process, in which nothing is compiled."""

        def __init__(self) -> None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.protocol.replay", PLAIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )

        def replay(self, pieces: list[bytes]) -> str:
            """The replies to a session."""
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            print(*(piece.hex() for piece in pieces), file=self.process.stdin, flush=True)
            return self.process.stdout.readline().rstrip("\n")

        def end(self) -> None:
            """End it, and check that nothing in it was compiled."""
            self.process.communicate()
            assert self.process.returncode == 0

    @pytest.fixture(scope="module")
    def plain() -> Iterator[PlainReplay]:
        plain_replay = PlainReplay()
        yield plain_replay
        plain_replay.end()

    def test_a_session_is_answered_alike(plain: PlainReplay) -> None:
        answer = replay([b"".join(SESSION)])
        assert answer == plain.replay([b"".join(SESSION)])
        assert len(answer) > 1000

    @given(
        st.lists(
            st.tuples(
                st.integers(0, len(SESSION) - 1), st.integers(0, 10_000), st.integers(0, 255)
            ),
            max_size=3,
        )
    )
    @settings(max_examples=examples(300), deadline=None)
    def test_a_damaged_session_is_answered_alike(
        plain: PlainReplay, changes: list[tuple[int, int, int]]
    ) -> None:
        pieces = list(SESSION)
        for number, place, change in changes:
            piece = bytearray(pieces[number])
            piece[place % len(piece)] ^= change
            pieces[number] = bytes(piece)
        assert replay(pieces) == plain.replay(pieces)

    @given(st.permutations(range(len(HANDSHAKE) + 1, len(SESSION))))
    @settings(max_examples=examples(100), deadline=None)
    def test_a_session_in_any_order_is_answered_alike(plain: PlainReplay, order: list[int]) -> None:
        pieces = [*SESSION[: len(HANDSHAKE) + 1], *(SESSION[number] for number in order)]
        assert replay(pieces) == plain.replay(pieces)

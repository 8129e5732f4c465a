"""Octets in parts: joined they are what came, and their memory is in proportion."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from leveret.protocol.wire.assembly import Assembly

chunks = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 100, 4095, 4096, 5000, 20_000]),
        st.sampled_from([0, 7, 30_000]),
        st.sampled_from([0, 1]),
    ),
    max_size=20,
)


@given(chunks)
def test_what_was_added_is_taken_as_one(pieces: list[tuple[int, int, int]]) -> None:
    assembly = Assembly()
    expected = b""
    for number, (size, before, behind) in enumerate(pieces):
        part = bytes([number]) * size
        data = b"<" * before + part + b">" * behind
        assembly.add(data, before, before + size)
        expected += part
        assert assembly.size == len(expected)
    assert assembly.take() == expected
    assert (assembly.size, assembly.take()) == (0, b"")


def test_a_whole_chunk_is_taken_as_it_is() -> None:
    assembly = Assembly()
    chunk = bytes(5000)
    assembly.add(chunk, 0, len(chunk))
    assembly.discard()
    assert assembly.take() == b""
    assembly.add(chunk, 0, len(chunk))
    assert assembly.take() == chunk


def test_a_chunk_is_not_kept_for_a_small_part_of_it() -> None:
    assembly = Assembly()
    chunk = bytes(100_000)
    idle = sys.getrefcount(chunk)
    assembly.add(chunk, 0, 24_000)
    assert sys.getrefcount(chunk) == idle
    assembly.add(chunk, 0, 25_000)
    assert sys.getrefcount(chunk) > idle
    assert assembly.take() == bytes(49_000)
    assert sys.getrefcount(chunk) == idle


def test_empty_and_tiny_parts_take_no_memory_of_their_own() -> None:
    assembly = Assembly()
    for _ in range(10_000):
        assembly.add(b"", 0, 0)
        assembly.add(b"ab", 0, 2)
    (parts,) = [value for value in assembly_parts(assembly) if isinstance(value, list)]
    assert len(parts) <= 10
    assert assembly.take() == b"ab" * 10_000


def assembly_parts(assembly: Assembly) -> list[object]:
    """The attributes of an assembly, compiled or not."""
    names = [name for name in dir(assembly) if not name.startswith("__")]
    return [getattr(assembly, name) for name in names]

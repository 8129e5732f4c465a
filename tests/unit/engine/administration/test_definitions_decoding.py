"""A definitions file that is decoded in slices is what it is when it is decoded at once."""

import json
from typing import Any

import msgspec
import pytest

from leveret.engine.administration.definitions_decoding import DefinitionsDecoding
from leveret.engine.administration.definitions_file import DefinitionsFile
from leveret.engine.values.time_slice import TimeSlice

QUEUES = 2_000
NO_TIME = 0


def a_queue(number: int, **arguments: Any) -> dict[str, Any]:
    return {"name": f"queue {number}", "vhost": "/", "durable": True, "arguments": arguments}


def decoded(data: bytes) -> tuple[DefinitionsDecoding, int]:
    """A file that was decoded, and in how many slices."""
    decoding, time_slice, slices = DefinitionsDecoding(data), TimeSlice(), 1
    time_slice.begin(NO_TIME)
    while not decoding.run(time_slice):
        slices += 1
    return decoding, slices


def test_each_entry_is_decoded_by_itself() -> None:
    nested = {"x-list": [{"a": [{"b": 1}, {"b": 2}]}], "x-note": '\\"},{\n'}
    queues = [a_queue(number, **nested) for number in range(QUEUES)]
    file = {"queues": queues, "unknown": [queues], "exchanges": [], "bindings": [], "version": "1"}
    data = json.dumps(file).encode()
    decoding, slices = decoded(data)
    assert decoding.error == ""
    assert decoding.file == msgspec.json.decode(data, type=DefinitionsFile)
    assert slices > QUEUES


@pytest.mark.parametrize("data", [b"{}", b' {"queues" : [ ] } ', b'{"queues":[],"queues":[]}'])
def test_there_may_be_nothing_in_it(data: bytes) -> None:
    decoding, _ = decoded(data)
    assert (decoding.file, decoding.error) == (DefinitionsFile(), "")


def test_a_wrong_entry_is_named_by_its_place_in_the_file() -> None:
    queues: list[Any] = [a_queue(number) for number in range(QUEUES)]
    queues[QUEUES - 3]["durable"] = "yes"
    decoding, _ = decoded(json.dumps({"queues": queues}).encode())
    expected = f"Expected `bool`, got `str` - at `$.queues[{QUEUES - 3}].durable`"
    assert decoding.error == expected


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b'{"queues": null}', "Expected `array`, got `null` - at `$.queues`"),
        (b'{"queues": {}}', "Expected `array`, got `object` - at `$.queues`"),
        (b'{"queues": [1]}', "Expected `object`, got `int` - at `$.queues[0]`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"queues": [{"name": "a"},]}', "JSON is malformed: trailing comma in array (byte 26)"),
        (b'{"queues": [{"name": "a"}', "Input data was truncated"),
        (b'{"queues": [{"name": "\xff"}]}', "'utf-8' codec can't decode byte 0xff in position 0"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, error: str) -> None:
    assert decoded(data)[0].error.startswith(error)

"""What a test sees of a broker: messages, and how they are shown."""

import pickle

import pytest

from leveret.testing import Message, Properties, Published
from leveret.testing.values import shown_body
from leveret.testing.words import counted, listed


def test_a_body_is_text_or_json() -> None:
    message = Message('{"id": 1, "of": "Zoë"}'.encode(), "", "q")
    assert message.text == '{"id": 1, "of": "Zoë"}'
    assert message.json() == {"id": 1, "of": "Zoë"}
    assert message.size == 23


def test_a_body_that_is_no_text_says_so() -> None:
    message = Message(b"\xff\x00", "", "q")
    with pytest.raises(ValueError, match=r"the body is no UTF-8: b'\\xff\\x00'"):
        _ = message.text
    with pytest.raises(ValueError, match="the body is no JSON"):
        message.json()


def test_a_body_that_is_no_json_says_so() -> None:
    with pytest.raises(ValueError, match=r"the body is no JSON \(.*\): hello"):
        Message(b"hello", "", "q").json()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"hello", "hello"),
        (b"", "b''"),
        (b"two\nlines", "b'two\\nlines'"),
        (b"\xff", "b'\\xff'"),
        (b"x" * 80, "x" * 80),
        (b"x" * 1000, "x" * 80 + "... (1000 bytes)"),
        (b"x" * 79 + "é".encode(), "x" * 79 + "... (81 bytes)"),
    ],
)
def test_a_body_is_shown_as_text_where_it_is_text(body: bytes, shown: str) -> None:
    assert shown_body(body) == shown


def test_a_message_is_shown_with_its_address() -> None:
    assert repr(Message(b"1", "", "q")) == "<Message 'q' of the default exchange: 1>"
    again = Message(b"1", "shop", "order", redelivered=True)
    assert repr(again) == "<Message 'order' of exchange 'shop', redelivered: 1>"


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ({}, "to no queue: 1"),
        ({"queues": ("a",)}, "to 'a': 1"),
        ({"queues": ("a", "b"), "refused": True}, "to 'a' and 'b', refused: 1"),
        ({"delayed": True}, "to be delayed: 1"),
        ({"duplicate": True}, "to be discarded as a duplicate: 1"),
        ({"queues": ("a",), "origin": "dead letter"}, "to 'a', a dead letter: 1"),
        ({"queues": ("a",), "origin": "delay"}, "to 'a', after its delay: 1"),
    ],
)
def test_what_was_published_is_shown_with_its_way(how: dict[str, object], shown: str) -> None:
    published = Published(b"1", "shop", "order", **how)  # type: ignore[arg-type]
    assert repr(published) == f"<Published 'order' of exchange 'shop' {shown}>"


def test_only_a_message_that_no_queue_matched_is_unroutable() -> None:
    assert Published(b"", "shop", "k").unroutable
    assert not Published(b"", "shop", "k", queues=("q",)).unroutable
    assert not Published(b"", "shop", "k", refused=True).unroutable
    assert not Published(b"", "shop", "k", delayed=True).unroutable
    assert not Published(b"", "shop", "k", duplicate=True).unroutable


def test_properties_are_shown_that_a_message_has() -> None:
    assert repr(Properties()) == "Properties()"
    properties = Properties(content_type="text/plain", headers={"a": 1})
    assert repr(properties) == "Properties(content_type='text/plain', headers={'a': 1})"


def test_values_come_from_another_process() -> None:
    published = Published(b"1", "", "q", Properties(headers={"a": 1}), queues=("q",))
    assert pickle.loads(pickle.dumps(published)) == published


def test_names_are_listed() -> None:
    assert listed([], 2) == ""
    assert listed(["a"], 2) == "'a'"
    assert listed(["a", "b"], 2) == "'a' and 'b'"
    assert listed(["a", "b", "c", "d"], 2) == "'a', 'b' and 2 more"
    assert counted(1, "message", "messages") == "1 message"
    assert counted(0, "message", "messages") == "0 messages"

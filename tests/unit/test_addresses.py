"""HOST:PORT, parsed and printed."""

import pytest

from leveret.addresses import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5672", Address("127.0.0.1", 5672)),
        ("[::1]:5672", Address("::1", 5672)),
        ("broker.example:0", Address("broker.example", 0)),
    ],
)
def test_an_address_is_printed_as_it_was_parsed(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


def test_an_empty_host_is_every_interface() -> None:
    assert parse_address(":5672") == Address("", 5672)


@pytest.mark.parametrize(
    "text", ["", "5672", "host", "host:", "host:-1", "host:65536", "host:٣", "::1:5672", "::1"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        parse_address(text)

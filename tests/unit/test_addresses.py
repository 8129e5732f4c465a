"""HOST:PORT, parsed and printed."""

import pytest

from leveret.addresses import Address, AddressError, parse_address


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
    ("text", "reason"),
    [
        ("", "has no port"),
        ("5672", "has no port"),
        ("host", "has no port"),
        ("host:", "has no port"),
        ("host:-1", "the port has to be a number"),
        ("host:65536", "the port has to be a number"),
        ("host:٣", "the port has to be a number"),
        ("::1:5672", "an IPv6 address needs brackets"),
        ("::1", "an IPv6 address needs brackets"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=f"^{text!r}:? {reason}".replace("[", r"\[")):
        parse_address(text)

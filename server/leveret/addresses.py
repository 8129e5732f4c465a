"""HOST:PORT, in the configuration and in the output of the broker."""

from typing import Final, NamedTuple

UNIX: Final = "unix"
"""The host of clients of a Unix socket."""


class Address(NamedTuple):
    """A host (a name, or an IPv4 or IPv6 address without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class AddressError(ValueError):
    """A text is no address; the error's text says why."""


def parse_address(text: str) -> Address:
    """Parse `127.0.0.1:5672`, `[::1]:5672`, `name:5672` or `:5672` (every interface).

    :raises AddressError: if it is none of these, or the port is not from 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"{text!r}: an IPv6 address needs brackets")
    if not colon or not port:
        raise AddressError(f"{text!r} has no port, as 127.0.0.1:5672 has")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise AddressError(f"{text!r}: the port has to be a number from 0 to 65535")
    return Address(host, int(port))


def shown_address(text: str) -> Address:
    """The parts of an address as a connection shows it: HOST:PORT, `unix:NUMBER`, or the path of a
    Unix socket, which has port 0."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()):
        return Address(text, 0)
    return Address(host[1:-1] if host.startswith("[") else host, int(port))


def reachable(text: str) -> Address:
    """The address at which a listener can be reached from its own machine.

    :raises AddressError: as `parse_address`.
    """
    address = parse_address(text)
    return address._replace(host=_LOOPBACKS.get(address.host, address.host))


_LOOPBACKS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}

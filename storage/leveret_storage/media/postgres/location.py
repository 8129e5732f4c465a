"""What a `postgresql://` location says.

    postgresql://USER@HOST:PORT,HOST:PORT/DATABASE?PARAMETER=VALUE&...

Parameters are libpq's (sslmode, sslrootcert, connect_timeout ...) and these:

    schema          of Leveret's tables; default leveret
    store           number of the store; default 0
    password_file   a file whose first line is the password
    replicas_min    standbys that have to have what was confirmed; default 1
    replicas        `provider`: a managed database replicates underneath PostgreSQL

The password comes from `password_file`, from the variable LEVERET_STORAGE_PASSWORD, from the file
that LEVERET_STORAGE_PASSWORD_FILE names, or from libpq's own sources (PGPASSFILE). One in the
location is refused, since locations are printed.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from leveret_storage.errors import ReadFailed, UnknownMedium

PASSWORD_VARIABLE: Final = "LEVERET_STORAGE_PASSWORD"
STORE_MAX: Final = 2**31 - 1
CONNECT_TIMEOUT_S: Final = 3.0
"""Seconds for one attempt to connect to a host, unless `connect_timeout` says otherwise."""

_OWN_PARAMETERS: Final = ("schema", "store", "password_file", "replicas_min", "replicas")
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_LOCAL: Final = ("127.0.0.1", "::1", "localhost")
_LIBPQ_WITH_SYSTEM_ROOTS: Final = 160000
_ROOTS: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)
"""Where distributions have the certificates that the system trusts. What libpq takes for them may
be a folder of the machine that it was built on."""

_SOCKET_PARAMETERS: Final = {
    # A host that vanished is noticed by what it does not acknowledge, if only a probe.
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}


@dataclass(frozen=True)
class Location:
    """A location, taken apart. Its text (`str`) has no secret."""

    text: str
    parameters: dict[str, str]
    """For libpq, without host and port."""
    hosts: tuple[tuple[str, str], ...]
    """Host and port of each server; a port is a number, or empty for libpq's default."""
    schema: str
    store: int
    password_file: Path | None
    replicas_min: int
    replicated_by_provider: bool
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def connect_timeout_s(self) -> float:
        return float(self.parameters.get("connect_timeout", CONNECT_TIMEOUT_S))

    def conninfo(self, host: str, port: str) -> bytes:
        """What libpq gets for one host, the password included: never to be printed.

        :raises ReadFailed: if the file with the password cannot be read.
        """
        parameters = {**_SOCKET_PARAMETERS, **self.parameters, "host": host}
        if port:
            parameters["port"] = port
        if "sslmode" not in parameters:
            local = host in _LOCAL or host.startswith(("/", "@")) or not host
            parameters["sslmode"] = "prefer" if local else "verify-full"
        if parameters["sslmode"] == "verify-full" and "sslrootcert" not in parameters:
            roots = _system_roots()
            if roots is not None:
                parameters["sslrootcert"] = roots
        password = self._password()
        if password is not None:
            parameters["password"] = password
        return make_conninfo("", **parameters).encode()

    def _password(self) -> str | None:
        file = self.password_file
        if file is None:
            given = self.password or os.environ.get(PASSWORD_VARIABLE)
            named = os.environ.get(f"{PASSWORD_VARIABLE}_FILE")
            if given or not named:
                return given
            file = Path(named)
        try:
            return file.read_text("utf-8").split("\n", 1)[0]
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ReadFailed(f"{file} cannot be read: {why}") from error


def parse_location(
    location: str, *, password: str = "", replicas_min: int = 1, provider: bool = False
) -> Location:
    """Take a location apart.

    :param password: unless the location names a file that has it.
    :param replicas_min: unless the location says how many.
    :param provider: whether replicas are the provider's, unless the location says so.
    :raises UnknownMedium: if it is none; the text has no password.
    """
    try:
        url = urlsplit(location)
        query = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
    except ValueError:
        raise UnknownMedium("the location of a PostgreSQL database is no URL") from None
    if "password" in dict(query) or ":" in url.netloc.rpartition("@")[0]:
        raise UnknownMedium(
            "the location of a PostgreSQL database has a password; put it into a file "
            f"(?password_file=PATH), or into {PASSWORD_VARIABLE}"
        )
    own = {key: value for key, value in query if key in _OWN_PARAMETERS}
    rest = urlencode([pair for pair in query if pair[0] not in _OWN_PARAMETERS], quote_via=quote)
    try:
        parsed = conninfo_to_dict(url._replace(query=rest).geturl())
    except ProgrammingError as error:
        raise UnknownMedium(f"{location}: {str(error).strip()}") from None
    parameters = {key: str(value) for key, value in parsed.items() if value is not None}
    hosts = parameters.pop("host", "").split(",")
    ports = parameters.pop("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    sslmode = parameters.get("sslmode", "prefer")
    if sslmode not in _SSL_MODES:
        raise UnknownMedium(f"{location}: no sslmode: {sslmode!r}; known: {', '.join(_SSL_MODES)}")
    schema = own.get("schema", "leveret")
    if _SCHEMA.fullmatch(schema) is None:
        raise UnknownMedium(f"{location}: no name of a schema: {schema!r}; a-z, 0-9 and _")
    if own.get("replicas", "provider") != "provider":
        raise UnknownMedium(f"{location}: replicas can only be provider, or not be given")
    return Location(
        text=location,
        parameters=parameters,
        hosts=tuple(dict.fromkeys(zip(hosts, ports, strict=True))),
        schema=schema,
        store=_number(location, own, "store", 0, STORE_MAX),
        password_file=Path(own["password_file"]) if "password_file" in own else None,
        replicas_min=_number(location, own, "replicas_min", replicas_min, 100),
        replicated_by_provider=provider or "replicas" in own,
        password=password,
    )


def _system_roots() -> str | None:
    """What libpq is to take for the certificates of the system; None if it has to be told."""
    for path in _ROOTS:
        if path.is_file():
            return str(path)
    return "system" if pq.version() >= _LIBPQ_WITH_SYSTEM_ROOTS else None


def _number(location: str, own: dict[str, str], name: str, default: int, largest: int) -> int:
    text = own.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) > largest:
        raise UnknownMedium(f"{location}: {name} is a number from 0 to {largest}")
    return int(text)

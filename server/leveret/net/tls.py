"""TLS of the listeners: certificates by server name, their reload, and who a client is.

A listener has one SSLContext for ever, which passes each handshake on to the context of the server
name that the client asks for. A reload makes new contexts: connections that are open keep theirs.

(RabbitMQ: TLS Support.)
"""

import os
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from leveret.config import Tls
from leveret.logging import get_logger
from leveret.os_errors import plain_words

EXPIRY_WARNING_S: Final = 30 * 24 * 3600
"""Seconds before a certificate expires from which on there is a warning."""

EXPIRY_REPEAT_S: Final = 24 * 3600
"""Seconds until the warning comes again."""

PARTIAL_CHAIN: Final = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

logger = get_logger()


class TlsError(Exception):
    """Certificates that cannot be used; the text is one line that names the file."""


class Identity(NamedTuple):
    """A certificate and its key, of a server name."""

    name: str
    """Empty for the one that is sent if no other has the name."""
    certfile: str
    keyfile: str


def identities(config: Tls) -> list[Identity]:
    """The certificates of the configuration, the default one first."""
    found = [Identity("", config.certfile, config.keyfile or config.certfile)]
    for entry in config.sni:
        name, _, files = entry.partition("=")
        certfile, _, keyfile = files.partition(":")
        found.append(
            Identity(name.strip().lower(), certfile.strip(), keyfile.strip() or certfile.strip())
        )
    return found


class TlsCertificates:
    """The certificates of the TLS listeners."""

    def __init__(self, config: Tls) -> None:
        """:raises TlsError: if a certificate, a key or a CA cannot be used."""
        self._config = config
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._expiries: dict[Identity, datetime | None] = {}
        self._warned_at = time.monotonic()
        self._files = TlsFiles(config)
        self._load()
        self.context = _base_context(config)
        """What listeners are made with."""
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read the files again. If they cannot be used, the certificates stay as they are."""
        try:
            self._load()
        except TlsError as error:
            logger.error("TLS certificates were not reloaded", reason=str(error))

    def reload_if_changed(self) -> None:
        """Read the files again if one of them has changed; to be called every few seconds."""
        if self._files.have_changed():
            self.reload()

    def warn_daily(self, now_s: float) -> None:
        """Warn again of certificates that expire soon, a day after the last warning.

        :param now_s: the monotonic time, in seconds.
        """
        if now_s - self._warned_at < EXPIRY_REPEAT_S:
            return
        self._warned_at = now_s
        for identity, expires in self._expiries.items():
            if _expires_soon(expires):
                _log_expiry(identity, expires)

    def expiries(self) -> list[tuple[str, datetime | None]]:
        """The file of each certificate, and when it expires; None if it has expired."""
        return [(identity.certfile, expires) for identity, expires in self._expiries.items()]

    def _load(self) -> None:
        contexts = {}
        expiries = {}
        for identity in identities(self._config):
            contexts[identity.name] = _context(self._config, identity)
            expiries[identity] = expiry(identity, self._config.keyfile_password)
        self._contexts, self._expiries = contexts, expiries
        for identity, expires in expiries.items():
            _log_expiry(identity, expires)

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        connection.context = self._context_of((name or "").lower())

    def _context_of(self, name: str) -> ssl.SSLContext:
        _, dot, domain = name.partition(".")
        for known in (name, f"*{dot}{domain}"):
            context = self._contexts.get(known)
            if context is not None:
                return context
        return self._contexts[""]


class TlsFiles:
    """Says whether the files of a configuration have changed since it was asked last."""

    def __init__(self, config: Tls) -> None:
        paths = {path for each in identities(config) for path in (each.certfile, each.keyfile)}
        if config.cacertfile:
            paths.add(config.cacertfile)
        self._paths = sorted(paths)
        self._seen = list(self._states())

    def have_changed(self) -> bool:
        seen = list(self._states())
        changed = seen != self._seen
        self._seen = seen
        return changed

    def _states(self) -> Iterator[tuple[int, int, int] | None]:
        for path in self._paths:
            try:
                state = os.stat(path)
            except OSError:
                yield None
            else:
                yield state.st_ino, state.st_size, state.st_mtime_ns


def _base_context(config: Tls) -> ssl.SSLContext:
    """A context with the settings that are not of a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[config.min_version]
    if config.verify == "verify_peer":
        required = config.fail_if_no_peer_cert
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(config.cacertfile)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"tls.cacertfile: {config.cacertfile}: {_reason(error)}") from None
    return context


def _context(config: Tls, identity: Identity) -> ssl.SSLContext:
    context = _base_context(config)
    try:
        context.load_cert_chain(identity.certfile, identity.keyfile, config.keyfile_password)
    except (OSError, ssl.SSLError) as error:
        named = f"{identity.certfile}, {identity.keyfile}"
        raise TlsError(f"{named}: {_reason(error)}") from None
    return context


def client_context(config: Tls) -> ssl.SSLContext:
    """A context that shows the certificate of the configuration to servers, and checks theirs with
    the authorities of the configuration, whatever names they have.

    :raises TlsError: if a certificate, a key or a CA cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = VERSIONS[config.min_version]
    try:
        context.load_verify_locations(config.cacertfile)
        context.load_cert_chain(
            config.certfile, config.keyfile or config.certfile, config.keyfile_password
        )
    except (OSError, ssl.SSLError) as error:
        named = f"{config.cacertfile}, {config.certfile}, {config.keyfile}"
        raise TlsError(f"{named}: {_reason(error)}") from None
    return context


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return plain_words(error)


def expiry(identity: Identity, password: str = "") -> datetime | None:
    """When a certificate expires; None if it has expired already.

    The standard library shows certificates of peers only: so this is a handshake with oneself.

    :raises TlsError: if the certificate cannot be used.
    """
    try:
        chain = Path(identity.certfile).read_text("ascii", "replace")
    except OSError as error:
        raise TlsError(f"{identity.certfile}: {_reason(error)}") from None
    leaf = chain[chain.find("-----BEGIN CERTIFICATE") :].partition("-----END CERTIFICATE-----")
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_flags |= PARTIAL_CHAIN
    client_context.load_verify_locations(cadata=f"{leaf[0]}{leaf[1]}\n")
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(identity.certfile, identity.keyfile, password)
    try:
        return _not_after(_peer_certificate(client_context, server_context))
    except ssl.SSLCertVerificationError:
        return None


def _peer_certificate(client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, Any]:
    """What a client sees of the certificate of a server."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server)
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (client_side, server_side, client_side):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    found: dict[str, Any] = client_side.getpeercert() or {}
    return found


def _not_after(certificate: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _expires_soon(expires: datetime | None) -> bool:
    """Whether a certificate expires soon, or has expired."""
    return expires is None or (expires - datetime.now(UTC)).total_seconds() < EXPIRY_WARNING_S


def _log_expiry(identity: Identity, expires: datetime | None) -> None:
    values = {"file": identity.certfile, "server_name": identity.name or "(default)"}
    if expires is None:
        logger.warning("TLS certificate has expired", **values)
        return
    values["expires"] = expires.isoformat(timespec="seconds")
    if _expires_soon(expires):
        logger.warning("TLS certificate expires soon", **values)
    else:
        logger.info("TLS certificate loaded", **values)


# --- clients ----------------------------------------------------------------------------------


def user_of_certificate(certificate: dict[str, Any], source: str) -> str:
    """The user name that a client certificate stands for; empty if it has none.

    :param source: `common_name`, `distinguished_name`, or a kind of subject alternative name:
        `dns`, `email` or `uri` (RabbitMQ: `ssl_cert_login_from`).
    """
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    if source == "common_name":
        return next((str(value) for name, value in subject if name == "commonName"), "")
    if source == "distinguished_name":
        return ",".join(
            f"{SHORT_NAMES.get(name, name)}={value}" for name, value in reversed(subject)
        )
    kind = {"dns": "DNS", "email": "email", "uri": "URI"}[source]
    names = certificate.get("subjectAltName", ())
    return next((str(value) for name, value in names if name == kind), "")


SHORT_NAMES: Final = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "emailAddress": "E",
}

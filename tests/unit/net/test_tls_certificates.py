"""The certificates of TLS listeners: warnings of their expiry."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from leveret.config import Tls
from leveret.net.tls import EXPIRY_REPEAT_S, TlsCertificates
from tests.support.logs import capture_logs


def write(directory: Path, name: str, not_after: datetime | None = None) -> str:
    """The file of a certificate and its key."""
    path = directory / f"{name}.pem"
    issued = trustme.CA().issue_cert(f"{name}.example.org", not_after=not_after)
    path.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    return str(path)


@pytest.mark.parametrize(
    ("not_after", "warnings"),
    [
        (datetime.now(UTC) + timedelta(days=10), ["TLS certificate expires soon"]),
        (datetime(2020, 1, 1, tzinfo=UTC), ["TLS certificate has expired"]),
        (datetime.now(UTC) + timedelta(days=100), []),
    ],
    ids=["soon", "expired", "later"],
)
def test_the_warning_is_repeated_each_day(
    tmp_path: Path, not_after: datetime, warnings: list[str]
) -> None:
    certificates = TlsCertificates(Tls(certfile=write(tmp_path, "server", not_after)))
    now = time.monotonic()
    for day in range(1, 3):
        with capture_logs() as early:
            certificates.warn_daily(now + day * EXPIRY_REPEAT_S - 60)
        with capture_logs() as due:
            certificates.warn_daily(now + day * EXPIRY_REPEAT_S + 60)
        assert early == []
        assert [each["event"] for each in due] == warnings
        now += 60

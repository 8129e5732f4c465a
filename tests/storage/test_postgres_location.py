"""What a `postgresql://` location says, and that a password is in none of it."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from leveret_storage.errors import ReadFailed, UnknownMedium
from leveret_storage.media.locations import is_postgres, open_medium
from leveret_storage.media.postgres.location import PASSWORD_VARIABLE, parse_location


def conninfo(text: str) -> dict[str, str]:
    location = parse_location(text)
    host, port = location.hosts[0]
    found = conninfo_to_dict(location.conninfo(host, port).decode())
    return {key: str(value) for key, value in found.items()}


@pytest.mark.parametrize(
    ("location", "is_one"),
    [
        ("postgresql://host/db", True),
        ("postgres://host/db", True),
        ("PostgreSQL://host/db", True),
        ("postgresql:/var/lib", False),
        ("/var/lib/postgresql", False),
        ("file:/postgresql", False),
    ],
)
def test_a_location_is_one_of_postgresql_by_its_scheme(location: str, is_one: bool) -> None:
    assert is_postgres(location) is is_one


def test_hosts_ports_and_parameters() -> None:
    location = parse_location(
        "postgresql://leveret@a:1,b:2,[::1]:3/db?schema=mine&store=7&replicas_min=2"
        "&connect_timeout=9&sslmode=require"
    )
    assert location.hosts == (("a", "1"), ("b", "2"), ("::1", "3"))
    assert (location.schema, location.store, location.replicas_min) == ("mine", 7, 2)
    assert not location.replicated_by_provider
    assert location.connect_timeout_s == 9
    found = conninfo("postgresql://leveret@a:1,b:2/db?sslmode=require")
    assert found["host"] == "a"
    assert found["port"] == "1"
    assert found["dbname"] == "db"
    assert found["user"] == "leveret"
    assert found["sslmode"] == "require"


def test_what_is_not_given_has_a_default() -> None:
    location = parse_location("postgresql://a/db?replicas=provider")
    assert location.hosts == (("a", ""),)
    assert (location.schema, location.store, location.replicas_min) == ("leveret", 0, 1)
    assert location.replicated_by_provider


@pytest.mark.parametrize(
    ("host", "mode"),
    [("db.example", "verify-full"), ("127.0.0.1", "prefer"), ("localhost", "prefer")],
)
def test_a_server_elsewhere_is_verified_unless_it_is_said_otherwise(host: str, mode: str) -> None:
    assert conninfo(f"postgresql://{host}/db")["sslmode"] == mode


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("postgresql://a/db?store=x", "postgresql://a/db?store=x: store is a number"),
        ("postgresql://a/db?store=2147483648", "store is a number from 0 to 2147483647"),
        ("postgresql://a/db?schema=Mine", "no name of a schema: 'Mine'"),
        ("postgresql://a/db?schema=a%22b", "no name of a schema"),
        ("postgresql://a/db?replicas=none", "replicas can only be provider"),
        ("postgresql://a/db?unknown=1", "unknown"),
        ("postgresql://a/db?sslmode=verify", "no sslmode: 'verify'; known: disable, allow"),
        ("postgresql://[::1/db", "is no URL"),
    ],
)
def test_a_wrong_one_is_refused_in_one_line(location: str, text: str) -> None:
    with pytest.raises(UnknownMedium) as raised:
        open_medium(location)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "location", ["postgresql://u:s3cret@a/db", "postgresql://u@a/db?password=s3cret"]
)
def test_a_password_in_it_is_refused_and_not_printed(location: str) -> None:
    with pytest.raises(UnknownMedium, match="password") as raised:
        parse_location(location)
    assert "s3cret" not in str(raised.value)


def test_the_password_comes_from_a_file_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("from-file\n")
    monkeypatch.setenv(PASSWORD_VARIABLE, "from-variable")
    text = f"postgresql://u@a/db?password_file={file}"
    assert conninfo(text)["password"] == "from-file"
    assert conninfo("postgresql://u@a/db")["password"] == "from-variable"
    monkeypatch.delenv(PASSWORD_VARIABLE)
    monkeypatch.setenv(f"{PASSWORD_VARIABLE}_FILE", str(file))
    assert conninfo("postgresql://u@a/db")["password"] == "from-file"
    assert "from-" not in str(parse_location(text)) + repr(parse_location(text))
    file.unlink()
    with pytest.raises(ReadFailed, match="cannot be read"):
        conninfo(text)

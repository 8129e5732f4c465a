"""What Leveret relies on in a database: what lacks it is refused, with what to change."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import trustme

from leveret_storage.errors import ReadFailed, UnknownFormat, UnsuitableMedium
from leveret_storage.media.locations import open_medium
from leveret_storage.media.postgres.checks import check_product, synchronous_standbys
from leveret_storage.media.postgres.connecting import Server
from leveret_storage.media.postgres.location import PASSWORD_VARIABLE
from leveret_storage.media.postgres.medium import PostgresMedium
from tests.storage.append_load import AppendLoad
from tests.storage.owning import put, take
from tests.support.postgres import (
    DATABASE,
    HOST,
    SYNCHRONOUS_STANDBY_NAMES,
    PostgresCluster,
    await_state,
    new_location,
)
from tests.support.tcp_proxy import TcpProxy


def refused(location: str) -> str:
    with pytest.raises(UnsuitableMedium) as raised:
        open_medium(location).close()
    return str(raised.value)


@contextmanager
def setting(cluster: PostgresCluster, name: str, value: str, usual: str) -> Iterator[None]:
    """A setting of the primary, until the end."""
    change(cluster, name, value)
    try:
        yield
    finally:
        change(cluster, name, usual)


def change(cluster: PostgresCluster, name: str, value: str) -> None:
    cluster.primary.configure(**{name: f"'{value}'"})
    cluster.primary.reload()
    await_state(lambda: cluster.owner(f"select current_setting('{name}')") == [(value,)], f"{name}")


def opened(location: str) -> PostgresMedium:
    medium = open_medium(location)
    assert isinstance(medium, PostgresMedium)
    return medium


def test_what_was_found_is_told(postgres: PostgresCluster) -> None:
    medium = opened(new_location(postgres))
    report = medium.report
    assert report is not None
    assert report.replicas is not None
    assert report.replicas >= 1
    assert report.standby_names == SYNCHRONOUS_STANDBY_NAMES
    assert not report.tls
    assert str(report).startswith(f"PostgreSQL {report.version} at {HOST}:{postgres.primary.port} ")
    medium.close()


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_sync_is_refused(postgres: PostgresCluster, name: str) -> None:
    with setting(postgres, name, "off", "on"):
        assert f"{name} is off" in refused(new_location(postgres))


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ("", 0),
        ("*", 1),
        ("a, b", 1),
        ("ANY 1 (*)", 1),
        ("any 2 (a, b, c)", 2),
        ("FIRST 3 (a, b, c, d)", 3),
        ("2 (a, b)", 2),
    ],
)
def test_how_many_standbys_a_commit_waits_for(names: str, count: int) -> None:
    assert synchronous_standbys(names) == count


def test_commits_that_wait_for_too_few_standbys_are_refused(postgres: PostgresCluster) -> None:
    assert "waits for 1 standbys; storage.replicas_min is 2" in refused(
        new_location(postgres, replicas_min="2")
    )
    with setting(postgres, "synchronous_standby_names", "", SYNCHRONOUS_STANDBY_NAMES):
        assert "waits for 0 standbys" in refused(new_location(postgres))
        for parameters in ({"replicas": "provider"}, {"replicas_min": "0"}):
            medium = open_medium(new_location(postgres, **parameters))
            take(medium)
            put(medium, "a", b"1")
            medium.close()


def test_names_that_are_emptied_later_confirm_nothing(postgres: PostgresCluster) -> None:
    medium = open_medium(new_location(postgres))
    reasons: list[str] = []
    medium.watch(reasons.append)
    take(medium)
    medium.create("a")
    load = AppendLoad(medium, "a").start()
    load.await_confirmed(20)
    with setting(postgres, "synchronous_standby_names", "", SYNCHRONOUS_STANDBY_NAMES):
        await_state(lambda: reasons and "waits for 0 standbys" in reasons[-1], f"{reasons}")
        confirmed = load.confirmed
    load.await_confirmed(20)
    await_state(lambda: reasons[-1] == "", f"{reasons}")
    load.stop()
    assert load.check(medium) == load.confirmed > confirmed
    medium.close()


def test_standbys_that_have_not_got_it_are_not_counted(
    failing_postgres: PostgresCluster,
) -> None:
    for standby in failing_postgres.standbys:
        standby.pause()
    # They are listed as streaming still.
    assert failing_postgres.count_streaming() == 2
    assert "0 of 1 standbys had flushed" in refused(new_location(failing_postgres))


def test_a_role_that_may_not_see_standbys_is_refused(postgres: PostgresCluster) -> None:
    postgres.primary.superuser("create role blind login password 'not a secret of anybody'")
    postgres.primary.superuser(f"grant create on database {DATABASE} to blind")
    location = new_location(postgres).replace("leveret@", "blind@")
    assert "grant pg_monitor" in refused(location)


def test_a_role_without_rights_is_told_so(postgres: PostgresCluster) -> None:
    postgres.primary.superuser(
        "create role powerless login password 'not a secret of anybody' in role pg_monitor"
    )
    with pytest.raises(ReadFailed, match=r"permission denied.*42501"):
        open_medium(new_location(postgres).replace("leveret@", "powerless@"))


def test_a_pooler_is_refused(postgres: PostgresCluster) -> None:
    with TcpProxy(postgres.primary.port) as proxy:
        location = postgres.url_of([proxy.port], schema="pooled")
        open_medium(location).close()
        proxy.changes_backend_keys = True
        assert "a connection pooler is in between" in refused(location)


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)", 130000),
        ("PostgreSQL 15.12-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu", 150012),
        ("PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC), Redshift 1.0", 80002),
        ("PostgreSQL 9.2.4 (openGauss 5.0.0 build) on x86_64-unknown-linux-gnu", 90204),
        ("PostgreSQL 14.9 on x86_64-pc-linux-gnu, compiled by gcc", 140009),
        ("something", 150000),
    ],
)
def test_another_product_is_refused_by_name(version: str, number: int) -> None:
    with pytest.raises(UnsuitableMedium, match="PostgreSQL"):
        check_product(Server(HOST, "5432", 1, version, number))


def test_postgresql_is_taken_whoever_built_it() -> None:
    for version, text in (
        ("15.18", "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled"),
        ("16.2", "PostgreSQL 16.2 on aarch64-unknown-linux-gnu, compiled by gcc, 64-bit"),
        ("18beta1", "PostgreSQL 18beta1 on x86_64-pc-linux-musl, compiled by gcc"),
    ):
        assert check_product(Server(HOST, "5432", 1, text, 160000)) == version


def test_no_server_at_all_is_told_with_every_host(postgres: PostgresCluster) -> None:
    standbys = [server.port for server in postgres.standbys]
    with pytest.raises(ReadFailed) as raised:
        open_medium(postgres.url_of(standbys))
    hosts = ", ".join(f"{HOST}:{port}" for port in standbys)
    assert str(raised.value).endswith(f": {hosts}: a standby, or read-only")


def test_a_wrong_password_is_not_printed(
    postgres: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-s3cret")
    text = refused(new_location(postgres))
    assert "password authentication failed" in text
    assert "s3cret" not in text


def test_a_login_that_is_wrong_is_told_apart_from_a_server_that_is_away(
    postgres: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = new_location(postgres)
    assert 'database "missing"' in refused(location.replace(f"/{DATABASE}?", "/missing?"))
    assert "nobody" in refused(location.replace("//leveret@", "//nobody@"))
    monkeypatch.delenv(PASSWORD_VARIABLE)
    assert "no password" in refused(location)


def test_a_server_that_is_away_may_have_another_login(
    postgres: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    with TcpProxy(postgres.primary.port) as proxy:
        proxy.refuses = True
        with pytest.raises(ReadFailed):
            open_medium(postgres.url_of([proxy.port]))


def test_a_schema_of_a_newer_program_is_refused(postgres: PostgresCluster) -> None:
    location = new_location(postgres)
    open_medium(location).close()
    schema = location.rpartition("schema=")[2]
    postgres.owner(f"update {schema}.version set version = 2")
    with pytest.raises(UnknownFormat, match="version 2 of the schema"):
        open_medium(location)


def test_a_reader_makes_no_schema(postgres: PostgresCluster) -> None:
    with pytest.raises(ReadFailed, match="there is no schema"):
        open_medium(new_location(postgres), read_only=True)


def test_brokers_that_start_at_once_make_one_schema(postgres: PostgresCluster) -> None:
    location = new_location(postgres)
    with ThreadPoolExecutor(4) as pool:
        for medium in pool.map(open_medium, [location] * 4):
            assert medium.read_head() == (0, b"")
            medium.close()


def test_tls_is_verified(failing_postgres: PostgresCluster, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    primary = failing_postgres.primary
    key, certificate = primary.directory / "key.pem", primary.directory / "certificate.pem"
    issued.private_key_pem.write_to_path(key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    owner = primary.directory.stat()
    for path in (key, certificate):
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)
    primary.configure(ssl="on", ssl_cert_file="'certificate.pem'", ssl_key_file="'key.pem'")
    primary.reload()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
    await_state(lambda: has_tls(failing_postgres), "the server has TLS")
    root = str(tmp_path / "authority.pem")
    location = failing_postgres.url_of([primary.port], sslmode="verify-full", sslrootcert=root)
    medium = opened(location)
    assert medium.report is not None
    assert medium.report.tls
    medium.close()
    with pytest.raises(ReadFailed, match="certificate verify failed"):
        open_medium(location.replace("authority.pem", "another.pem"))


def has_tls(cluster: PostgresCluster) -> bool:
    try:
        psycopg.connect(f"host={HOST} port={cluster.primary.port} sslmode=require user=nobody")
    except psycopg.OperationalError as error:
        return "does not support SSL" not in str(error)
    return True

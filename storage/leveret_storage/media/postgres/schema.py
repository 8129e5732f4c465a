"""The tables and functions of Leveret in a database, and their migrations.

    version    the version of this schema, and the first key of its advisory locks
    head       a row a store: its epoch, the token of its owner's connections, its data
    blob       a row a blob: its store, its name, the number N of its table bN. A row without a name
               is of a table that was made ahead, or that is to be dropped
    bN         the bytes of a blob: a row an append, or several, by their offset
    salvaged   what a salvage set aside
    shared_log      its only row: the version of the shared log, and the oldest one from which on
                    its deletions are known
    shared_record   a row a key of the shared log: its last record, without data for a deletion
    shared_writer   a row a process that has appended to it: the number and the version of its last
                    append
    append_shared() appends to it, or says that there is a newer version
    member, lease   who there is, and who owns which store: `cluster_schema.py`
    fence()    allows a statement of the owner, or raises LV001 (fence.sql is in this file)

A schema is made and migrated under an advisory lock of its own, in one transaction, so two brokers
that start at once do it once. A version above SCHEMA_VERSION is refused.

Rights: to make a schema in the database (CREATE), or to own one that is there; and pg_monitor.
"""

from typing import Final

from leveret_storage.errors import UnknownFormat, not_known
from leveret_storage.media.postgres.cluster_schema import CLUSTER_TABLES
from leveret_storage.media.postgres.link import Link, number

SCHEMA_VERSION: Final = 1

LOST_STATE: Final = "LV001"
"""The store belongs to another owner, or to another connection of this one."""

UNREPLICATED_STATE: Final = "LV002"
"""A commit would be synchronous to no standby: synchronous_standby_names is empty."""

ISOLATION_STATE: Final = "LV003"
"""The fence says nothing in this isolation level."""

EMIT_MESSAGE: Final = "pg_logical_emit_message(true, 'leveret', '')"
"""The smallest thing to write: without it a commit is not synchronous, whatever it is set to."""

LOG_LOCK_WAIT_MS: Final = 2000
"""Milliseconds that an append to the shared log waits for another one."""

DELETIONS_MAX: Final = 10_000
"""Deletions that the shared log knows of. A reader that lacks an older one reads everything."""

WRITERS_MAX: Final = 1000
"""Processes of which the last append to the shared log is known."""

_LOCK_CLASS_TEXT: Final = "leveret store in schema "
_MIGRATION_TEXT: Final = "leveret migration of schema "

_VERSION_1: Final = (
    """
    create table {schema}.head (
        store int primary key, epoch bigint not null, token uuid not null, data bytea not null
    )
    """,
    "create sequence {schema}.table_number",
    """
    create table {schema}.blob (
        table_number bigint primary key, store int not null, name text collate "C",
        dropped boolean not null default false, unique (store, name)
    )
    """,
    """
    create table {schema}.salvaged (
        store int not null, name text collate "C" not null, data bytea not null,
        primary key (store, name)
    )
    """,
    """
    create table {schema}.shared_log (
        id int primary key check (id = 1), version bigint not null,
        oldest bigint not null
    ) with (fillfactor = 50)
    """,
    "insert into {schema}.shared_log values (1, 0, 0)",
    """
    create table {schema}.shared_record (
        key bytea primary key, version bigint not null, data bytea
    )
    """,
    "create index on {schema}.shared_record (version)",
    "create index on {schema}.shared_record (version) where data is null",
    """
    create table {schema}.shared_writer (
        writer uuid primary key, number bigint not null, version bigint not null
    )
    """,
    # The commit is synchronous for what was found as well: an earlier attempt of the same append
    # may have been committed without waiting for a standby.
    f"""
    create function {{schema}}.append_shared(
        expected bigint, a_writer uuid, a_number bigint, durability text, keys bytea[],
        datas bytea[], out version bigint, out is_appended boolean
    ) language plpgsql volatile as $$
    declare
        appended bigint;
        horizon bigint;
    begin
        perform {{schema}}.commit_as(durability);
        perform set_config('lock_timeout', '{LOG_LOCK_WAIT_MS}', true);
        select log.version into version from {{schema}}.shared_log log for update;
        perform {EMIT_MESSAGE};
        select writer.version into appended from {{schema}}.shared_writer writer
            where writer.writer = a_writer and writer.number = a_number;
        if appended is not null then
            version := appended;
            is_appended := true;
            return;
        end if;
        is_appended := version = expected;
        if not is_appended then
            return;
        end if;
        insert into {{schema}}.shared_record as record
            select each.key, expected + each.at, each.data
                from unnest(keys, datas) with ordinality as each(key, data, at)
            on conflict (key) do update set version = excluded.version, data = excluded.data;
        version := expected + cardinality(keys);
        if array_position(datas, null) is not null then
            select record.version into horizon from {{schema}}.shared_record record
                where record.data is null order by record.version desc
                offset {DELETIONS_MAX} limit 1;
        end if;
        if horizon is not null then
            delete from {{schema}}.shared_record record
                where record.data is null and record.version <= horizon;
        end if;
        update {{schema}}.shared_log log set version = append_shared.version,
            oldest = coalesce(horizon, log.oldest);
        insert into {{schema}}.shared_writer as writer values (a_writer, a_number, version)
            on conflict (writer) do update
            set number = excluded.number, version = excluded.version;
        delete from {{schema}}.shared_writer writer where writer.version <= (
            select other.version from {{schema}}.shared_writer other
            order by other.version desc offset {WRITERS_MAX} limit 1);
    end $$
    """,
    # A function that is VOLATILE sees in each of its statements what was committed before it: so
    # the epoch is read when the lock is held. A statement that does both itself reads it before.
    """
    create function {schema}.fence(a_store int, an_epoch bigint, a_token uuid, durability text)
    returns boolean language plpgsql volatile as $$
    declare
        found_epoch bigint;
        found_token uuid;
    begin
        perform pg_advisory_xact_lock_shared({lock_class}, a_store);
        select head.epoch, head.token into found_epoch, found_token
            from {schema}.head where head.store = a_store;
        if found_epoch is distinct from an_epoch or found_token is distinct from a_token then
            raise exception 'store % is owned with epoch %, not with epoch % of this connection',
                a_store, coalesce(found_epoch, 0), an_epoch using errcode = 'LV001';
        end if;
        return {schema}.commit_as(durability);
    end $$
    """,
    # 'replicated' insists on a standby, 'local' on none, 'later' waits for nothing at all.
    """
    create function {schema}.commit_as(durability text)
    returns boolean language plpgsql volatile as $$
    begin
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'transactions are %, not read committed',
                current_setting('transaction_isolation') using errcode = 'LV003';
        end if;
        if durability = 'replicated' and current_setting('synchronous_standby_names') = '' then
            raise exception 'synchronous_standby_names is empty' using errcode = 'LV002';
        end if;
        perform set_config('synchronous_commit',
            case durability when 'later' then 'off' else 'on' end, true);
        return true;
    end $$
    """,
    *CLUSTER_TABLES,
)

MIGRATIONS: Final = (_VERSION_1,)
"""The statements that lead from each version to the next; the first makes version 1."""


class Schema:
    """Leveret's schema in a database: names for statements, which are quoted where they have to be.

    `lock_class` is the first key of the advisory locks of its stores; the second is the store.
    """

    def __init__(self, name: str, lock_class: int, lz4: bool) -> None:
        self.name: Final = f'"{name}"'
        self.plain_name: Final = name
        self.lock_class: Final = lock_class
        self.lz4: Final = lz4
        """Whether the server compresses with lz4."""

    def table(self, table_number: int) -> str:
        """The table of a blob."""
        return f"{self.name}.b{table_number}"

    def create_table(self, table_number: int) -> list[str]:
        """The statements that make the table of a blob.

        Vacuuming would write all of it once more, for nothing: rows are not changed, and the table
        is dropped as a whole. What cannot be compressed well is stored as it is.
        """
        table = self.table(table_number)
        compression = " compression lz4" if self.lz4 else ""
        statements = [
            f"""
            create table {table} (
                start bigint primary key, epoch bigint not null, data bytea{compression} not null
            ) with (autovacuum_enabled = off, toast.autovacuum_enabled = off)
            """
        ]
        if not self.lz4:
            statements.append(f"alter table {table} alter column data set storage external")
        return statements


def find_schema(link: Link, name: str) -> Schema | None:
    """The schema of this name, if it has the version of this program; None if it is to be made, or
    migrated.

    :raises UnknownFormat: if a newer program made it.
    """
    version = _version(link, name)
    if version > SCHEMA_VERSION:
        raise UnknownFormat(not_known(f"version {version} of the schema {name}"))
    if version < SCHEMA_VERSION:
        return None
    return _described(link, name)


def make_schema(link: Link, name: str) -> Schema:
    """Make the schema, or migrate it to the version of this program.

    :raises UnknownFormat: if a newer program made it.
    """
    schema = find_schema(link, name)
    if schema is not None:
        return schema
    with link.transaction():
        link.execute("select pg_advisory_xact_lock(hashtext($1))", (_MIGRATION_TEXT + name,))
        version = _version(link, name)
        if version == 0:
            found = link.execute("select 1 from pg_namespace where nspname = $1", (name,))
            if not found:
                link.execute(f'create schema "{name}"')
            link.execute(
                f'create table if not exists "{name}".version'
                " (version int primary key, lock_class int not null)"
            )
        lock_class = _lock_class(link, name)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                link.execute(statement.format(schema=f'"{name}"', lock_class=lock_class))
        if version < SCHEMA_VERSION:
            link.execute(f'delete from "{name}".version')
            link.execute(
                f'insert into "{name}".version values ($1, $2)', (SCHEMA_VERSION, lock_class)
            )
    schema = find_schema(link, name)
    assert schema is not None
    return schema


def _version(link: Link, name: str) -> int:
    """The version of the schema that is there; 0 for none."""
    # To to_regclass it could seem to be missing when another broker has just made it: that a name
    # was not found is remembered until the end of the transaction.
    rows = link.execute(
        "select 1 from pg_class join pg_namespace on pg_namespace.oid = relnamespace"
        " where nspname = $1::text and relname = 'version'",
        (name,),
    )
    if not rows:
        return 0
    return number(link.execute(f'select coalesce(max(version), 0) from "{name}".version')[0][0])


def _lock_class(link: Link, name: str) -> int:
    """The first key of advisory locks. It is kept, for the fence has it in its text, and a later
    release of PostgreSQL may hash differently."""
    rows = link.execute(f'select lock_class from "{name}".version')
    if not rows:
        rows = link.execute("select hashtext($1)", (_LOCK_CLASS_TEXT + name,))
    return number(rows[0][0])


def _described(link: Link, name: str) -> Schema:
    rows = link.execute(
        "select 'lz4' = any(enumvals) from pg_settings where name = 'default_toast_compression'"
    )
    return Schema(name, _lock_class(link, name), bool(rows) and rows[0][0] == b"t")

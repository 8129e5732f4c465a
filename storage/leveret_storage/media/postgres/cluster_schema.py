"""The tables and functions for members and leases, which are a part of the schema (`schema.py`).

    cluster_setting   what all brokers of the cluster have in common: the number of stores, and
                      numbers that they agree on
    member            a row a broker, replaced by another process of its name only when it is silent
    lease             a row a store; `takes` counts how often it was taken
    failed_opening    a row for each process that has failed with a store, until it opens it or ends

All times are the server's, and read once a call (`clock_timestamp()`), so they mean the same for
all. After a failover the clock may be another one. Set forward, it ends leases early, which is
harmless; set back, it would keep them for longer: so each renewal shortens what ends later than any
lease could.

While a member has a connection it holds an advisory lock in it, by its incarnation (`is_shown`).
Who finds this lock free knows before the lease ends that the connection has.

Rows are changed often, and stay small: half of each page is free, for new versions of its rows.
"""

from typing import Final

CLUSTER_TABLES: Final = (
    "create table {schema}.cluster_setting (name text primary key, value bigint not null)",
    """
    create table {schema}.member (
        name text collate "C" primary key, incarnation text not null, address text not null,
        version text not null, started_at timestamptz not null, steady_since timestamptz not null,
        seen_at timestamptz not null, lease interval not null,
        draining boolean not null default false, is_shown boolean not null default false
    ) with (fillfactor = 50)
    """,
    """
    create table {schema}.lease (
        store int primary key, owner text not null default '', incarnation text not null default '',
        takes bigint not null default 0, until timestamptz not null default 'epoch',
        epoch bigint not null default 0, is_open boolean not null default false,
        successor text not null default '', wanted text not null default '',
        refused text not null default ''
    ) with (fillfactor = 50)
    """,
    """
    create table {schema}.failed_opening (
        store int, incarnation text, failed_at timestamptz not null, back_off interval not null,
        reason text not null, primary key (store, incarnation)
    )
    """,
    """
    create function {schema}.elapsed_ms(span interval) returns bigint language sql immutable as $$
        select greatest(0, floor(extract(epoch from span) * 1000))::bigint
    $$
    """,
    # Arrays in the order of the fields of Member, StoreLease and FailedOpening. A failure that lies
    # ahead is of a clock that was set back.
    """
    create function {schema}.cluster_view(instant timestamptz)
    returns text language sql volatile as $$
        select json_build_object(
            'members', (select coalesce(json_agg(json_build_array(
                    name, incarnation, address, version,
                    floor(extract(epoch from started_at) * 1000)::bigint,
                    {schema}.elapsed_ms(instant - seen_at),
                    {schema}.elapsed_ms(seen_at - steady_since),
                    draining, seen_at > instant - lease) order by name), '[]')
                from {schema}.member),
            'leases', (select coalesce(json_agg(json_build_array(
                    store, owner, incarnation, epoch,
                    greatest(0, ceil(extract(epoch from until - instant) * 1000))::bigint, is_open,
                    successor, wanted, refused, (
                        select coalesce(json_agg(json_build_array(
                            incarnation, {schema}.elapsed_ms(instant - failed_at),
                            {schema}.elapsed_ms(back_off), reason) order by incarnation), '[]')
                        from {schema}.failed_opening failed
                        where failed.store = lease.store and failed_at <= instant)
                    ) order by store), '[]')
                from {schema}.lease))::text
    $$
    """,
    """
    create function {schema}.member_lock(an_incarnation text)
    returns bigint language sql immutable as $$
        select hashtextextended('leveret member ' || an_incarnation, 0)
    $$
    """,
    # Null if the name is another process's.
    """
    create function {schema}.renew(a_name text, an_incarnation text, an_address text,
        a_version text, lease_ms bigint, stores int[])
    returns text language plpgsql volatile as $$
    declare
        instant timestamptz := clock_timestamp();
        length interval := lease_ms * interval '1 millisecond';
        longest interval := greatest(length, (select max(lease) from {schema}.member));
    begin
        -- First of all, for else no other process could take a name whose sign of life lies ahead.
        update {schema}.lease set until = instant + longest where store in (
            select store from {schema}.lease where until > instant + 2 * longest
            for update skip locked);
        update {schema}.member set seen_at = instant where name in (
            select name from {schema}.member where seen_at > instant + longest
            for update skip locked);
        insert into {schema}.member as known values
            (a_name, an_incarnation, an_address, a_version, instant, instant, instant, length)
            on conflict (name) do update set
                incarnation = excluded.incarnation, address = excluded.address,
                version = excluded.version, seen_at = instant, lease = length,
                started_at = case when known.incarnation = excluded.incarnation
                    then least(known.started_at, instant) else instant end,
                steady_since = case when known.incarnation = excluded.incarnation
                    and known.seen_at > instant - known.lease
                    then least(known.steady_since, instant) else instant end,
                draining = known.draining and known.incarnation = excluded.incarnation,
                is_shown = known.is_shown and known.incarnation = excluded.incarnation
            where known.incarnation = excluded.incarnation
                or known.seen_at <= instant - known.lease;
        if not found then
            return null;
        end if;
        update {schema}.lease set until = instant + length
            where incarnation = an_incarnation and store = any(stores);
        return {schema}.cluster_view(instant);
    end $$
    """,
    # Whether the lock of a process is free, so that it has no connection.
    """
    create function {schema}.is_unseen(an_incarnation text)
    returns boolean language sql volatile as $$
        select pg_try_advisory_xact_lock_shared({schema}.member_lock(an_incarnation))
    $$
    """,
)

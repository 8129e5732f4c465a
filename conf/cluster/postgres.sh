#!/usr/bin/env bash
# Starts one PostgreSQL server of compose.yaml. At the first start the server that PRIMARY names makes the
# database, and any other copies it from there and follows it. Later starts go on with what there is.
#
# NAME      this server, one of SERVERS
# PRIMARY   the server that is the primary at the first start of this one
# SERVERS   all servers, separated by commas; HOST:PORT is allowed here
# DATA      the directory of its data
# SECRETS   the directory of the passwords `superuser`, `replication` and `leveret`
# PORT, ADDRESS   where it listens: 5432 of all addresses, if they are not given
# SOCKETS, PASSFILE   the directory of its socket, and a file for a password: /tmp and /tmp/pgpass
#
# On a machine: as the user postgres, with PostgreSQL's programs in PATH (Debian: /usr/lib/postgresql/15/bin), and DATA made
# before. Arguments are passed on to the server: `-c ssl=on -c ssl_cert_file=FILE -c ssl_key_file=FILE`.
set -euo pipefail
umask 077

secrets=${SECRETS:-/run/secrets}
port=${PORT:-5432}
address=${ADDRESS:-*}
data=$DATA/database
sockets=${SOCKETS:-/tmp}

hosts= ports= names=
primary_host= primary_port=
IFS=, read -ra servers <<<"$SERVERS"
for server in "${servers[@]}"; do
    host=${server%%:*} at=5432
    [[ $server == *:* ]] && at=${server##*:}
    hosts+=${hosts:+,}$host ports+=${ports:+,}$at names+="${names:+, }\"$server\""
    if [[ $server == "$PRIMARY" ]]; then
        primary_host=$host primary_port=$at
    fi
done

# Not in $DATA: a copy would bring the other server's.
export PGPASSFILE=${PASSFILE:-/tmp/pgpass}
echo "*:*:replication:replication:$(<"$secrets/replication")" >"$PGPASSFILE"

# A database that is made or copied in part is made or copied again.
rm -rf "$DATA/new"

make_database() {
    initdb --pgdata "$DATA/new" --username postgres --pwfile "$secrets/superuser" \
        --auth-local trust --auth-host scram-sha-256 --data-checksums --encoding UTF8 --locale C
    cat >>"$DATA/new/pg_hba.conf" <<HBA
host all all all scram-sha-256
host replication replication all scram-sha-256
HBA
    pg_ctl --pgdata "$DATA/new" --wait --silent \
        --options "-c listen_addresses='' -c unix_socket_directories='$sockets' -p $port" start
    psql --quiet --no-psqlrc --host "$sockets" --port "$port" --username postgres \
        --set ON_ERROR_STOP=1 \
        --set replication="$(<"$secrets/replication")" --set leveret="$(<"$secrets/leveret")" <<'SQL'
create role replication login replication password :'replication';
create role leveret login password :'leveret' in role pg_monitor;
create database leveret owner leveret;
SQL
    pg_ctl --pgdata "$DATA/new" --wait --silent --mode fast stop
}

copy_database() {
    until pg_basebackup --host "$primary_host" --port "$primary_port" --username replication \
        --no-password --pgdata "$DATA/new" --checkpoint fast; do
        rm -rf "$DATA/new"
        sleep 1
    done
    touch "$DATA/new/standby.signal"
}

if [[ ! -d $data ]]; then
    if [[ $NAME == "$PRIMARY" ]]; then
        make_database
    else
        copy_database
    fi
    mv "$DATA/new" "$data"
fi

# Standbys are named because `*` would count others who receive the log, for an archive, too. A standby finds
# the primary among all servers, also after another one was promoted. wal_keep_size is what
# a standby may miss while it is away; with replication slots instead, max_slot_wal_keep_size bounds them.
exec postgres -D "$data" -p "$port" \
    -c listen_addresses="$address" \
    -c unix_socket_directories="$sockets" \
    -c cluster_name="$NAME" \
    -c synchronous_standby_names="ANY 1 ($names)" \
    -c primary_conninfo="host=$hosts port=$ports user=replication target_session_attrs=read-write connect_timeout=3" \
    -c shared_buffers=256MB \
    -c max_wal_size=4GB \
    -c wal_compression=lz4 \
    -c wal_keep_size=1GB \
    -c max_slot_wal_keep_size=8GB \
    -c wal_receiver_status_interval=1s \
    -c wal_retrieve_retry_interval=500ms \
    "$@"

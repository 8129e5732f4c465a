"""The sections of the configuration that say where data are, and which brokers share them.

The rules for sections are in `config.py`.
"""

from typing import Annotated, Literal

import msgspec

from leveret.key_doc import KeyDoc

SyncMode = Literal["commit", "interval", "os"]
Replicas = Literal["standbys", "provider"]


class Storage(msgspec.Struct, frozen=True):
    """Storage of durable queues and persistent messages."""

    memory: Annotated[
        bool,
        KeyDoc(
            "Keep everything in memory and write nothing to disk. For tests: all queues and"
            " messages are lost when the process ends."
        ),
    ] = False
    data_dir: Annotated[
        str,
        KeyDoc(
            "Where the broker's data are: a directory, as a path or a `file:` URL, which is created"
            " if it is missing; or a PostgreSQL database with standbys, as a `postgresql:` URL that"
            " names all its hosts, which several brokers may share (docs/cluster.md).",
            form="a directory, or postgresql://USER@HOST,HOST/DATABASE",
            not_empty=True,
        ),
    ] = "./data"
    password: Annotated[
        str,
        KeyDoc("Password for the database, if it needs one and libpq has none.", secret=True),
    ] = ""
    replicas: Annotated[
        Replicas,
        KeyDoc(
            "Who replicates the database. `standbys`: PostgreSQL, to standbys that commits wait"
            " for, which Leveret checks. `provider`: a managed database replicates underneath"
            " PostgreSQL, where Leveret cannot see it.",
        ),
    ] = "standbys"
    replicas_min: Annotated[
        int,
        KeyDoc(
            "Standbys of the database that have to have what is confirmed. While there are fewer,"
            " nothing is confirmed. With 0 one server is enough, and what it has is lost with it.",
            low=0,
            high=100,
        ),
    ] = 1
    local_dir: Annotated[
        str,
        KeyDoc(
            "Directory on this machine for a broker whose data are in a database: its control"
            " socket, messages that need not survive it and do not fit into memory, and what it"
            " has seen of the database last.",
            form="a directory",
            not_empty=True,
        ),
    ] = "./data"
    sync: Annotated[
        SyncMode,
        KeyDoc(
            "When a persistent message is confirmed. `commit`: after it is written and synced"
            " (fdatasync); a power failure loses no confirmed message. `interval`: after it is"
            " written; a sync follows every `sync_interval`, and a power failure may lose what"
            " was confirmed since the start of the last completed sync. `os`: after it is"
            " written; the operating system decides when to sync, and a power failure may lose"
            " everything confirmed since then. If only the process dies, no confirmed message"
            " is lost with any of the three."
        ),
    ] = "commit"
    sync_interval: Annotated[
        int,
        KeyDoc(
            'Time between two syncs with `sync = "interval"`.',
            unit="milliseconds",
            low=1,
            high=60_000,
        ),
    ] = 200
    disk_free_limit: Annotated[
        int,
        KeyDoc(
            "Free disk space below which publishers are blocked while consumers continue. With"
            " 0 they are blocked only when the disk is full.",
            unit="bytes",
            low=0,
            high=2**50,
        ),
    ] = 50_000_000
    disk_reserve: Annotated[
        int,
        KeyDoc(
            "Disk space set aside in `data_dir`, at most a quarter of its file system. On a full"
            " disk it takes what is on its way to the disk (up to 32 MB), acknowledgements, and a"
            " copy of the definitions, so that consumers can empty the disk. Publishers are blocked"
            " until it is set aside again. With 0 there is none.",
            unit="bytes",
            low=0,
            high=2**50,
        ),
    ] = 48_000_000


class Cluster(msgspec.Struct, frozen=True):
    """Brokers that share a database (docs/cluster.md)."""

    stores: Annotated[
        int,
        KeyDoc(
            "Stores in the database, to which virtual hosts are assigned by a hash of their names;"
            " each store has one broker at a time. The first broker of a cluster decides, and the"
            " others have to have the same number.",
            low=1,
            high=1024,
        ),
    ] = 16
    lease: Annotated[
        int,
        KeyDoc(
            "Time after which the stores of a broker that is gone are taken by others. It renews"
            " its leases three times as often.",
            unit="milliseconds",
            low=500,
            high=600_000,
        ),
    ] = 3000
    listen: Annotated[
        tuple[str, ...],
        KeyDoc(
            "Addresses at which the other brokers of the cluster pass on connections; port 0 takes"
            " a free port. Without any this broker serves its own virtual hosts only. It needs"
            " `secret`, or certificates.",
            form="a list of HOST:PORT",
        ),
    ] = ()
    advertise: Annotated[
        str,
        KeyDoc(
            "Address at which the other brokers reach `listen`; empty is its first address, which"
            " then has to name a host.",
            form="HOST:PORT",
        ),
    ] = ""
    secret: Annotated[
        str,
        KeyDoc(
            "Secret that the brokers of a cluster share, at least 16 bytes. It is not sent: each"
            " side proves that it knows it.",
            secret=True,
        ),
    ] = ""
    certfile: Annotated[
        str,
        KeyDoc(
            "PEM file of the certificate with which this broker and others connect to each other"
            " with TLS, both showing one."
        ),
    ] = ""
    keyfile: Annotated[str, KeyDoc("PEM file of its key; empty if it is in `certfile`.")] = ""
    cacertfile: Annotated[
        str, KeyDoc("PEM file of the authority that signs the certificates of the brokers alone.")
    ] = ""

"""The medium that is a PostgreSQL database with synchronous standbys.

It needs psycopg (the extra `leveret[postgres]`), and PostgreSQL 15 or newer. From the bottom to the
top:

    location.py      what a `postgresql://` location says
    link.py          one connection, whose calls end when it is given up
    connecting.py    all hosts of the location at once; the newest primary is taken
    cluster_schema.py  tables for members and leases
    schema.py        tables and functions, and their migrations
    ownership.py     the head of a store: taking it, and everything that the fence says
    checks.py        what Leveret relies on, checked after each connect
    operations.py    what is appended: statements that may be sent again
    pipeline.py      a connection that sends operations without waiting for their results
    appender.py      the operations of one store, in order, until they are durable
    io_thread.py     the one thread that drives all pipelines, and makes them durable
    session.py       the links for calls that wait
    owned_store.py   a store that this process owns
    database.py      the connections of a broker: lost, and made again
    standbys.py      the standbys, as the primary lists them
    shared_log.py    what all brokers of a cluster have in common: a log, and who listens to it
    tables.py        blobs as tables
    medium.py        the medium
    opening.py       the medium that a location names
    coordination.py  members and leases, on connections of their own

Rules:

- A store is written under the **fence**, a function in the database: it takes a shared advisory
  lock and then compares epoch and token with those of the head. Who takes a store holds that lock
  exclusively, so no statement of an earlier owner, or of an earlier connection, follows.
- Appends are committed asynchronously, in order, on one connection. A second connection makes them
  durable by small synchronous commits. What is alone in flight is committed synchronously at once.
- Whatever is not durable is in memory, and is sent again on new connections when the old ones
  broke. So a broken connection is no failure; a lost epoch is, and data that were durable and
  are not there (DataLost).
"""

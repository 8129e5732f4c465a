"""A simulated cluster: brokers that share a database, in one thread and without real time.

The decisions are the real ones (`leveret.cluster.ownership`, `leveret.cluster.assignment`). What is
simulated: time, the database with its locks, its replication and its failovers, the connections,
and of a broker its event loop, its thread for leases, and its stores. A seed determines everything.

    events.py     what happens when, and the chance that decides
    rows.py       the state of the database, as its write-ahead log makes it
    database.py   statements, locks, synchronous commits, failovers
    broker.py     a broker: Ownership, the thread that asks, and connections that fail
    store.py      one store at a broker: taking it, appending, confirming
    oracle.py     what must hold, checked at each step
    run.py        a run: faults, then quiet, then what must be so

    python -m tests.cluster.simulation SEEDS [FIRST]
"""

"""`leveret log copy`: all data of a broker, from a directory to a database, and back."""

from typing import NoReturn

import click

EXIT_NOT_COPIED = 1
EXIT_REFUSED = 2


@click.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--stores",
    metavar="N",
    type=click.IntRange(1, 1024),
    help="Stores that a new database gets, as cluster.stores says; 16 unless given.",
)
def copy(source: str, target: str, stores: int | None) -> None:
    """Copy all data between a directory and a database that brokers share.

    FROM and TO are what storage.data_dir may be. FROM is not changed, and TO has to be empty. No
    broker may run on either. Everything is read back; until that is done brokers refuse TO.

    Exit codes: 0 copied; 1 the copy failed, and TO has a part of it; 2 nothing was copied.

    Example: leveret log copy ./data postgresql://leveret@db1,db2/leveret
    """
    from leveret.cluster.copy_places import open_source, open_target
    from leveret.cluster.store_copy import CopyRefused
    from leveret.cluster.store_copy import copy as copy_all
    from leveret_storage.errors import StorageError

    try:
        opened = open_source(source)
    except StorageError as error:
        _fail(error, EXIT_REFUSED)
    try:
        place = open_target(target, stores)
    except StorageError as error:
        opened.close()
        _fail(error, EXIT_REFUSED)
    try:
        copied = copy_all(opened, place, click.echo)
    except CopyRefused as error:
        _fail(error, EXIT_REFUSED)
    except StorageError as error:
        _fail(error, EXIT_NOT_COPIED)
    finally:
        place.close()
        opened.close()
    click.echo(
        f"copied and read back: {copied.vhosts} virtual hosts, {copied.queues} queues and delayed"
        f" exchanges, {copied.messages} messages, to {copied.stores} stores"
    )


def _fail(error: Exception, code: int) -> NoReturn:
    click.echo(f"leveret: {error}", err=True)
    raise SystemExit(code)

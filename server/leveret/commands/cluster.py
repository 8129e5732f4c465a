"""`leveret cluster`: the brokers that share a database, and the stores that they own."""

from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from leveret.commands.client import Client
from leveret.commands.context import EXIT_REFUSED, fail, show, with_broker

NO_CLUSTER = "this broker shares its storage with no other: there is no cluster"


@click.group(name="cluster")
def cluster_group() -> None:
    """Brokers that share a database, and their stores.

    Any broker that runs takes these orders: they go to the database, and the broker that one
    concerns carries it out.
    """


AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")


def _cluster(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("cluster")
    if not found["clustered"]:
        fail(NO_CLUSTER, EXIT_REFUSED)
    return found


@cluster_group.command()
@AS_JSON
@with_broker
def status(client: Client, as_json: bool) -> None:
    """Say which brokers there are, how the database is, and what is wrong.

    Example: leveret cluster status
    """
    found = _cluster(client)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    rows = [
        {**each, "stores": each["stores_count"], "silent_s": each["silent_ms"] / 1000}
        for each in found["members"]
    ]
    show(rows, ("name", "running", "draining", "stores", "silent_s", "address", "version"), False)
    served = sum(each["served"] for each in found["stores"])
    click.echo(f"\nstores: {len(found['stores'])}, of which {served} are served")
    if found["database"] is not None:
        click.echo(_database(found["database"]))
    for warning in found["warnings"]:
        click.echo(f"warning: {warning}")


def _database(database: dict[str, Any]) -> str:
    """The database in a line or two."""
    following = [each["name"] for each in database["standbys"] if each["state"] == "streaming"]
    if database["replicas"] is None:
        copies = "replicated by its provider"
    else:
        copies = f"followed by {', '.join(following) or 'no standby'}"
    line = (
        f"database: PostgreSQL {database['version']} at {database['server']}"
        f" {'with' if database.get('tls') else 'without'} TLS, timeline"
        f" {database['timeline']}, {copies}; failovers since the start: {database['failovers']}"
    )
    if database["away"]:
        since = datetime.fromtimestamp(database["away_since"] / 1000, UTC)
        line += f"\ndatabase: away since {since.isoformat(timespec='seconds')}: {database['away']}"
    return line


@cluster_group.command()
@AS_JSON
@with_broker
def stores(client: Client, as_json: bool) -> None:
    """List the stores with their owners and their virtual hosts.

    Example: leveret cluster stores
    """
    rows = _cluster(client)["stores"]
    columns = ("store", "node", "state", "epoch", "lease_left_ms", "wanted", "vhosts", "reason")
    show(rows, columns, as_json)


@cluster_group.command()
@click.argument("store", type=click.IntRange(min=0))
@click.argument("node", required=False)
@click.option("--undo", is_flag=True, help="Let the store be owned by any broker again.")
@with_broker
def move(client: Client, store: int, node: str | None, undo: bool) -> None:
    """Have a store be owned by a broker whenever that runs.

    Its owner hands it over: the clients of its virtual hosts connect again, and nothing is lost.

    Example: leveret cluster move 3 broker-2
    """
    if (node is None) != undo:
        raise click.UsageError("expected either NODE or --undo")
    successor = ("cluster", "stores", str(store), "successor")
    if node is None:
        client.delete(*successor)
    else:
        client.put(*successor, body={"node": node})


@cluster_group.command()
@click.argument("node")
@click.option("--undo", is_flag=True, help="Have it own its share again.")
@with_broker
def drain(client: Client, node: str, undo: bool) -> None:
    """Have a broker own no store, before it is stopped for example.

    It hands its stores over to the others, and goes on to serve clients: their connections are
    passed on. A broker that was started again owns its share.

    Example: leveret cluster drain broker-2
    """
    members = ("cluster", "members", node, "drain")
    if undo:
        client.delete(*members)
    else:
        client.put(*members)


@cluster_group.command()
@click.argument("node")
@with_broker
def forget(client: Client, node: str) -> None:
    """Remove a broker that is down, and does not come back.

    Example: leveret cluster forget broker-3
    """
    client.delete("cluster", "members", node)


@cluster_group.command()
@click.argument("store", type=click.IntRange(min=0))
@with_broker
def allow(client: Client, store: int) -> None:
    """Allow that a store is taken again which nobody may take.

    A broker refuses a store in which confirmed data are missing or damaged. What is missing is
    lost after this.

    Example: leveret cluster allow 3
    """
    client.delete("cluster", "stores", str(store), "refusal")

"""What is done to the messages of a queue, and to a queue while it serves: `leveret peek`, `move`,
`copy`, `replay`, `discard`, `change`, `pause`, `resume`."""

import sys
from collections.abc import Callable
from typing import Any

import click

from leveret.commands.client import Client
from leveret.commands.context import EXIT_REFUSED, EXIT_WRONG_USE, fail, show, with_broker
from leveret.commands.objects import argument_table
from leveret.commands.policies import VHOST


@click.command()
@click.argument("queue")
@click.option("--count", default=1, show_default=True, help="Messages, at most; up to 100.")
@click.option("--offset", default=0, help="Messages to pass over first.")
@click.option("--routing-key", default="", metavar="TEXT", help="The routing key contains it.")
@click.option("--header", metavar="NAME[=TEXT]", help="A header or property, and its value.")
@click.option("--payload", default="", metavar="TEXT", help="The body contains it.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known, as JSON.")
@VHOST
@with_broker
def peek(
    client: Client,
    queue: str,
    count: int,
    offset: int,
    routing_key: str,
    header: str | None,
    payload: str,
    as_json: bool,
    vhost: str,
) -> None:
    """Show the next messages, and change nothing.

    With options, those that have what these say. No message is marked as redelivered, or counted as
    delivered.

    Example: leveret peek orders --count 10 --header customer=42
    """
    name, _, value = (header or "").partition("=")
    body: dict[str, Any] = {
        "offset": offset,
        "routing_key": routing_key,
        "header": name,
        "header_value": value,
        "payload": payload,
    }
    found: list[dict[str, Any]] = []
    while True:
        body["count"] = count - len(found)
        answer = client.post("queues", vhost, queue, "peek", body=body)
        found += answer["messages"]
        body["offset"] = answer["next_offset"]
        if len(found) >= count or body["offset"] is None:
            break
    columns = ("position", "exchange", "routing_key", "redelivered", "payload_bytes", "payload")
    show(found, columns, as_json)


def _target_options(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments and options of commands that bring messages somewhere."""
    for option in (
        VHOST,
        click.option("--count", type=click.IntRange(1), help="Messages, at most; else all."),
        click.option(
            "--routing-key", metavar="KEY", help="At an exchange; else that of each message."
        ),
        click.option("--to-exchange", is_flag=True, help="TARGET is an exchange."),
        click.argument("target"),
        click.argument("queue"),
    ):
        command = option(command)
    return command


@click.command()
@_target_options
@with_broker
def move(
    client: Client,
    queue: str,
    target: str,
    to_exchange: bool,
    routing_key: str | None,
    count: int | None,
    vhost: str,
) -> None:
    """Move messages of a queue elsewhere.

    The target is a queue, or an exchange. A crash neither loses nor doubles a persistent message.

    Example: leveret move orders.dead orders --count 100
    """
    body = _target_body(target, to_exchange, routing_key)
    transfer = _Transfer(client, vhost, queue, "move", "moved")
    transfer.run(body, count)


@click.command()
@_target_options
@with_broker
def copy(
    client: Client,
    queue: str,
    target: str,
    to_exchange: bool,
    routing_key: str | None,
    count: int | None,
    vhost: str,
) -> None:
    """Copy messages of a queue elsewhere.

    They stay where they are, too. The target is a queue, or an exchange.

    Example: leveret copy orders orders.test --count 100
    """
    body = _target_body(target, to_exchange, routing_key)
    transfer = _Transfer(client, vhost, queue, "copy", "copied")
    transfer.run(body, count)


@click.command()
@click.argument("queue")
@click.option("--count", type=click.IntRange(1), help="Dead letters, at most; else all.")
@VHOST
@with_broker
def replay(client: Client, queue: str, count: int | None, vhost: str) -> None:
    """Move dead letters back to where they died.

    Each goes to the queue in which it died last. Messages that are no dead letters stay. A crash
    neither loses nor doubles a persistent message.

    Example: leveret replay orders.dead
    """
    transfer = _Transfer(client, vhost, queue, "replay", "replayed")
    transfer.run({}, count)


@click.command()
@click.argument("queue")
@click.argument("positions", metavar="POSITION...", nargs=-1, required=True)
@VHOST
@with_broker
def discard(client: Client, queue: str, positions: tuple[str, ...], vhost: str) -> None:
    """Drop selected messages, without dead-lettering.

    `leveret peek` shows the positions.

    Example: leveret discard orders 17 18
    """
    answer = client.post("queues", vhost, queue, "discard", body={"positions": list(positions)})
    click.echo(_counted(answer["discarded"], "discarded"))


def _target_body(target: str, to_exchange: bool, routing_key: str | None) -> dict[str, Any]:
    if not to_exchange:
        if routing_key is not None:
            fail("--routing-key needs --to-exchange", EXIT_WRONG_USE)
        return {"queue": target}
    return {"exchange": target or "amq.default", "routing_key": routing_key}


def _counted(count: int, what: str) -> str:
    return f"{count} {'message' if count == 1 else 'messages'} {what}"


class _Transfer:
    """Asks for a move until all is moved that was there."""

    def __init__(self, client: Client, vhost: str, queue: str, request: str, what: str) -> None:
        """
        :param what: what happens to messages, as the answer counts them.
        """
        self._client = client
        self._vhost = vhost
        self._queue = queue
        self._request = request
        self._what = what

    def run(self, body: dict[str, Any], count: int | None) -> None:
        """Do it for `count` messages at most, and say how many there were."""
        what = self._what
        ready = int(self._client.get("queues", self._vhost, self._queue)["messages_ready"])
        total = ready if count is None else min(count, ready)
        done, offset = 0, 0
        shows_progress = sys.stderr.isatty()
        while True:
            body |= {"count": total - done, "offset": offset}
            answer = self._client.post("queues", self._vhost, self._queue, self._request, body=body)
            left_out = answer.get("left_out", 0)
            done += answer[what]
            # What stays in the queue is passed over the next time.
            offset += left_out + (answer[what] if what == "copied" else 0)
            if shows_progress:
                click.echo(f"\r{done} of {total} {what}", nl=False, err=True)
            is_over = answer[what] + left_out == 0 or done >= total or offset >= ready
            refused = answer.get("refused_key", answer.get("refused_queue"))
            if is_over or refused is not None:
                break
        if shows_progress:
            click.echo(err=True)
        click.echo(_counted(done, what))
        if refused is not None:
            if what == "replayed":
                fail(
                    f"queue '{refused}', in which the next message died, does not take it",
                    EXIT_REFUSED,
                )
            fail(f"no queue took the next message, with routing key '{refused}'", EXIT_REFUSED)


@click.group(name="change")
def change_group() -> None:
    """Change what exists."""


@change_group.command(name="queue")
@click.argument("name")
@click.argument("arguments", metavar="ARGUMENT=JSON...", nargs=-1, required=True)
@VHOST
@with_broker
def change_queue(client: Client, name: str, arguments: tuple[str, ...], vhost: str) -> None:
    """Change arguments of a queue.

    They are kept as if it had been declared with them; null removes one. Clients that declare the
    queue must give the same ones. What the queue is (its type, its priorities) cannot be changed.

    Example: leveret change queue orders x-message-ttl=60000 x-max-length=null
    """
    table = argument_table(arguments)
    named = {key if key.startswith("x-") else f"x-{key}": table[key] for key in table}
    client.patch("queues", vhost, name, body={"arguments": named})


@click.group(name="pause")
def pause_group() -> None:
    """Stop what runs for a while."""


@pause_group.command(name="queue")
@click.argument("name")
@VHOST
@with_broker
def pause_queue(client: Client, name: str, vhost: str) -> None:
    """Give clients no messages of a queue until it is resumed.

    Consumers stay, basic.get finds the queue empty, and publishers go on. A durable queue stays
    paused after a restart. The commands get, peek, move and purge work as ever.

    Example: leveret pause queue orders
    """
    client.put("queues", vhost, name, "pause")


@click.group(name="resume")
def resume_group() -> None:
    """Let what was paused go on."""


@resume_group.command(name="queue")
@click.argument("name")
@VHOST
@with_broker
def resume_queue(client: Client, name: str, vhost: str) -> None:
    """Give clients messages of a queue that was paused.

    Example: leveret resume queue orders
    """
    client.delete("queues", vhost, name, "pause")

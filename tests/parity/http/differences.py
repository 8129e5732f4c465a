"""Where the HTTP API answers otherwise than RabbitMQ 3.10.8, and why.

python -m tests.parity.http.differences       write the reasons into docs/coming-from-rabbitmq.md
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.parity.differences import BEGIN, END, section_of
from tests.parity.http import access_differences
from tests.parity.http.compare import Mismatch

PAGE: Final = Path(__file__).parents[3] / "docs" / "coming-from-rabbitmq.md"


@dataclass(frozen=True)
class Difference:
    """Some mismatches that are intended."""

    why: str
    where: str
    """A regular expression for all of a mismatch's place."""
    request: str = ""
    """A regular expression that is found in the request."""
    what: str = ""
    """A regular expression that is found in what differs."""

    def covers(self, mismatch: Mismatch) -> bool:
        """Whether a mismatch is one of these."""
        return bool(
            re.fullmatch(self.where, mismatch.where)
            and re.search(self.request, mismatch.request)
            and re.search(self.what, mismatch.what)
        )


DIFFERENCES: Final = (
    Difference(
        "The reason is a sentence of Leveret's own, which names what is wrong.",
        "reason",
    ),
    Difference(
        "What makes RabbitMQ fail is a wrong request (400), something that is not there (404), or"
        " taken as it is meant.",
        "status",
        what=" for 500 ",
    ),
    Difference(
        "A definitions file of a virtual host that does not exist is not there.",
        "status",
        request="GET /definitions/none",
        what="404 for 400",
    ),
    Difference(
        "What does not exist has no bindings: it is not there.",
        "status",
        request="GET /(queues|exchanges)/%2F/none/bindings",
        what="404 for 200",
    ),
    Difference(
        "A message for an exchange, or a request for a virtual host, that does not exist: it is not"
        " there.",
        "status",
        request="POST /(exchanges|queues)/.*none/(publish|get)",
        what="404 for 40[01]",
    ),
    Difference(
        "A path with another method answers as one that is not there, if it has no GET: it may be a"
        " page.",
        "status",
        request="GET /.*/(contents|publish|get)$",
        what="404 for 405",
    ),
    Difference("Leveret has methods of its own.", "header allow", what="PATCH|POST"),
    Difference("Leveret has its own name.", "header www-authenticate", what="Leveret Management"),
    Difference(
        "What is no login is a failed login.",
        "status",
        request=r"GET /overview \((Basic|Digest)",
        what="401 for 400",
    ),
    Difference(
        "Values have to be of their type.",
        "status",
        request="'(routing_key|description)': 1",
        what="400 for 20[0-4]",
    ),
    Difference(
        "Numbers may be strings everywhere.",
        "status",
        request="(/max-connections|/new) .*('10'|'3')",
        what="204 for 400",
    ),
    Difference(
        "A queue that is declared without `durable` is durable.",
        "status",
        request="PUT /queues/%2F/new {}",
        what="204 for 400",
    ),
    Difference("The hash of arguments is another one.", "header location", request="'x': 1"),
    Difference("A password is not empty.", "status", request="PUT /users/bob .*'password': ''"),
    Difference(
        "A password is hashed by an algorithm that exists.",
        "status",
        request="PUT /users/bob .*'hashing_algorithm': 'none'",
    ),
    Difference(
        "Of several users that are to be deleted, none is if one does not exist.",
        "status",
        request="POST /users/bulk-delete",
        what="204 for 400",
    ),
    Difference(
        "A parameter is kept whatever its component.",
        "status",
        request="PUT /parameters/none/",
        what="201 for 400",
    ),
    Difference(
        "What can be left out has a default.",
        "status",
        request="POST /(exchanges/%2F/amq.default/publish|definitions) ",
        what="20[04] for 400",
    ),
    Difference(
        "A property that does not exist is an error.",
        "status",
        request="'unknown': 1",
        what="400 for 200",
    ),
    Difference(
        "A number of messages below 0 is an error.",
        "status",
        request="'count': -1",
        what="400 for 200",
    ),
    Difference(
        "An object without keys is an object.",
        r"\[\](\.properties)?",
        what="object for a list",
    ),
    Difference(
        "Every list can be cut into pages.",
        "",
        request=r"GET /(bindings|consumers|users|permissions|policies)\?page=1",
        what="object for a list",
    ),
    Difference(
        "There are no plugins with pages, and no feature flags.",
        "",
        request="GET /(extensions|feature-flags)$",
        what="an empty list",
    ),
    Difference(
        "Leveret does not run on Erlang.",
        r"erlang_(full_)?version|.*contexts\[\]\.cowboy_opts",
        what="missing",
    ),
    Difference(
        "How often the disk is read and written for messages is not counted.",
        r"(\[\]\.)?message_stats\.disk_(reads|writes)(_details)?",
        what="missing",
    ),
    Difference(
        "How many messages of a queue are in memory, and how many are persistent, is not counted.",
        r"(items)?(\[\]\.)?messages?_(bytes_)?((ready_|unacknowledged_)?ram|paged_out|persistent)",
        what="missing",
    ),
    Difference(
        "Only the columns that are asked for are shown, also of one object.",
        r"object_totals\..*",
        request=r"GET /overview\?columns=",
        what="missing",
    ),
    Difference(
        "What Erlang, its database, its message store and garbage collector measure is not there.",
        r"(\[\]\.)?(io|mnesia|msg_store|queue_index|gc|metrics_gc|ra|proc|context_switches)_.*",
        request="GET /nodes",
        what="missing",
    ),
    Difference(
        "How often something is opened, closed, declared or deleted is in the overview.",
        r"(\[\]\.)?(channel|connection|queue)_(created|closed|declared|deleted)_details",
        request="GET /nodes",
        what="missing",
    ),
    Difference(
        "There are no Erlang applications, and a configuration file only if one was given.",
        r"(\[\]\.)?(applications|config_files)",
        request="GET /nodes",
        what="an empty list",
    ),
    Difference(
        "The share of the time in which consumers could take more has a fraction, 0 too.",
        r"(items)?(\[\]\.)?consumer_(capacity|utilisation)",
        what="number for integer",
    ),
    Difference(
        "A file of one virtual host names it in no entry: it can be imported into another one.",
        r"(parameters|policies)\[\]\.vhost",
        request="GET /definitions/%2F",
        what="missing",
    ),
    Difference(
        "What a connection without TLS does not have is null, of one as of all.",
        "(ssl|peer_cert)_.*",
        request=r"GET /connections/\{",
        what="null for string",
    ),
)


def section() -> str:
    """The reasons, as the page has them between its marks."""
    reasons = [*(each.why for each in DIFFERENCES), *access_differences.DIFFERENCES]
    return "\n".join([BEGIN, "", *(f"- {why}" for why in dict.fromkeys(reasons)), "", END])


def main() -> None:
    """Write them into the page."""
    page = PAGE.read_text("utf-8")
    PAGE.write_text(page.replace(section_of(page), section()), "utf-8")


if __name__ == "__main__":
    main()

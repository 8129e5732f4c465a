"""Pages, names, sorting and columns of lists."""

from tests.parity.http.play import Play

QUERIES = """
/queues?page=1
/queues?page=1&page_size=2
/queues?page=2&page_size=2
/queues?page=9&page_size=2
/queues?page=0
/queues?page=-1
/queues?page=x
/queues?page=
/queues?page=1&page_size=0
/queues?page=1&page_size=501
/queues?page=1&page_size=x
/queues?page_size=2
/queues?page=1&name=wor
/queues?page=1&name=WOR
/queues?page=1&name=none
/queues?page=9&name=none
/queues?page=1&name=^w.*k$&use_regex=true
/queues?page=1&name=^w.*k$&use_regex=false
/queues?page=1&name=^W&use_regex=true
/queues?page=1&name=[&use_regex=true
/queues?name=wor
/queues?page=1&use_regex=true&pagination=false&name=^w&page_size=100
/queues?pagination=true
/queues?pagination=false
/queues?page=1&pagination=false
/queues?sort=name
/queues?sort=name&sort_reverse=true
/queues?sort=name&sort_reverse=maybe
/queues?sort=nothing
/queues?sort=message_stats.publish
/queues?page=1&sort=messages&sort_reverse=true
/queues?columns=name
/queues?columns=name,messages_details.rate
/queues?columns=nothing
/queues?columns=
/queues?page=1&columns=name
/queues?page=1&page_size=2&columns=name&sort=name
/queues/%2F?page=1&page_size=1
/queues/second?page=1
/queues/none?page=1
/exchanges?page=1
/exchanges/%2F?page=1&name=amq
/exchanges?columns=name,type
/connections?page=1
/connections?page=1&name=x
/channels?page=1
/vhosts?page=1
/vhosts?columns=name
/bindings?page=1
/bindings?columns=source,destination
/consumers?page=1
/users?page=1
/users?columns=name
/users?sort=name&sort_reverse=true
/permissions?page=1
/policies?page=1
/overview?columns=node,object_totals.queues
"""


def play(play: Play) -> None:
    """Ask for lists; what of their order and number can be seen is recorded, too."""
    for path in QUERIES.split():
        play.ask("GET", path.replace("^", "%5E").replace("[", "%5B"), shown=path)

"""Why several scenarios differ, each as a sentence of docs/protocol.md."""

CLOSED_EARLY = (
    "A client may send `connection.close` at any time, also before `connection.open`; "
    "RabbitMQ takes that for an error."
)
REASON_BEFORE_LOGIN = (
    "A client that is refused before it has logged in is told the reason in "
    "`connection.close`; RabbitMQ closes the socket without a word."
)
SURPLUS = (
    "A body that is larger than its header announced closes the connection at once, as on"
    " RabbitMQ 4; RabbitMQ 3.10 goes on waiting for content, and refuses the next frame"
    " instead."
)
UNREADABLE_METHOD = (
    "A method that does not exist, or a table that cannot be decoded, closes the "
    "connection with a reply that says so; RabbitMQ closes the socket without a word."
)
UNREADABLE_PROPERTIES = (
    "Message properties that cannot be decoded close the connection with 502 and the "
    "reason; RabbitMQ reports an internal error without a reason."
)

"""Names and routing keys as text, and back.

A short string of AMQP may hold any octets. Those that are not UTF-8 become surrogates in the text
(PEP 383), so that no octet is lost on the way back.
"""


def text_of(octets: bytes) -> str:
    """The text of octets that may be no UTF-8."""
    return octets.decode("utf-8", "surrogateescape")


def octets_of_text(text: str) -> bytes:
    """The octets that `text_of` made this text of."""
    return text.encode("utf-8", "surrogateescape")

"""What a data directory holds is shown as plain values."""

from leveret.datadir.dump import plain_message
from leveret_storage.format.entries import StoredMessage

HEADER = bytes(14)


def shown(arrived: int, expires_at: int) -> dict[str, object]:
    return plain_message(
        "/", "q", 7, StoredMessage(b"\0\1q", HEADER, b"body", True, arrived, expires_at)
    )


def test_the_times_of_a_message_are_shown_to_the_millisecond() -> None:
    message = shown(1_700_000_000_007, 1_700_000_060_000)

    assert message["arrived"] == "2023-11-14T22:13:20.007+00:00"
    assert message["expires_at"] == "2023-11-14T22:14:20.000+00:00"


def test_times_that_are_not_known_are_left_out() -> None:
    assert shown(0, 0).keys().isdisjoint({"arrived", "expires_at"})


def test_a_time_beyond_every_calendar_is_shown_all_the_same() -> None:
    assert shown(1, 2**63 - 1)["expires_at"] == f"{2**63 - 1} ms since 1970"

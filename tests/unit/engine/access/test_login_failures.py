"""Failed logins: a few are free, then each doubles the time until the next refusal."""

from leveret.engine.access.login_failures import (
    ADDRESSES_MAX,
    DELAY_S_MAX,
    FIRST_DELAY_S,
    FORGOTTEN_S,
    FREE_FAILURES,
    LoginFailures,
)


def test_delays_double_up_to_the_longest() -> None:
    failures = LoginFailures()
    delays = [failures.add("a", 0.0) for _ in range(FREE_FAILURES + 20)]
    assert delays[: FREE_FAILURES + 3] == [
        *[0.0] * FREE_FAILURES,
        FIRST_DELAY_S,
        2 * FIRST_DELAY_S,
        4 * FIRST_DELAY_S,
    ]
    assert delays[-1] == DELAY_S_MAX


def test_addresses_are_counted_apart_and_forgotten() -> None:
    failures = LoginFailures()
    for _ in range(FREE_FAILURES + 1):
        failures.add("a", 0.0)
    assert failures.add("b", 0.0) == 0.0
    assert failures.add("a", FORGOTTEN_S) == 2 * FIRST_DELAY_S
    assert failures.add("a", 2 * FORGOTTEN_S + 1.0) == 0.0


def test_so_many_addresses_are_remembered() -> None:
    failures = LoginFailures()
    for _ in range(FREE_FAILURES + 1):
        failures.add("first", 0.0)
    for number in range(ADDRESSES_MAX):
        failures.add(str(number), 1.0)
    assert failures.add("first", 1.0) == 0.0

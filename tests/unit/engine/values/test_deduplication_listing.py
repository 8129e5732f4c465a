"""The keys of a deduplication window are listed in parts, while others are added and dropped."""

from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.values.deduplication import DeduplicationWindow

SIZE = 30
MOST = 4


def key_of(number: int) -> bytes:
    return b"key %d" % number


def restored(listing: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """The entries of a window that is made of what was listed, and meanwhile added."""
    window = DeduplicationWindow(SIZE)
    for key, expires_at in listing:
        window.put(key, expires_at)
    return window.entries()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 50)),
            st.tuples(st.sampled_from(["drop", "list", "give up"]), st.just(0)),
        )
    )
)
def test_what_was_listed_and_added_meanwhile_is_what_there_is(steps: list[tuple[str, int]]) -> None:
    window = DeduplicationWindow(SIZE)
    model: dict[bytes, int] = {}
    for number in range(SIZE):
        window.put(key_of(1000 + number), 0)
        model[key_of(1000 + number)] = 0
    listing = window.listed(MOST)
    found: list[tuple[bytes, int]] = []
    for at, (step, number) in enumerate(steps):
        if step == "put":
            window.put(key_of(number), at)
            model.pop(key_of(number), None)
            model[key_of(number)] = at
            while len(model) > SIZE:
                del model[next(iter(model))]
            found.append((key_of(number), at))
        elif step == "drop" and model:
            window.drop_oldest()
            del model[next(iter(model))]
        elif step == "list":
            part = next(listing, [])
            assert len(part) <= MOST
            found += part
        elif step == "give up":
            listing = window.listed(MOST)
            found = []
        assert window.entries() == list(model.items())
        for each in (*model, key_of(-1)):
            assert window.has(each, -1) == (each in model)
    for part in listing:
        found += part
    left = [entry for entry in restored(found) if entry[0] in model]
    assert left == list(model.items())
    assert window.entries() == list(model.items())


def test_a_key_is_counted_once_while_it_is_listed() -> None:
    window = DeduplicationWindow(SIZE)
    for number in range(SIZE):
        window.put(key_of(number), 0)
    next(window.listed(MOST))
    window.put(key_of(0), 7)
    assert len(window.entries()) == SIZE
    assert window.entries()[-1] == (key_of(0), 7)

"""A dict in blocks: it does what a dict does, and no block of it gets large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gptload.core.blocks import BITS, Blocks

# Near each other, and in blocks far away.
IDS = st.integers(0, 20) | st.integers(1, 5).map(lambda number: number << BITS)
STEPS = st.lists(st.tuples(st.sampled_from(["set", "pop", "get"]), IDS, st.integers()))


@given(steps=STEPS)
def test_it_does_what_a_dict_does(steps: list[tuple[str, int, int]]) -> None:
    found: Blocks[int, int] = Blocks()
    known: dict[int, int] = {}
    for what, key, value in steps:
        if what == "set":
            found[key] = known[key] = value
        elif what == "pop":
            assert found.pop(key) == known.pop(key, None)
        else:
            assert found.get(key) == known.get(key)
        assert (key in found) is (key in known)
        assert len(found) == len(known)
        assert set(found) == set(known)
        assert sorted(found.values()) == sorted(known.values())
        assert all(found[each] == known[each] for each in known)


def test_no_block_is_large_and_none_stays_empty() -> None:
    """Which is what it is for: only a table that is large takes long to grow."""
    found: Blocks[int, None] = Blocks()
    count = 5 << BITS
    for key in range(1, count + 1):
        found[key] = None
    assert len(found) == count
    assert max(map(len, found.blocks.values())) <= 1 << BITS
    for key in range(1, count + 1):
        found.pop(key)
    assert not found.blocks

"""The arena: no two live tensors share a byte."""

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.compiler.planner.arena import Lifetime, plan_arena

ALIGNMENTS = st.sampled_from([64, 512])
LIFETIMES = st.lists(
    st.builds(
        lambda size, first, length: Lifetime(size, first, first + length),
        st.integers(1, 5000),
        st.integers(0, 20),
        st.integers(0, 8),
    ),
    max_size=25,
)


@given(LIFETIMES, ALIGNMENTS)
def test_live_tensors_never_overlap(lives: list[Lifetime], alignment: int) -> None:
    arena = plan_arena({str(i): life for i, life in enumerate(lives)}, alignment)
    spans = [(arena.offsets[str(i)], life) for i, life in enumerate(lives)]
    for i, (offset, life) in enumerate(spans):
        assert offset % alignment == 0
        assert offset + life.bytes <= arena.bytes
        for other_offset, other in spans[i + 1 :]:
            apart = offset + life.bytes <= other_offset or other_offset + other.bytes <= offset
            assert apart or not life.overlaps(other)


@given(LIFETIMES, ALIGNMENTS)
def test_size_lies_between_the_bound_and_the_sum(lives: list[Lifetime], alignment: int) -> None:
    arena = plan_arena({str(i): life for i, life in enumerate(lives)}, alignment)
    total = sum(-(-life.bytes // alignment) * alignment for life in lives)
    assert arena.lower_bound <= arena.bytes <= total


def test_memory_is_used_again() -> None:
    arena = plan_arena(
        {"a": Lifetime(640, 0, 1), "b": Lifetime(64, 1, 2), "c": Lifetime(640, 2, 3)}, 64
    )
    assert arena.offsets["a"] == arena.offsets["c"]
    assert arena.bytes == arena.lower_bound == 704


def test_no_tensors_need_no_arena() -> None:
    assert plan_arena({}, 64).bytes == 0


def test_a_fragmented_arena_is_packed_again() -> None:
    lives = {
        "a": Lifetime(256, 3, 3),
        "b": Lifetime(192, 1, 4),
        "c": Lifetime(192, 4, 7),
        "d": Lifetime(192, 4, 6),
    }
    arena = plan_arena(lives, 64)
    # With the largest first, b comes to lie above it, and leaves gaps that c and d do not fit.
    assert arena.bytes == arena.lower_bound == 576


def test_another_order_is_tried_where_the_largest_first_misses_the_bound() -> None:
    lives = {
        "a": Lifetime(128, 3, 5),
        "b": Lifetime(128, 1, 4),
        "c": Lifetime(192, 3, 6),
        "d": Lifetime(256, 2, 2),
        "e": Lifetime(256, 0, 3),
    }
    arena = plan_arena(lives, 64)
    # With d and e first, a and b come to lie above e, and moving them forward changes too little.
    assert arena.bytes == arena.lower_bound == 704

"""Layer strings: what they unfold to, and how they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rimer_forecaster.layers import RWKV7TimeMix, build_layers, parse_layers


@pytest.mark.parametrize(
    ("string", "depth"),
    [
        ("rwkv7", 1),
        ("rwkv7*3", 3),
        (" rwkv7 * 2 , rwkv7 ", 3),
        ("(rwkv7*1, rwkv7*2)*2", 6),
        ("((rwkv7)*2, rwkv7)*2, rwkv7", 7),
    ],
)
def test_repeats_and_groups_unfold(string: str, depth: int) -> None:
    assert parse_layers(string) == ["rwkv7"] * depth


def trees() -> st.SearchStrategy[tuple[str, int]]:
    """A layer string and its number of layers."""
    leaf = st.just(("rwkv7", 1))

    def extend(inner: st.SearchStrategy[tuple[str, int]]) -> st.SearchStrategy[tuple[str, int]]:
        group = st.lists(inner, min_size=1, max_size=3).map(
            lambda items: (f"({', '.join(s for s, _ in items)})", sum(n for _, n in items))
        )
        return st.tuples(group, st.integers(1, 3)).map(
            lambda pair: (f"{pair[0][0]}*{pair[1]}", pair[0][1] * pair[1])
        )

    return st.recursive(leaf, extend, max_leaves=6)


@given(trees())
def test_any_nesting_unfolds_to_its_product(tree: tuple[str, int]) -> None:
    string, depth = tree
    assert len(parse_layers(string)) == depth


@pytest.mark.parametrize(
    ("string", "character", "problem"),
    [
        ("rwkv7*2, rwvk7", 10, "unknown layer 'rwvk7'"),
        ("", 1, "expected the name of a layer or '('"),
        ("rwkv7,", 7, "expected the name of a layer or '('"),
        ("rwkv7*0", 7, "expected a whole number of repeats, at least 1"),
        ("rwkv7*x", 7, "expected a whole number of repeats, at least 1"),
        ("(rwkv7", 7, "expected ')' to close a group"),
        ("rwkv7)", 6, "expected ',', '*' or the end"),
        ("rwkv7 rwkv7", 7, "expected ',', '*' or the end"),
        ("rwkv7 & rwkv7", 7, "expected ',', '*' or the end"),
        ("2*rwkv7", 1, "expected the name of a layer or '('"),
    ],
)
def test_an_error_shows_the_string_and_the_place(string: str, character: int, problem: str) -> None:
    with pytest.raises(ValueError, match="cannot be read") as caught:
        parse_layers(string)
    message = str(caught.value)
    assert f"layers={string!r} cannot be read at character {character}: {problem}." in message
    shown, pointer = message.splitlines()[1:3]
    assert shown == f"    {string}"
    assert pointer.index("^") == 4 + character - 1
    assert "known layers: rwkv7." in message


def test_something_else_than_a_string_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"layers must be a string such as 'rwkv7\*2', got 2 of type"
    ):
        parse_layers(2)  # type: ignore[arg-type]


def test_a_head_size_that_does_not_divide_the_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width=20 is not a multiple of head_size=16"):
        build_layers("rwkv7", width=20, head_size=16)


def test_only_the_first_layer_of_a_kind_gives_the_value_that_later_ones_share() -> None:
    stack = build_layers("rwkv7*3", width=8, head_size=4)
    mixers = [m for m in stack.modules() if isinstance(m, RWKV7TimeMix)]
    assert [m.value_residual is None for m in mixers] == [True, False, False]
    assert [m.position.index for m in mixers] == [0, 1, 2]
    assert {m.position.depth for m in mixers} == {3}

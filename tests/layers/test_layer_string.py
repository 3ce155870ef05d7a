"""Layer strings: what they unfold to, and how they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rimer_forecaster.layers.layer_string import (
    MOST_BRACKETS,
    MOST_CHARACTERS,
    MOST_LAYERS,
    LayerCall,
    read_layers,
    write_layers,
)

KNOWN = {"rwkv7": False, "attention": False, "equilibrium": True}


def names(string: str) -> list[str]:
    return [call.name for call in read_layers(string, KNOWN)]


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
    assert names(string) == ["rwkv7"] * depth


def test_layers_keep_their_order() -> None:
    assert names("(rwkv7*1, attention*1)*2") == ["rwkv7", "attention", "rwkv7", "attention"]


def test_options_are_numbers_and_words() -> None:
    expected = LayerCall("rwkv7", (), {"a": 2, "b": 1e-3, "c": 0.5, "d": "off"})
    assert read_layers("rwkv7( a=2 , b = 1e-3, c=0.5,d=off)", KNOWN) == [expected]


def test_several_values_of_an_option_are_joined_by_plus_signs() -> None:
    expected = LayerCall("rwkv7", (), {"a": (1, 7), "b": (0.5, "x", 1e3), "c": 1e3})
    assert read_layers("rwkv7(a=1+7, b = 0.5 + x+1e+3, c=1e+3)", KNOWN) == [expected]


def test_a_combinator_is_one_layer_made_of_others() -> None:
    inner = (LayerCall("rwkv7", (), {"a": 1}), LayerCall("attention"), LayerCall("attention"))
    expected = LayerCall("equilibrium", inner, {"max_iter": 80})
    calls = read_layers("equilibrium(rwkv7(a=1), attention*2; max_iter=80)*2", KNOWN)
    assert calls == [expected, expected]
    nested = read_layers("equilibrium(equilibrium(rwkv7))", KNOWN)
    assert nested == [LayerCall("equilibrium", (LayerCall("equilibrium", (LayerCall("rwkv7"),)),))]


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
    assert len(names(string)) == depth


@pytest.mark.parametrize(
    ("string", "character", "problem"),
    [
        ("rwkv7*2, rwvk7", 10, "unknown layer 'rwvk7'"),
        ("", 1, "expected the name of a layer or '('"),
        ("rwkv7,", 7, "expected the name of a layer or '('"),
        ("rwkv7*0", 7, "expected a whole number of repeats, at least 1"),
        ("rwkv7*1.5", 7, "expected a whole number of repeats, at least 1"),
        ("rwkv7*x", 7, "expected a whole number of repeats, at least 1"),
        ("(rwkv7", 7, "expected ')' to close a group"),
        ("rwkv7)", 6, "expected ',', '*' or the end"),
        ("rwkv7 rwkv7", 7, "expected ',', '*' or the end"),
        ("rwkv7 & rwkv7", 7, "expected ',', '*' or the end"),
        ("2*rwkv7", 1, "expected the name of a layer or '('"),
        ("rwkv7()", 7, "expected an option, such as 'name=value'"),
        ("rwkv7(rwkv7)", 7, "expected an option, such as 'name=value'"),
        ("rwkv7(a=1, a=2)", 12, "option 'a' is given twice"),
        ("rwkv7(a=)", 9, "expected a number or a word"),
        ("rwkv7(a=1+)", 11, "expected a number or a word"),
        ("rwkv7(a=+1)", 9, "expected a number or a word"),
        ("rwkv7(a=1", 10, "expected ')' to close the arguments of rwkv7"),
        ("equilibrium", 12, "equilibrium is made of other layers, as in 'equilibrium(rwkv7)'"),
        ("equilibrium(; a=1)", 13, "expected the name of a layer or '('"),
    ],
)
def test_an_unreadable_string_shows_where(string: str, character: int, problem: str) -> None:
    with pytest.raises(ValueError, match="cannot be read") as error:
        read_layers(string, KNOWN)
    message = str(error.value)
    assert f"at character {character}: {problem}" in message
    lines = message.splitlines()
    assert lines[1] == f"    {string}"
    assert lines[2].index("^") == 4 + character - 1
    assert "known layers: attention, equilibrium, rwkv7" in message


def test_what_is_no_string_is_named() -> None:
    with pytest.raises(ValueError, match="layers must be a string such as 'rwkv7\\*2', got 2"):
        read_layers(2, KNOWN)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "string",
    [
        f"rwkv7*{MOST_LAYERS}",
        f"(rwkv7, attention)*{MOST_LAYERS // 2}",
        "(" * MOST_BRACKETS + "rwkv7" + ")" * MOST_BRACKETS,
        "equilibrium(" * (MOST_BRACKETS - 1) + "rwkv7(a=1)" + ")" * (MOST_BRACKETS - 1),
        "rwkv7" + " " * (MOST_CHARACTERS - 5),
    ],
)
def test_a_string_may_be_as_large_as_the_limits_say(string: str) -> None:
    assert sum(call.size for call in read_layers(string, KNOWN)) <= MOST_LAYERS


@pytest.mark.parametrize(
    ("string", "message"),
    [
        ("rwkv7*99999999", "these are 1e[+]08 layers; there can be 500 at most"),
        ("(((rwkv7*1000)*1000)*1000)", "these are 1,000 layers; there can be 500"),
        ("((rwkv7*100)*5, rwkv7)*2", "these are 501 layers"),
        ("equilibrium(rwkv7*499), rwkv7", "these are 501 layers"),
        ("rwkv7*250, rwkv7*251", "these are 501 layers"),
        (f"rwkv7*{'9' * 5000}", "layers; there can be 500"),
        (f"rwkv7(a={'9' * 5000})*{'9' * 4000}", "layers; there can be 500"),
        ("(" * 21 + "rwkv7" + ")" * 21, "brackets can lie 20 deep at most"),
        ("equilibrium(" * 21 + "rwkv7" + ")" * 21, "brackets can lie 20 deep at most"),
        ("(" * 10_000, "brackets can lie 20 deep at most"),
        ("(" * 10_001, r"layers='\(+'\.\.\. has 10,001 characters; it can have 10,000 at most"),
    ],
)
def test_a_string_beyond_a_limit_is_refused_at_once(string: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_layers(string, KNOWN)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "string",
    [
        "rwkv7",
        "rwkv7*2, attention, rwkv7",
        "rwkv7(heads=6, key_size=48, icl_rate_max=1.5)*2",
        "equilibrium(rwkv7*2, attention(window=4); max_iter=80, tolerance=1e-05)",
        "equilibrium(equilibrium(rwkv7(lags=1+7)))",
    ],
)
def test_what_is_written_is_read_as_the_same(string: str) -> None:
    calls = read_layers(string, KNOWN)
    assert write_layers(calls) == string
    assert read_layers(write_layers(calls * 2), KNOWN) == calls * 2

"""States apart from the weights: their rows, their files, and whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from adapt_cases import network

from rimer_forecaster.layers import leaves
from rimer_forecaster.lifecycle import AdaptedState
from rimer_forecaster.network.state import fingerprint, save_state

PATHS = ("0/token_mixer/wkv", "1/token_mixer/wkv")


def drawn(names: tuple[str, ...] = ("a", "b"), **arguments: Any) -> AdaptedState:
    generator = torch.Generator().manual_seed(0)
    tensors = {path: torch.randn(len(names), 2, 4, 4, generator=generator) for path in PATHS}
    kept = arguments.pop("kept", (True,) * len(names))
    return AdaptedState(names, kept, fingerprint(network()), tensors)


def of_rank_one() -> AdaptedState:
    full = drawn()
    tensors = {}
    for path, x in full.tensors.items():
        tensors[f"{path}:left"], tensors[f"{path}:right"] = x[..., :1], x[..., :1, :]
    return AdaptedState(full.names, full.kept, full.network, tensors)


def starts(state: AdaptedState, count: int) -> dict[str, torch.Tensor]:
    start = state.start(count, network())
    assert start is not None
    return dict(leaves(start))


@pytest.mark.parametrize("make", [drawn, of_rank_one])
def test_a_file_gives_back_the_same_bits(make: Any, tmp_path: Path) -> None:
    state = make()
    state.save(tmp_path / "state.safetensors")
    loaded = AdaptedState.load(tmp_path / "state.safetensors")
    assert (loaded.names, loaded.kept, loaded.network) == (state.names, state.kept, state.network)
    assert starts(loaded, 2).keys() == set(PATHS)
    for path, x in starts(state, 2).items():
        assert torch.equal(starts(loaded, 2)[path], x)


def test_a_low_rank_is_stored_as_its_factors() -> None:
    assert of_rank_one().n_bytes == drawn().n_bytes / 2
    matrix = starts(of_rank_one(), 2)[PATHS[0]]
    assert torch.linalg.matrix_rank(matrix).eq(1).all()


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    drawn().save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="is damaged"):
        AdaptedState.load(path)


def test_another_file_is_refused_by_what_it_is(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "stream.safetensors"
    save_state(net.observe(torch.zeros(1, 8, 1)), path, network=net)
    with pytest.raises(ValueError, match="holds no adapted state"):
        AdaptedState.load(path)
    with pytest.raises(ValueError, match=r"must end with \.safetensors"):
        drawn().save(tmp_path / "state.pt")


def test_another_network_is_refused_by_its_weights() -> None:
    other = network()
    with torch.no_grad():
        other.skip.weight[0, 0] += 1
    with pytest.raises(ValueError, match="state belongs to another network"):
        drawn().start(2, other)


def test_one_row_serves_all_and_others_must_fit() -> None:
    one = drawn(("a",))
    assert all(len(x) == 5 and torch.equal(x[0], x[4]) for x in starts(one, 5).values())
    with pytest.raises(ValueError, match="state has 2 rows, but there are 3 series"):
        drawn().start(3, network())


def test_rows_are_selected_by_name_and_none_is_zero() -> None:
    state = drawn()
    chosen = state.of(["b", None, "b"])
    assert chosen.kept == (True, False, True)
    for path, x in starts(chosen, 3).items():
        assert torch.equal(x[0], state.tensors[path][1])
        assert torch.equal(x[2], x[0])
        assert not x[1].any()
    with pytest.raises(ValueError, match="has no row 'c'; it has 'a', 'b'"):
        state.of(["c"])


def test_where_nothing_was_kept_there_is_no_state() -> None:
    assert drawn(kept=(False, False)).start(2, network()) is None

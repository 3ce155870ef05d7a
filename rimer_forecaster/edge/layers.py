"""The layers of `rwkv7` in NumPy: tokens and a state in, tokens and a state out.

The equations are those of `rimer_forecaster.layers.mixers.rwkv7_time_mix` and of
`rimer_forecaster.kernels`. A token costs about 200 calls of NumPy in four layers, and what the
weights take to come out of memory.

Letters: R sequences, T tokens, D width, H heads, N channels of a head; H * N need not be D.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "LayerNorm", "Maps", "transposed"]

Array = NDArray[np.float32]
Maps = Callable[[str], Array]
"""From the name of a weight to it: float32, a matrix as (outputs, inputs)."""

_LOG_DECAY_BOUND = np.float32(-0.6065306597126334)
"""-exp(-1/2), as in the kernels."""

_HALF, _ONE, _SMALLEST = (np.float32(x) for x in (0.5, 1, 1e-12))


class LayerNorm:
    """Tokens less their mean, over their deviation: ``torch.nn.LayerNorm`` with its weights."""

    eps = np.float32(1e-5)

    def __init__(self, name: str, weights: Maps) -> None:
        self.weight, self.bias = weights(f"{name}.weight"), weights(f"{name}.bias")

    def __call__(self, x: Array) -> Array:
        """(..., D) -> (..., D)."""
        return _normalised(x, self.eps) * self.weight + self.bias


class Block:
    """Token mixer and channel mixer with pre-norm residuals.

    Parameters
    ----------
    name
        Of the block in the network, without a dot at its end.
    state
        Path of its state.
    weights
        Of the network.
    has
        Whether the network has a weight of this name.
    head_size
        N.
    icl_rate_max
        Largest in-context learning rate.
    """

    def __init__(
        self,
        name: str,
        state: str,
        weights: Maps,
        *,
        has: Callable[[str], bool],
        head_size: int,
        icl_rate_max: float,
    ) -> None:
        self.time_mix = self.channel_mix = self.linear = None
        if has(f"{name}.token_norm.weight"):
            self.token_norm = LayerNorm(f"{name}.token_norm", weights)
            mixer = f"{name}.token_mixer"
            self.time_mix = _TimeMix(
                *(mixer, f"{state}/token_mixer", weights, has, head_size, icl_rate_max)
            )
        if has(f"{name}.channel_norm.weight"):
            self.channel_norm = LayerNorm(f"{name}.channel_norm", weights)
            mixer = f"{name}.channel_mixer"
            if has(f"{mixer}.mix"):
                self.channel_mix = _ChannelMix(mixer, f"{state}/channel_mixer", weights)
            else:
                self.linear = (
                    transposed(weights(f"{mixer}.value.weight")),
                    weights(f"{mixer}.value.bias"),
                )

    def __call__(
        self, x: Array, before: dict[str, Array], after: dict[str, Array], shared: dict[int, Array]
    ) -> Array:
        """Mix tokens, then channels.

        Parameters
        ----------
        x
            Real tokens, (R, T, D).
        before, after
            State before the first token, by path; where that after the last one is put.
        shared
            By number of heads, the value of the first time mix that has as many, which puts it
            there.
        """
        if self.time_mix is not None:
            x = x + self.time_mix(self.token_norm(x), before, after, shared)
        if self.channel_mix is not None:
            x = x + self.channel_mix(self.channel_norm(x), before, after)
        elif self.linear is not None:
            x = x + self.channel_norm(x) @ self.linear[0] + self.linear[1]
        return x


class _ChannelMix:
    """``value(relu(key(lerp(x, previous x)))^2)``."""

    def __init__(self, name: str, state: str, weights: Maps) -> None:
        self.path, self.mix = f"{state}/shift", weights(f"{name}.mix")
        self.key, self.value = (transposed(weights(f"{name}.{x}.weight")) for x in ("key", "value"))

    def __call__(self, x: Array, before: dict[str, Array], after: dict[str, Array]) -> Array:
        hidden = (x + self.mix * _to_previous(x, before[self.path])) @ self.key
        after[self.path] = x[:, -1].copy()
        np.maximum(hidden, 0, out=hidden)
        return np.square(hidden, out=hidden) @ self.value


class _TimeMix:
    """RWKV-7's token mixer."""

    def __init__(
        self,
        name: str,
        state: str,
        weights: Maps,
        has: Callable[[str], bool],
        head_size: int,
        icl_rate_max: float,
    ) -> None:
        def weight(key: str) -> Array:
            return weights(f"{name}.{key}")

        self.shift, self.memory = f"{state}/shift", f"{state}/wkv"
        self.mix = weight("mix")[:, None, None]  # ways of r, w, k, v, a, g: (6, 1, 1, D)
        self.heads = weight("bonus").shape
        self.receptance, self.key, self.value, self.output = (
            transposed(weight(f"{x}.weight")) for x in ("receptance", "key", "value", "output")
        )
        # A sigmoid is half of tanh(x / 2), plus a half, which overflows nowhere. The halves are in
        # the maps before it.
        names = ["decay", "learning_rate"]
        if has(f"{name}.value_residual.up.bias"):
            names.append("value_residual")
        self.downs, self.ups = (
            [transposed(weight(f"{x}.{part}.weight")) for x in names] for part in ("down", "up")
        )
        for up in self.ups:
            up *= _HALF
        self.biases = np.stack([weight(f"{x}.up.bias") for x in names])[:, None, None] * _HALF
        self.gate_down, self.gate_up = (
            transposed(weight(f"gate.{part}.weight")) * _HALF for part in ("down", "up")
        )
        self.removal, self.replacement = (
            weight(x).reshape(self.heads) for x in ("removal", "replacement")
        )
        self.kept = 1 - self.replacement
        self.icl_rate = np.float32(-icl_rate_max)  # what is removed has a minus
        self.bonus = weight("bonus")
        self.norm = tuple(weight(f"norm.{x}").reshape(self.heads) for x in ("weight", "bias"))
        self.second_read = None
        if has(f"{name}.second_read"):
            self.second_read = weight("second_read").reshape(self.heads)

    def __call__(
        self, x: Array, before: dict[str, Array], after: dict[str, Array], shared: dict[int, Array]
    ) -> Array:
        R, T, _ = x.shape
        heads, H = (R, T, *self.heads), self.heads[0]
        x_r, x_w, x_k, x_v, x_a, x_g = x + self.mix * _to_previous(x, before[self.shift])
        after[self.shift] = x[:, -1].copy()
        r, k, v = (
            y.reshape(heads) for y in (x_r @ self.receptance, x_k @ self.key, x_v @ self.value)
        )
        rates = np.empty((len(self.ups), R, T, H * self.heads[1]), np.float32)
        low = [np.tanh(x_w @ self.downs[0]), x_a @ self.downs[1]]
        low += [x_v @ down for down in self.downs[2:]]
        for rate, x_low, up in zip(rates, low, self.ups, strict=True):
            np.matmul(x_low, up, out=rate)
        rates += self.biases
        np.tanh(rates, out=rates)
        rates *= _HALF
        rates += _HALF
        w = np.exp(_LOG_DECAY_BOUND * rates[0]).reshape(heads)
        eta = rates[1].reshape(heads)
        gate = ((np.tanh(x_g @ self.gate_down) + _ONE) @ self.gate_up).reshape(heads)
        if len(rates) > 2:
            v = v + (shared[H] - v) * rates[2].reshape(heads)
        else:
            shared.setdefault(H, v)
        kappa = k * self.removal
        size = np.sqrt(np.einsum("...n,...n->...", kappa, kappa))[..., None]
        kappa /= np.maximum(size, _SMALLEST)
        written = np.empty((R, T, H, 2, self.heads[1]), np.float32)
        np.multiply(kappa, eta * self.icl_rate, out=written[..., 0, :])
        np.multiply(k, self.kept + eta * self.replacement, out=written[..., 1, :])
        k = written[..., 1, :]
        o, states = self._scan(before[self.memory], w, kappa, v, written, r)
        after[self.memory] = states[-1]
        own = np.einsum("...n,...n->...", r * k, self.bonus)[..., None] * v
        normalised = self._normalised(o) + own
        y = normalised * gate
        if self.second_read is not None:
            read = np.stack(states, 1) @ normalised[..., None]
            y += read[..., 0] * self.second_read * gate
        return y.reshape(R, T, -1) @ self.output

    @staticmethod
    def _scan(
        state: Array, w: Array, kappa: Array, v: Array, written: Array, r: Array
    ) -> tuple[Array, list[Array]]:
        """Return what each token reads, (R, T, H, N), and the state after each, (R, H, N, N)."""
        states, outputs = [], []
        for t in range(w.shape[1]):
            removed = state @ kappa[:, t, :, :, None]  # (R, H, N, 1)
            state = state * w[:, t, :, None, :]
            state += np.concatenate((removed, v[:, t, :, :, None]), -1) @ written[:, t]
            outputs.append(state @ r[:, t, :, :, None])
            states.append(state)
        return np.stack(outputs, 1)[..., 0], states

    def _normalised(self, o: Array) -> Array:
        weight, bias = self.norm
        return _normalised(o, np.float32(64e-5)) * weight + bias


def transposed(weight: Array) -> Array:
    """Return (outputs, inputs) as (inputs, outputs), in the order that products read fastest."""
    return np.ascontiguousarray(weight.T)


def _to_previous(x: Array, before: Array) -> Array:
    """Way from each token to the one before it, (R, T, D)."""
    return np.concatenate((before[:, None], x[:, :-1]), 1) - x


def _normalised(x: Array, eps: np.float32) -> Array:
    size = np.float32(x.shape[-1])
    mean = np.add.reduce(x, -1, keepdims=True) / size
    x = np.subtract(x, mean, dtype=np.float32)
    variance = np.einsum("...n,...n->...", x, x)[..., None] / size
    x /= np.sqrt(variance + eps)
    return x

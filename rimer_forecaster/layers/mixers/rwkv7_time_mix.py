"""RWKV-7 time mix: the layer around the WKV-7 recurrence.

Source: Peng et al. (2025), "RWKV-7 Goose with Expressive Dynamic State Evolution",
arXiv:2503.14456, and the initialisation of the authors' training code (RWKV-LM, RWKV-v7).

Letters: B sequences, T tokens, D width, H heads, K key channels of a head, V value channels of a
head. H * V is D, and K is V, unless they are told otherwise.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rimer_forecaster.kernels import LOG_DECAY_BOUND, epilogue, prologue, wkv7
from rimer_forecaster.kernels.precision import state_dtype

from ..parts.initialisation import uniform_linear
from ..parts.kernel_read import kernels_of, read_kernels
from ..parts.low_rank import LowRank, rank_of
from ..parts.precision import widest_dtype
from ..parts.token_shift import token_shift
from ..protocol import ALONE, LayerPosition, Pass, State
from .rwkv7_initialisation import published_lerps, published_vectors
from .shifted import ShiftedMixer

__all__ = ["RWKV7TimeMix"]

_FIRST_VALUE = "first_value"
"""What the first RWKV-7 layer of a stack leaves for the later ones."""


class RWKV7TimeMix(ShiftedMixer):
    """RWKV-7 token mixer.

    Parameters
    ----------
    width
        D, number of channels of a token.
    head_size
        V, value channels of a head.
    heads
        H; None for D / V, which V must divide then.
    key_size
        K, key channels of a head, at least V, which is the default. More of them let a head hold
        more apart; its state is then larger, and its output is not.
    position
        Place in the stack. The first RWKV-7 layer has no value residual, and no parameters for it.
    icl_rate_max
        Largest in-context learning rate, in (0, 2]. Up to 1 a step can at most erase what the
        state holds under a key; towards 2 it can turn it over, which swaps two contents: what
        tracking a state through permutations needs (Grazzi et al., 2024, arXiv:2411.12537).
    from_source
        Whether `Pass.source` writes the state, which the tokens then read: decay, key, value,
        learning rate and removal key are made from the source, receptance and gate from the tokens.
        Source: the cross attention of CrossWKV, Xiao, Li and Lin (2025), arXiv:2504.14260.
    second_read
        Whether the state is read a second time, by what was read from it: what stands under a key
        is then itself a key. One factor per channel, zero at the start, and no matrix. Source:
        Meta-State, Xiao, Li and Lin (2025), arXiv:2504.08247; which query, which heads and the
        start are inferred. The query has V channels, and reads the first V of K.
    perspectives
        How many sets of lerps there are; `Pass.perspective` chooses.
    reads_medium
        Whether `Pass.medium` is mixed into the tokens too.

    State
    -----
    ``shift`` (B, D), the last token; ``wkv`` (B, H, V, K), float32 (float64 in double precision);
    with a source also ``source_shift`` (B, D), its last token. A state may also hold ``kernels``
    (B, H, V, M) and ``supports`` (B, H, M, K), which are read beside it, and stay as they are.

    Raises
    ------
    ValueError
        If `icl_rate_max`, `heads` or `key_size` is out of range; in ``forward``, if there is no
        source where one is to write, or no medium where one is to be read.
    """

    memory = ("wkv",)

    def __init__(
        self,
        width: int,
        *,
        head_size: int,
        heads: int | None = None,
        key_size: int | None = None,
        position: LayerPosition | None = None,
        icl_rate_max: float = 1.0,
        from_source: bool = False,
        second_read: bool = False,
        perspectives: int = 1,
        reads_medium: bool = False,
    ) -> None:
        # Ways of r, w, k, v, a, g.
        super().__init__(
            width, 6, position=position, perspectives=perspectives, reads_medium=reads_medium
        )
        if not isinstance(icl_rate_max, (int, float)) or not 0 < icl_rate_max <= 2:
            raise ValueError(
                f"icl_rate_max={icl_rate_max!r} must be above 0 and at most 2: beyond that a step "
                "makes the state grow."
            )
        self.icl_rate_max, self.from_source = icl_rate_max, from_source
        self.heads, self.head_size = _size("heads", heads, width // head_size), head_size
        self.key_size = _size("key_size", key_size, head_size, least=head_size)
        keys, values = self.heads * self.key_size, self.heads * head_size
        # A value of another size is none of these heads'.
        self._first_value = _FIRST_VALUE if values == width else f"{_FIRST_VALUE}_{values}"
        self.gives = frozenset({self._first_value})
        self.shifts = ("shift", "source_shift") if from_source else ("shift",)
        self.receptance = nn.Linear(width, keys, bias=False)
        self.key = nn.Linear(width, keys, bias=False)
        self.value = nn.Linear(width, values, bias=False)
        self.output = nn.Linear(values, width, bias=False)
        self.decay = LowRank(width, rank_of(width, 2.5), activation=torch.tanh, outputs=keys)
        self.learning_rate = LowRank(width, rank_of(width, 2.5), outputs=keys)
        self.gate = LowRank(
            *(width, rank_of(width, 5.0)), activation=torch.sigmoid, bias=False, outputs=values
        )
        self.value_residual = None
        if self._first_value in self.position.given:
            self.value_residual = LowRank(width, rank_of(width, 1.7), outputs=values)
        self.removal = nn.Parameter(torch.empty(keys))  # k_k of the paper's code
        self.replacement = nn.Parameter(torch.empty(keys))  # k_a
        self.bonus = nn.Parameter(torch.empty(self.heads, self.key_size))  # r_k
        self.learning_rates = {"decay.up.bias": 2.0}
        self.norm = nn.GroupNorm(self.heads, values, eps=64e-5)
        self.second_read = None
        if second_read:
            self.second_read = nn.Parameter(torch.empty(values))
            # A second read teaches keys and values only as far as its factors are not zero.
            self.learning_rates["second_read"] = 10.0

    def init_state(self, batch_size: int) -> State:
        """Return zeros; see `Mixer`."""
        weight = self.key.weight
        size, dtype = (self.heads, self.head_size, self.key_size), state_dtype(weight.dtype)
        state = super().init_state(batch_size)
        state["wkv"] = weight.new_zeros(batch_size, *size, dtype=dtype)
        if self.from_source:
            state["source_shift"] = weight.new_zeros(batch_size, self.width)
        return state

    def forward(
        self, x: Tensor, state: State | None = None, companions: Pass = ALONE
    ) -> tuple[Tensor, State | None]:
        """Mix tokens; see `Mixer`."""
        B, T, _ = x.shape
        keys, values = (B, T, self.heads, self.key_size), (B, T, self.heads, self.head_size)
        mask, shared = companions.mask, companions.shared
        previous, last = token_shift(x, None if state is None else state["shift"], mask)
        new_state: State = {"shift": last}
        x_r, x_w, x_k, x_v, x_a, x_g = self.lerps(x, previous, companions).unbind(0)
        if self.from_source:
            source = self._source(companions)
            before = None if state is None else state["source_shift"]
            previous, new_state["source_shift"] = token_shift(source, before, mask)
            _, x_w, x_k, x_v, x_a, _ = self.lerps(source, previous, companions).unbind(0)

        v = self.value(x_v)
        first_value = value_residual = None
        if self.value_residual is not None:
            assert shared is not None, "a stack hands the first layer's value to the later ones"
            first_value = shared[self._first_value].view(values)
            value_residual = self.value_residual(x_v).view(values)
        elif shared is not None:
            shared[self._first_value] = v

        r = self.receptance(x_r).view(keys)
        w, k, v, a, b = prologue(
            self.decay(x_w).view(keys),
            self.key(x_k).view(keys),
            v.view(values),
            self.learning_rate(x_a).view(keys),
            removal=self.removal.view(keys[2:]),
            replacement=self.replacement.view(keys[2:]),
            first_value=first_value,
            value_residual=value_residual,
            mask=mask,
        )
        if self.icl_rate_max != 1:
            b = self.icl_rate_max * b
        start = None if state is None else state["wkv"]
        o, final_state = wkv7(
            *(r, w, k, v, a, b),
            initial_state=start,
            output_final_state=state is not None,
            lowest_log_decay=LOG_DECAY_BOUND,
        )
        beside = read_kernels(r, state)
        if beside is not None:
            o = o + beside.to(o.dtype)
        normalised = partial(
            epilogue,
            *(o, r, k, v),
            bonus=self.bonus,
            weight=self.norm.weight.view(values[2:]),
            bias=self.norm.bias.view(values[2:]),
            eps=self.norm.eps,
        )
        gate = self.gate(x_g).view(values)
        y = normalised(gate)
        if self.second_read is not None:
            features = normalised(torch.ones_like(v)).to(v.dtype)
            query = F.pad(features, (0, self.key_size - self.head_size))
            o, _ = wkv7(
                *(query, w, k, v, a, b),
                initial_state=start,
                lowest_log_decay=LOG_DECAY_BOUND,
            )
            y = y + o * self.second_read.view(values[2:]) * gate
        y = self.output(y.flatten(2))
        if final_state is None:
            return y, None
        return y, {**new_state, "wkv": final_state, **kernels_of(state)}

    def log_decay(self, x: Tensor, state: State | None = None, companions: Pass = ALONE) -> Tensor:
        """Return the log decay of every channel of the keys; see `Mixer`."""
        name, writes = "shift", x
        if self.from_source:
            name, writes = "source_shift", self._source(companions)
        previous, _ = token_shift(writes, None if state is None else state[name], companions.mask)
        decay = self.decay(self.lerps(writes, previous, companions)[1])
        decay = decay.to(widest_dtype(decay.device))  # else half-lives are infinite that are not
        return (LOG_DECAY_BOUND * torch.sigmoid(decay)).unflatten(-1, (-1, self.key_size))

    @staticmethod
    def _source(companions: Pass) -> Tensor:
        if companions.source is None:
            raise ValueError(
                "this RWKV-7 layer was built with from_source=True, to be written by a source, but "
                "none accompanies its tokens: give Pass(source=...)."
            )
        return companions.source

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the published initialisation for this layer's place in the stack."""
        self._reset_lerps(published_lerps(self.width, self.position), generator)
        for low_rank_map in (self.decay, self.learning_rate, self.value_residual, self.gate):
            if low_rank_map is not None:
                low_rank_map.reset_parameters(generator)
        self.norm.reset_parameters()
        own = dict(self.named_parameters())
        sizes = self.heads, self.key_size, self.head_size
        vectors = published_vectors(*sizes, self.position)
        for name, value in vectors.items():
            if name in own:
                own[name].copy_(torch.as_tensor(value, dtype=torch.float64))
        uniform_linear(self.receptance, generator, gain=0.5)
        uniform_linear(self.key, generator, gain=0.05)
        uniform_linear(self.value, generator, gain=0.5)
        nn.init.zeros_(self.output.weight)


def _size(name: str, given: object, default: int, *, least: int = 1) -> int:
    """Return a size that was given, or the default."""
    if given is None:
        return default
    if not isinstance(given, int) or given < least:
        raise ValueError(
            f"{name}={given!r} must be a whole number of at least {least}"
            + (
                ", the head_size: a head has no fewer key channels than values."
                if least > 1
                else "."
            )
        )
    return given

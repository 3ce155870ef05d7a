"""What families of series are made of: numbers per series, noise, walks, seasons and segments.

Letters: n series, T steps. Numbers per series are (n,), and series (T, n).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CALENDAR",
    "CALENDAR_SHARES",
    "COMMON",
    "Array",
    "Generator",
    "ar1",
    "draw_noise",
    "draw_season",
    "frequencies",
    "hold",
    "later_periods",
    "log_uniform",
    "normal",
    "periods",
    "segments",
    "slow",
    "spectral",
    "uniform",
    "walk_of",
]

Array: TypeAlias = NDArray[np.floating[Any]]
Generator: TypeAlias = np.random.Generator

COMMON = np.array([7, 12, 24])
_USUAL = np.array([4, 48, 52, 96, 168])
_SEEN = np.array([5, 6, 30, 144, 288, 365])
CALENDAR = np.array([4, 7, 12, 24, 48, 52, 96, 144, 168])
CALENDAR_SHARES = np.array([0.05, 0.17, 0.22, 0.22, 0.10, 0.08, 0.08, 0.03, 0.05])
_MULTIPLES = np.array([2, 3, 4, 5, 7, 12, 7, 7])
"""What a calendar's longer season is of its shorter one: 24 hours and 168, 7 days and 52 weeks."""


def uniform(rng: Generator, low: float, high: float, n: int) -> Array:
    """Draw numbers between two."""
    return rng.uniform(low, high, n).astype(np.float32)


def normal(rng: Generator, deviation: float, n: int) -> Array:
    """Draw numbers about zero."""
    return rng.normal(0, deviation, n).astype(np.float32)


def log_uniform(rng: Generator, low: float, high: float, n: int) -> Array:
    """Draw numbers between two, all orders of size alike."""
    return np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(np.float32)


def periods(rng: Generator, n: int, longest: float) -> Array:
    """Draw seasons in steps, of which 15 % are off by some per cent."""
    kinds = [COMMON, _USUAL, _SEEN, np.round(log_uniform(rng, 3, 400, 32))]
    kind = rng.choice(4, size=n, p=[0.5, 0.25, 0.1, 0.15])
    period = np.array([rng.choice(kinds[k]) for k in kind], np.float32)
    off = rng.random(n) < 0.15
    period *= np.where(off, 1 + rng.uniform(-0.05, 0.05, n), 1)
    too_long = period > longest
    return np.where(too_long, rng.choice(COMMON, size=n), period).astype(np.float32)


def later_periods(rng: Generator, period: Array) -> Array:
    """Draw a longer season for each: a calendar's multiple in 60 %, any other else."""
    n = len(period)
    free = log_uniform(rng, 3, 400, n)
    return np.where(rng.random(n) < 0.6, period * rng.choice(_MULTIPLES, size=n), free)


def draw_noise(rng: Generator, T: int, n: int) -> Array:
    """Draw white noise: normal, or of heavy tails in a fifth of the series."""
    x = rng.standard_normal((T, n), np.float32)
    heavy = rng.random(n) < 0.2
    if heavy.any():
        degrees = rng.uniform(2.5, 8, int(heavy.sum()))
        chi = rng.chisquare(degrees, (T, int(heavy.sum()))).astype(np.float32)
        x[:, heavy] /= np.sqrt(chi / degrees.astype(np.float32))
    return x


def slow(rng: Generator, T: int, n: int, knots: int) -> Array:
    """Draw lines through some random points of a standard normal distribution."""
    at = np.linspace(0, knots - 1, T, dtype=np.float32)
    weight = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(knots, dtype=np.float32)))
    return weight @ rng.standard_normal((knots, n), np.float32)


def walk_of(x: Array) -> Array:
    """Add up steps."""
    return np.cumsum(x, 0, dtype=np.float32)


def ar1(noise: Array, coefficient: Array) -> Array:
    """Filter noise by a first-order autoregression, in place."""
    previous = noise[0]
    for row in noise[1:]:
        row += coefficient * previous
        previous = row
    return noise


def spectral(rng: Generator, T: int, amplitude: Array) -> Array:
    """Draw normal series of given amplitudes at the frequencies of 2 T steps, (T + 1, n)."""
    n = amplitude.shape[1]
    real, imaginary = rng.standard_normal((2, T + 1, n), np.float32)
    x = np.fft.irfft((real + 1j * imaginary) * amplitude, axis=0)[:T]
    return x.astype(np.float32)


def frequencies(T: int) -> Array:
    """Frequencies in cycles per step, (T + 1, 1); the lowest stands for a constant."""
    f = np.arange(T + 1, dtype=np.float32)[:, None] / (2 * T)
    f[0] = f[1] / 4
    return f


def draw_season(rng: Generator, T: int, period: Array, *, drift: float = 0.0) -> Array:
    """Draw a repeated shape per series: smooth, peaked, or different at each of its steps."""
    n, size = len(period), 256
    harmonic = np.arange(1, 33, dtype=np.float32)[:, None]
    decay = uniform(rng, 0.0, 3.0, n)
    reachable = harmonic <= np.maximum(period / 2, 1)
    amplitude = harmonic**-decay * reachable * rng.standard_normal((32, n), np.float32)
    angle = rng.uniform(0, 2 * np.pi, (32, n)).astype(np.float32)
    spectrum = np.zeros((size // 2 + 1, n), np.complex64)
    spectrum[1:33] = amplitude * np.exp(1j * angle)
    shape = np.fft.irfft(spectrum, axis=0).astype(np.float32)
    shape /= shape.std(0) + 1e-6
    peaked = rng.random(n) < 0.2
    shape[:, peaked] = np.exp(rng.uniform(0.5, 2.0, int(peaked.sum())) * shape[:, peaked])
    shape -= shape.mean(0)
    shape /= shape.std(0) + 1e-6
    phase = np.arange(T, dtype=np.float32)[:, None] / period + rng.random(n, np.float32)
    if drift:
        phase += drift * slow(rng, T, n, 6)
    place = (phase * size).astype(np.int32) % size
    x = np.take_along_axis(shape, place, 0)
    return x * (1 + drift * slow(rng, T, n, 8))


def segments(rng: Generator, T: int, n: int, mean_length: Array) -> NDArray[np.bool_]:
    """Mark where another segment begins, of random lengths with a mean per series."""
    starts = rng.random((T, n), np.float32) < 1 / mean_length
    starts[0] = True
    return starts


def hold(values: Array, starts: NDArray[np.bool_]) -> Array:
    """Hold the value at each start until the next one."""
    rows = np.where(starts, np.arange(len(starts))[:, None], 0)
    return np.take_along_axis(values, np.maximum.accumulate(rows, 0), 0)

"""Synthetic series to pretrain on: many families, drawn by the hundred at once.

What a network learns without a target series is the distribution of the series it was shown. The
families here are those that published generators share (KernelSynth of Chronos, arXiv:2403.07815;
TempoPFN, arXiv:2510.25502; ForecastPFN, arXiv:2311.01933; TimePFN, arXiv:2502.16294), written anew
in vectors. Their shares and the alterations on top are chosen for diversity, not for any data set.

A batch is a function of a seed and of its number, so that an interrupted training goes on with the
series that it would have seen.

Letters: n series, T steps. Families return (T, n): a recurrence then walks along rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAMILIES", "VERSION", "family", "synthetic"]

Array: TypeAlias = NDArray[np.floating[Any]]
Generator: TypeAlias = np.random.Generator

VERSION = 2
"""Of the prior: the same seed gives the same series under the same version of it and of NumPy."""

_COMMON = np.array([7, 12, 24])
_USUAL = np.array([4, 48, 52, 96, 168])
_SEEN = np.array([5, 6, 30, 144, 288, 365])
_CALENDAR = np.array([4, 7, 12, 24, 48, 52, 96, 144, 168])
_CALENDAR_SHARES = np.array([0.05, 0.17, 0.22, 0.22, 0.10, 0.08, 0.08, 0.03, 0.05])
_MULTIPLES = np.array([2, 3, 4, 5, 7, 12, 7, 7])
"""What a calendar's longer season is of its shorter one: 24 hours and 168, 7 days and 52 weeks."""


def synthetic(seed: int, number: int, count: int, length: int) -> Array:
    """Draw one batch of series of all families, with alterations.

    Parameters
    ----------
    seed, number
        Of the training, and of the batch in it.
    count, length
        How many series, and of how many steps.

    Returns
    -------
    array
        (count, length), float32, NaN where missing; of no particular unit.
    """
    rng = np.random.default_rng([seed, number, VERSION])
    pooled = rng.random(count) < 0.10
    blocks = []
    for pooling, marks in ((1, ~pooled), (int(rng.integers(2, 5)), pooled)):
        chosen = rng.choice(len(FAMILIES), size=int(marks.sum()), p=_SHARES)
        for name, n in zip(FAMILIES, np.bincount(chosen, minlength=len(FAMILIES)), strict=True):
            if n:
                x = _standardised(FAMILIES[name](rng, int(n), pooling * length))
                blocks.append(x if pooling == 1 else x.reshape(length, pooling, -1).mean(1))
    x = np.concatenate(blocks, 1)[:, rng.permutation(count)]
    return np.ascontiguousarray(_altered(rng, x).T)


def family(name: str, seed: int, count: int, length: int) -> Array:
    """Draw series of one family, (count, length), without alterations."""
    rng = np.random.default_rng([seed, VERSION])
    return np.ascontiguousarray(_standardised(FAMILIES[name](rng, count, length)).T)


def _standardised(x: Array) -> Array:
    """Divide by the standard deviation, and take what is not finite for zero."""
    x = np.nan_to_num(x.astype(np.float32), posinf=0.0, neginf=0.0)
    x = np.clip(x, -1e6, 1e6)
    x -= x.mean(0)
    deviation = x.std(0)
    return x / np.where(deviation > 1e-6, deviation, 1.0)


# Draws of single numbers per series, (n,).


def _uniform(rng: Generator, low: float, high: float, n: int) -> Array:
    return rng.uniform(low, high, n).astype(np.float32)


def _normal(rng: Generator, deviation: float, n: int) -> Array:
    return rng.normal(0, deviation, n).astype(np.float32)


def _log_uniform(rng: Generator, low: float, high: float, n: int) -> Array:
    return np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(np.float32)


def _periods(rng: Generator, n: int, longest: float) -> Array:
    """Draw seasons in steps, of which 15 % are off by some per cent."""
    kinds = [_COMMON, _USUAL, _SEEN, np.round(_log_uniform(rng, 3, 400, 32))]
    kind = rng.choice(4, size=n, p=[0.5, 0.25, 0.1, 0.15])
    period = np.array([rng.choice(kinds[k]) for k in kind], np.float32)
    off = rng.random(n) < 0.15
    period *= np.where(off, 1 + rng.uniform(-0.05, 0.05, n), 1)
    too_long = period > longest
    return np.where(too_long, rng.choice(_COMMON, size=n), period).astype(np.float32)


def _later_periods(rng: Generator, period: Array) -> Array:
    """Draw a longer season for each: a calendar's multiple in 60 %, any other else."""
    n = len(period)
    free = _log_uniform(rng, 3, 400, n)
    return np.where(rng.random(n) < 0.6, period * rng.choice(_MULTIPLES, size=n), free)


# Curves, (T, n).


def _noise(rng: Generator, T: int, n: int) -> Array:
    """Draw white noise: normal, or of heavy tails in a fifth of the series."""
    x = rng.standard_normal((T, n), np.float32)
    heavy = rng.random(n) < 0.2
    if heavy.any():
        degrees = rng.uniform(2.5, 8, int(heavy.sum()))
        chi = rng.chisquare(degrees, (T, int(heavy.sum()))).astype(np.float32)
        x[:, heavy] /= np.sqrt(chi / degrees.astype(np.float32))
    return x


def _slow(rng: Generator, T: int, n: int, knots: int) -> Array:
    """Draw lines through some random points of a standard normal distribution."""
    at = np.linspace(0, knots - 1, T, dtype=np.float32)
    weight = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(knots, dtype=np.float32)))
    return weight @ rng.standard_normal((knots, n), np.float32)


def _walk(x: Array) -> Array:
    return np.cumsum(x, 0, dtype=np.float32)


def _ar1(noise: Array, coefficient: Array) -> Array:
    """Filter noise by a first-order autoregression, in place."""
    previous = noise[0]
    for row in noise[1:]:
        row += coefficient * previous
        previous = row
    return noise


def _spectral(rng: Generator, T: int, amplitude: Array) -> Array:
    """Draw normal series of given amplitudes at the frequencies of 2 T steps, (T + 1, n)."""
    n = amplitude.shape[1]
    real, imaginary = rng.standard_normal((2, T + 1, n), np.float32)
    x = np.fft.irfft((real + 1j * imaginary) * amplitude, axis=0)[:T]
    return x.astype(np.float32)


def _frequencies(T: int) -> Array:
    """Frequencies in cycles per step, (T + 1, 1); the lowest stands for a constant."""
    f = np.arange(T + 1, dtype=np.float32)[:, None] / (2 * T)
    f[0] = f[1] / 4
    return f


def _season(rng: Generator, T: int, period: Array, *, drift: float = 0.0) -> Array:
    """Draw a repeated shape per series: smooth, peaked, or different at each of its steps."""
    n, size = len(period), 256
    harmonic = np.arange(1, 33, dtype=np.float32)[:, None]
    decay = _uniform(rng, 0.0, 3.0, n)
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
        phase += drift * _slow(rng, T, n, 6)
    place = (phase * size).astype(np.int32) % size
    x = np.take_along_axis(shape, place, 0)
    return x * (1 + drift * _slow(rng, T, n, 8))


def _segments(rng: Generator, T: int, n: int, mean_length: Array) -> NDArray[np.bool_]:
    """Mark where another segment begins, of random lengths with a mean per series."""
    starts = rng.random((T, n), np.float32) < 1 / mean_length
    starts[0] = True
    return starts


def _held(values: Array, starts: NDArray[np.bool_]) -> Array:
    """Hold the value at each start until the next one."""
    rows = np.where(starts, np.arange(len(starts))[:, None], 0)
    return np.take_along_axis(values, np.maximum.accumulate(rows, 0), 0)


# Families, (T, n).


def _trend_and_seasons(rng: Generator, n: int, T: int) -> Array:
    """Trend by its total excursion, up to three seasons that drift, autoregressive noise."""
    t = np.linspace(0, 1, T, dtype=np.float32)[:, None]
    bend = _log_uniform(rng, 0.4, 3.0, n)
    trend = _normal(rng, 1.5, n) * t**bend
    trend += _normal(rng, 0.7, n) * (rng.random(n) < 0.4) * _slow(rng, T, n, 4)
    trend *= rng.random(n) < 0.8
    period = _periods(rng, n, T / 1.5)
    seasons = _log_uniform(rng, 0.1, 3, n) * _season(rng, T, period, drift=0.2)
    for share in (0.45, 0.1):
        has = np.flatnonzero(rng.random(n) < share)
        if len(has):
            later = _later_periods(rng, period[has])
            seasons[:, has] += _log_uniform(rng, 0.1, 2, len(has)) * _season(rng, T, later)
    seasons *= rng.random(n) < 0.9
    coefficient = (_uniform(rng, -0.2, 0.95, n) * (rng.random(n) < 0.6)).astype(np.float32)
    noise = _ar1(_noise(rng, T, n), coefficient) * np.sqrt(1 - coefficient**2)
    noise *= _log_uniform(rng, 0.01, 1.5, n)
    added = trend + seasons + noise
    factor = np.exp(np.clip(0.4 * trend, -3, 3)) * np.maximum(0, 1 + 0.3 * seasons)
    multiplied = factor * (1 + 0.3 * noise)
    return np.where(rng.random(n) < 0.65, added, multiplied)


def _cycles(rng: Generator, n: int, T: int) -> Array:
    """Profiles of a calendar: a value of its own for every step of the season, and for some days.

    Nearly without noise, so that what is learnt is to look back by a season of any length.
    """
    free = np.round(_log_uniform(rng, 3, 400, n))
    known = rng.choice(_CALENDAR, size=n, p=_CALENDAR_SHARES)
    period = np.where(rng.random(n) < 0.4, free, known)
    period = np.where(period > T / 2, rng.choice(_COMMON, size=n), period).astype(np.int32)
    # Seasons of a longer one, such as days of a week.
    count = np.where(rng.random(n) < 0.6, 7, rng.integers(2, 13, n)).astype(np.int32)
    columns, t = np.arange(n, dtype=np.int32), np.arange(T, dtype=np.int32)[:, None]
    profiles = rng.standard_normal((2, int(period.max()), n), np.float32)
    for lag in (1, 2, 4):  # the smoother the longer the season, and rough in half of the series
        near = np.where((rng.random(n) < 0.5) & (period >= 12 * lag), 0.5, 0.0).astype(np.float32)
        profiles += near * (np.roll(profiles, lag, 1) - profiles)
    peaked = rng.random(n) < 0.2
    profiles[..., peaked] = np.exp(profiles[..., peaked])
    place = t + rng.integers(0, 400, n, np.int32)
    day, place = place // period % count, place % period
    others = rng.random((12, n)) < 0.3 * (rng.random(n) < 0.4)  # such as weekends
    weight = 1 + 0.3 * rng.standard_normal((12, n), np.float32) * (rng.random(n) < 0.4)
    day = day * n + columns
    place += profiles.shape[1] * others.ravel().take(day)
    x = profiles.ravel().take(place * n + columns) * weight.ravel().take(day)
    x *= 1 + _uniform(rng, 0, 0.3, n) * _slow(rng, T, n, 6)
    x += _log_uniform(rng, 0.05, 2, n) * _slow(rng, T, n, 5) * (rng.random(n) < 0.5)
    return x + _log_uniform(rng, 0.01, 0.6, n) * _noise(rng, T, n)


def _unit_roots(rng: Generator, n: int, T: int) -> Array:
    """Autoregressions with roots near the unit circle, integrated or seasonally so."""
    modulus = 1 - _log_uniform(rng, 1e-4, 0.4, n)
    angle = np.where(rng.random(n) < 0.5, 0.0, 2 * np.pi / _periods(rng, n, T)).astype(np.float32)
    first = np.where(angle == 0, modulus, 2 * modulus * np.cos(angle))
    second = np.where(angle == 0, 0.0, -(modulus**2)).astype(np.float32)
    lag = np.maximum(2, np.round(_periods(rng, n, T / 4))).astype(np.int64)
    seasonal = _uniform(rng, 0.5, 1.0, n) * (rng.random(n) < 0.35)
    first = np.where(seasonal > 0, 0.9 * modulus * _uniform(rng, -0.3, 1.0, n), first)
    second *= seasonal == 0
    noise = _noise(rng, T, n)
    moving = _uniform(rng, -0.8, 0.8, n) * (rng.random(n) < 0.5)
    noise[1:] += moving * noise[:-1].copy()
    before = int(lag.max()) + 1  # steps of the first season, and of the one before
    x, columns = np.zeros((before + T, n), np.float32), np.arange(n)
    x[:before] = _noise(rng, before, n) * (seasonal > 0)
    for t in range(before, before + T):
        back = x[t - lag, columns] - first * x[t - lag - 1, columns]
        x[t] = first * x[t - 1] + second * x[t - 2] + seasonal * back + noise[t - before]
    x = x[before:]
    integrated = (rng.random(n) < 0.4) & (modulus < 0.99)
    x[:, integrated] = _walk(x[:, integrated] + rng.normal(0, 0.1, int(integrated.sum())))
    return x


def _smoothing(rng: Generator, n: int, T: int) -> Array:
    """Exponential smoothing as a state space: level, damped trend and season, each with errors."""
    period = np.maximum(2, np.round(_periods(rng, n, T / 2))).astype(np.int64)
    size, columns = int(period.max()), np.arange(n)
    alpha = rng.beta(1, 3, n).astype(np.float32)
    beta = alpha * rng.beta(1, 8, n).astype(np.float32) * (rng.random(n) < 0.6)
    gamma = (1 - alpha) * rng.beta(1, 6, n).astype(np.float32)
    damping = _uniform(rng, 0.85, 1.0, n)
    has_season = rng.random(n) < 0.65
    season = _season(rng, size, period.astype(np.float32)) * has_season
    season *= _log_uniform(rng, 0.2, 4, n)
    multiplied = rng.random(n) < 0.3
    level = np.where(multiplied, _uniform(rng, 5, 30, n), _normal(rng, 1, n)).astype(np.float32)
    slope = (_normal(rng, 0.02, n) * (beta > 0)).astype(np.float32)
    errors = _noise(rng, T, n) * _log_uniform(rng, 0.05, 1, n)
    x = np.empty((T, n), np.float32)
    for t in range(T):
        place = t % period
        level_before = level + damping * slope
        own = season[place, columns]
        scale = np.where(multiplied, 0.1 * np.abs(level_before), 1.0)
        error = errors[t] * scale
        x[t] = level_before + np.where(multiplied, 0.1 * level_before, 1.0) * own + error
        level = level_before + alpha * error
        slope = damping * slope + beta * error
        season[place, columns] = own + has_season * gamma * errors[t]
    return np.clip(x, -1e5, 1e5)


def _gaussian_processes(rng: Generator, n: int, T: int) -> Array:
    """Stationary normal processes: smooth, rough and nearly periodic ones, added or multiplied."""
    f = _frequencies(T)

    def one() -> Array:
        length = _log_uniform(rng, 2, T / 2, n)
        rough = rng.choice([1.0, 1.5, 2.5, 8.0], size=n).astype(np.float32)
        smooth = (1 + (2 * np.pi * length * f) ** 2 / (2 * rough)) ** (-(rough + 0.5) / 2)
        period, width = _periods(rng, n, T / 2), _log_uniform(rng, 1e-4, 0.02, n)
        lines = np.zeros_like(smooth)
        for h in range(1, 5):
            lines += h**-1.0 * np.exp(-0.5 * ((f - h / period) / width) ** 2) / np.sqrt(width)
        kind = rng.random(n)
        amplitude = np.where(kind < 0.5, smooth, np.where(kind < 0.8, lines, smooth + lines))
        x = _spectral(rng, T, amplitude)
        return x / (x.std(0) + 1e-6)

    first, second = one(), one() * _log_uniform(rng, 0.05, 2, n)
    x = np.where(rng.random(n) < 0.75, first + second, first * (1 + second))
    return x + _log_uniform(rng, 0.003, 0.5, n) * rng.standard_normal((T, n), np.float32)


def _level_shifts(rng: Generator, n: int, T: int) -> Array:
    """Levels that jump, plateaus, regimes that come back, and ramps between them."""
    starts = _segments(rng, T, n, _log_uniform(rng, 8, T, n))
    levels = _held(rng.standard_normal((T, n), np.float32), starts)
    recurring = rng.random(n) < 0.5
    levels[:, recurring] = np.round(levels[:, recurring] * rng.uniform(0.6, 2.0))
    slope = _held(rng.standard_normal((T, n), np.float32), starts) * (rng.random(n) < 0.3)
    walk = _walk(slope) * _log_uniform(rng, 0.003, 0.1, n)
    seasons = _season(rng, T, _periods(rng, n, T / 2)) * _log_uniform(rng, 0.05, 0.7, n)
    seasons *= rng.random(n) < 0.5
    noise = _ar1(_noise(rng, T, n), _uniform(rng, 0, 0.8, n))
    return levels + walk + seasons + _log_uniform(rng, 0.003, 0.4, n) * noise


def _switching(rng: Generator, n: int, T: int) -> Array:
    """Mean-reverting processes that switch their mean, with a volatility of its own life."""
    starts = _segments(rng, T, n, _log_uniform(rng, 20, 2 * T, n))
    mean = _held(rng.standard_normal((T, n), np.float32), starts) * _log_uniform(rng, 0.1, 8, n)
    pull = _log_uniform(rng, 0.003, 0.7, n)
    persistence = 1 - _log_uniform(rng, 0.01, 0.3, n)
    volatility = _ar1(0.3 * _noise(rng, T, n), persistence)
    volatility -= volatility.mean(0)
    volatility *= (rng.random(n) < 0.7) / np.maximum(1, volatility.std(0))
    x = _noise(rng, T, n) * np.exp(np.clip(volatility, -4, 3)) * np.sqrt(pull)
    x += pull * mean
    return _ar1(x, 1 - pull)


def _retail(rng: Generator, n: int, T: int) -> Array:
    """Counts with weekly and yearly shapes, promotions that lift and are paid back, stock-outs."""
    week = _season(rng, T, np.where(rng.random(n) < 0.7, 7, _periods(rng, n, T / 2)))
    year = _season(rng, T, np.full(n, 365.0, np.float32)) * (T > 400)
    log_rate = _uniform(rng, -1, 4, n) + 0.4 * rng.random(n, np.float32) * week + 0.2 * year
    log_rate = log_rate + _normal(rng, 0.5, n) * _slow(rng, T, n, 5)
    promotion = _segments(rng, T, n, _log_uniform(rng, 20, 120, n)).astype(np.float32)
    effect = _ar1(promotion, _uniform(rng, 0.3, 0.85, n))
    lifted = effect - 0.3 * np.concatenate((np.zeros((5, n), np.float32), effect))[:T]
    log_rate += _uniform(rng, 0, 1.5, n) * (rng.random(n) < 0.6) * lifted
    rate = np.exp(np.clip(log_rate, -6, 8))
    dispersion = _log_uniform(rng, 0.3, 50, n)
    counts = rng.poisson(rate * rng.gamma(dispersion, 1 / dispersion, (T, n)))
    out = _ar1((rng.random((T, n), np.float32) < 0.004).astype(np.float32), np.full(n, 0.8)) > 0.2
    return np.where(out & (rng.random(n) < 0.3), 0, counts).astype(np.float32)


def _long_memory(rng: Generator, n: int, T: int) -> Array:
    """Noise whose power falls with a power of the frequency."""
    f = _frequencies(T)
    return _spectral(rng, T, f ** -(_uniform(rng, 0.1, 2.4, n) / 2))


def _pulses(rng: Generator, n: int, T: int) -> Array:
    """Trains of pulses of one shape, at even or somewhat uneven distances, of uneven height."""
    period = _periods(rng, n, T / 3)
    jitter = _uniform(rng, 0, 0.15, n) * (rng.random(n) < 0.5)
    phase = np.arange(T, dtype=np.float32)[:, None] / period + rng.random(n, np.float32)
    cycle = np.floor(phase).astype(np.int32)
    draws = rng.standard_normal((int(cycle.max()) + 2, n), np.float32)
    own = np.take_along_axis(draws, cycle, 0)
    place = phase - cycle + jitter * own
    width, kind = _uniform(rng, 0.03, 0.5, n), rng.integers(0, 4, n)
    shapes = [
        np.exp(-np.maximum(place, 0) / width) * (place >= 0),
        np.maximum(0, 1 - np.abs(place - 0.5) / width),
        (place < width).astype(np.float32),
        np.exp(-0.5 * ((place - 0.5) / width) ** 2),
    ]
    x = np.choose(kind[None], shapes) * (1 + _uniform(rng, 0, 0.5, n) * own)
    return x + _log_uniform(rng, 0.001, 0.1, n) * _noise(rng, T, n)


def _intermittent(rng: Generator, n: int, T: int) -> Array:
    """Demand that is zero most of the time, with a probability that has a season or moves."""
    logit = _uniform(rng, -3.5, 0.5, n) + 0.8 * _slow(rng, T, n, 5) * rng.random(n, np.float32)
    logit = logit + _season(rng, T, _periods(rng, n, T / 2)) * rng.random(n, np.float32) * (
        rng.random(n) < 0.5
    )
    happens = rng.random((T, n), np.float32) < 1 / (1 + np.exp(-logit))
    sizes = np.exp(_uniform(rng, 0.1, 1.2, n) * rng.standard_normal((T, n), np.float32))
    whole = rng.random(n) < 0.7
    return np.where(happens, np.where(whole, np.ceil(2 * sizes), sizes), 0).astype(np.float32)


def _nonlinear(rng: Generator, n: int, T: int) -> Array:
    """Threshold autoregressions, chaotic maps, and oscillators that are driven or damped."""
    kind, noise = rng.integers(0, 4, n), rng.standard_normal((T, n), np.float32)
    low, high = rng.uniform(-0.9, 0.95, (2, n)).astype(np.float32)
    push = _uniform(rng, 0.2, 1.5, n)
    growth = _uniform(rng, 3.5, 4.0, n)
    rate = (2 * np.pi / _periods(rng, n, T / 3)).astype(np.float32)
    stiffness = _log_uniform(rng, 0.1, 3, n)
    shock = _log_uniform(rng, 0.002, 0.05, n)
    threshold, logistic = np.zeros(n, np.float32), _uniform(rng, 0.1, 0.9, n)
    henon, henon_before = rng.uniform(-0.1, 0.1, (2, n)).astype(np.float32)
    place, speed = rng.standard_normal((2, n), np.float32)
    x = np.empty((T, n), np.float32)
    for t in range(T):
        threshold = np.where(threshold > 0, high * threshold - push, low * threshold + push)
        threshold = threshold + 0.3 * noise[t]
        logistic = np.clip(growth * logistic * (1 - logistic), 1e-3, 1 - 1e-3)
        henon, henon_before = np.clip(1 - 1.4 * henon**2 + 0.3 * henon_before, -2, 2), henon
        speed = speed + rate * (stiffness * (1 - place**2) * speed - place) + shock * noise[t]
        speed = np.clip(speed, -5, 5)
        place = np.clip(place + rate * speed, -5, 5)
        x[t] = np.choose(kind, (threshold, logistic, henon, place))
    return x + _log_uniform(rng, 0.001, 0.1, n) * noise


FAMILIES: dict[str, Callable[[Generator, int, int], Array]] = {
    "trend and seasons": _trend_and_seasons,
    "cycles": _cycles,
    "unit roots": _unit_roots,
    "exponential smoothing": _smoothing,
    "gaussian processes": _gaussian_processes,
    "level shifts": _level_shifts,
    "switching": _switching,
    "retail": _retail,
    "long memory": _long_memory,
    "pulses": _pulses,
    "intermittent": _intermittent,
    "nonlinear": _nonlinear,
}
"""Families by name."""

_SHARES = (0.23, 0.12, 0.12, 0.10, 0.10, 0.07, 0.07, 0.06, 0.04, 0.03, 0.03, 0.03)


# Alterations.


def _altered(rng: Generator, x: Array) -> Array:
    """Mix, bend and damage some of the standardised series, (T, n)."""
    T, n = x.shape

    def some(share: float) -> NDArray[np.int64]:
        return np.flatnonzero(rng.random(n) < share)

    mixed = some(0.20)
    weight = rng.beta(1.5, 1.5, len(mixed)).astype(np.float32)
    x[:, mixed] = weight * x[:, mixed] + (1 - weight) * x[:, rng.integers(0, n, len(mixed))]
    bent = some(0.10)
    x[:, bent] *= np.exp(0.6 * _slow(rng, T, len(bent), 4))
    x[:, some(0.30)] *= -1
    held = some(0.04)
    x[:, held] = _held(x[:, held], _segments(rng, T, len(held), rng.uniform(2, 8, len(held))))
    stepped = some(0.07)
    step = _log_uniform(rng, 0.05, 1.0, len(stepped))
    x[:, stepped] = np.round(x[:, stepped] / step) * step
    censored = some(0.06)
    for column in censored:  # a sort each is the dearest of all alterations
        edge = np.quantile(x[:, column], rng.uniform(0.05, 0.4))
        x[:, column] = np.maximum(x[:, column], edge)
    wild = some(0.05)
    hit = rng.random((T, len(wild)), np.float32) < rng.uniform(0.002, 0.02, len(wild))
    x[:, wild] += hit * rng.normal(0, 5, (T, len(wild))).astype(np.float32)
    for column in some(0.03):  # what is discontinued, or closed for good
        start = int(rng.integers(T // 8, T))
        ends = (x[:start, column].min(), x[start - 1, column], 0.0)
        x[start:, column] = ends[int(rng.integers(0, 3))]
    points = some(0.06)
    absent = rng.random((T, len(points)), np.float32) < _log_uniform(rng, 0.01, 0.5, len(points))
    x[:, points] = np.where(absent, np.nan, x[:, points])
    for column in some(0.06):
        for _ in range(int(rng.integers(1, 4))):
            start, size = int(rng.integers(0, T)), int(_log_uniform(rng, 2, T / 4, 1)[0])
            x[start : start + size, column] = np.nan
    return x

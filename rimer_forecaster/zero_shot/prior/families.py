"""The families of series, each a way to draw n of them at once, as (T, n).

Letters: n series, T steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draws import (
    CALENDAR,
    CALENDAR_SHARES,
    COMMON,
    Array,
    Generator,
    ar1,
    draw_noise,
    draw_season,
    frequencies,
    hold,
    later_periods,
    log_uniform,
    normal,
    periods,
    segments,
    slow,
    spectral,
    uniform,
    walk_of,
)

__all__ = ["FAMILIES", "SHARES"]


def _trend_and_seasons(rng: Generator, n: int, T: int) -> Array:
    """Trend by its total excursion, up to three seasons that drift, autoregressive noise."""
    t = np.linspace(0, 1, T, dtype=np.float32)[:, None]
    bend = log_uniform(rng, 0.4, 3.0, n)
    trend = normal(rng, 1.5, n) * t**bend
    trend += normal(rng, 0.7, n) * (rng.random(n) < 0.4) * slow(rng, T, n, 4)
    trend *= rng.random(n) < 0.8
    period = periods(rng, n, T / 1.5)
    seasons = log_uniform(rng, 0.1, 3, n) * draw_season(rng, T, period, drift=0.2)
    for share in (0.45, 0.1):
        has = np.flatnonzero(rng.random(n) < share)
        if len(has):
            later = later_periods(rng, period[has])
            seasons[:, has] += log_uniform(rng, 0.1, 2, len(has)) * draw_season(rng, T, later)
    seasons *= rng.random(n) < 0.9
    coefficient = (uniform(rng, -0.2, 0.95, n) * (rng.random(n) < 0.6)).astype(np.float32)
    noise = ar1(draw_noise(rng, T, n), coefficient) * np.sqrt(1 - coefficient**2)
    noise *= log_uniform(rng, 0.01, 1.5, n)
    added = trend + seasons + noise
    factor = np.exp(np.clip(0.4 * trend, -3, 3)) * np.maximum(0, 1 + 0.3 * seasons)
    multiplied = factor * (1 + 0.3 * noise)
    return np.where(rng.random(n) < 0.65, added, multiplied)


def _cycles(rng: Generator, n: int, T: int) -> Array:
    """Profiles of a calendar: a value of its own for every step of the season, and for some days.

    Nearly without noise, so that what is learnt is to look back by a season of any length.
    """
    free = np.round(log_uniform(rng, 3, 400, n))
    known = rng.choice(CALENDAR, size=n, p=CALENDAR_SHARES)
    period = np.where(rng.random(n) < 0.4, free, known)
    period = np.where(period > T / 2, rng.choice(COMMON, size=n), period).astype(np.int32)
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
    x *= 1 + uniform(rng, 0, 0.3, n) * slow(rng, T, n, 6)
    x += log_uniform(rng, 0.05, 2, n) * slow(rng, T, n, 5) * (rng.random(n) < 0.5)
    return x + log_uniform(rng, 0.01, 0.6, n) * draw_noise(rng, T, n)


def _unit_roots(rng: Generator, n: int, T: int) -> Array:
    """Autoregressions with roots near the unit circle, integrated or seasonally so."""
    modulus = 1 - log_uniform(rng, 1e-4, 0.4, n)
    angle = np.where(rng.random(n) < 0.5, 0.0, 2 * np.pi / periods(rng, n, T)).astype(np.float32)
    first = np.where(angle == 0, modulus, 2 * modulus * np.cos(angle))
    second = np.where(angle == 0, 0.0, -(modulus**2)).astype(np.float32)
    lag = np.maximum(2, np.round(periods(rng, n, T / 4))).astype(np.int64)
    seasonal = uniform(rng, 0.5, 1.0, n) * (rng.random(n) < 0.35)
    first = np.where(seasonal > 0, 0.9 * modulus * uniform(rng, -0.3, 1.0, n), first)
    second *= seasonal == 0
    noise = draw_noise(rng, T, n)
    moving = uniform(rng, -0.8, 0.8, n) * (rng.random(n) < 0.5)
    noise[1:] += moving * noise[:-1].copy()
    before = int(lag.max()) + 1  # steps of the first season, and of the one before
    x, columns = np.zeros((before + T, n), np.float32), np.arange(n)
    x[:before] = draw_noise(rng, before, n) * (seasonal > 0)
    for t in range(before, before + T):
        back = x[t - lag, columns] - first * x[t - lag - 1, columns]
        x[t] = first * x[t - 1] + second * x[t - 2] + seasonal * back + noise[t - before]
    x = x[before:]
    integrated = (rng.random(n) < 0.4) & (modulus < 0.99)
    x[:, integrated] = walk_of(x[:, integrated] + rng.normal(0, 0.1, int(integrated.sum())))
    return x


def _smoothing(rng: Generator, n: int, T: int) -> Array:
    """Exponential smoothing as a state space: level, damped trend and season, each with errors."""
    period = np.maximum(2, np.round(periods(rng, n, T / 2))).astype(np.int64)
    size, columns = int(period.max()), np.arange(n)
    alpha = rng.beta(1, 3, n).astype(np.float32)
    beta = alpha * rng.beta(1, 8, n).astype(np.float32) * (rng.random(n) < 0.6)
    gamma = (1 - alpha) * rng.beta(1, 6, n).astype(np.float32)
    damping = uniform(rng, 0.85, 1.0, n)
    has_season = rng.random(n) < 0.65
    season = draw_season(rng, size, period.astype(np.float32)) * has_season
    season *= log_uniform(rng, 0.2, 4, n)
    multiplied = rng.random(n) < 0.3
    level = np.where(multiplied, uniform(rng, 5, 30, n), normal(rng, 1, n)).astype(np.float32)
    slope = (normal(rng, 0.02, n) * (beta > 0)).astype(np.float32)
    errors = draw_noise(rng, T, n) * log_uniform(rng, 0.05, 1, n)
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
    f = frequencies(T)

    def one() -> Array:
        length = log_uniform(rng, 2, T / 2, n)
        rough = rng.choice([1.0, 1.5, 2.5, 8.0], size=n).astype(np.float32)
        smooth = (1 + (2 * np.pi * length * f) ** 2 / (2 * rough)) ** (-(rough + 0.5) / 2)
        period, width = periods(rng, n, T / 2), log_uniform(rng, 1e-4, 0.02, n)
        lines = np.zeros_like(smooth)
        for h in range(1, 5):
            lines += h**-1.0 * np.exp(-0.5 * ((f - h / period) / width) ** 2) / np.sqrt(width)
        kind = rng.random(n)
        amplitude = np.where(kind < 0.5, smooth, np.where(kind < 0.8, lines, smooth + lines))
        x = spectral(rng, T, amplitude)
        return x / (x.std(0) + 1e-6)

    first, second = one(), one() * log_uniform(rng, 0.05, 2, n)
    x = np.where(rng.random(n) < 0.75, first + second, first * (1 + second))
    return x + log_uniform(rng, 0.003, 0.5, n) * rng.standard_normal((T, n), np.float32)


def _level_shifts(rng: Generator, n: int, T: int) -> Array:
    """Levels that jump, plateaus, regimes that come back, and ramps between them."""
    starts = segments(rng, T, n, log_uniform(rng, 8, T, n))
    levels = hold(rng.standard_normal((T, n), np.float32), starts)
    recurring = rng.random(n) < 0.5
    levels[:, recurring] = np.round(levels[:, recurring] * rng.uniform(0.6, 2.0))
    slope = hold(rng.standard_normal((T, n), np.float32), starts) * (rng.random(n) < 0.3)
    walk = walk_of(slope) * log_uniform(rng, 0.003, 0.1, n)
    seasons = draw_season(rng, T, periods(rng, n, T / 2)) * log_uniform(rng, 0.05, 0.7, n)
    seasons *= rng.random(n) < 0.5
    noise = ar1(draw_noise(rng, T, n), uniform(rng, 0, 0.8, n))
    return levels + walk + seasons + log_uniform(rng, 0.003, 0.4, n) * noise


def _switching(rng: Generator, n: int, T: int) -> Array:
    """Mean-reverting processes that switch their mean, with a volatility of its own life."""
    starts = segments(rng, T, n, log_uniform(rng, 20, 2 * T, n))
    mean = hold(rng.standard_normal((T, n), np.float32), starts) * log_uniform(rng, 0.1, 8, n)
    pull = log_uniform(rng, 0.003, 0.7, n)
    persistence = 1 - log_uniform(rng, 0.01, 0.3, n)
    volatility = ar1(0.3 * draw_noise(rng, T, n), persistence)
    volatility -= volatility.mean(0)
    volatility *= (rng.random(n) < 0.7) / np.maximum(1, volatility.std(0))
    x = draw_noise(rng, T, n) * np.exp(np.clip(volatility, -4, 3)) * np.sqrt(pull)
    x += pull * mean
    return ar1(x, 1 - pull)


def _retail(rng: Generator, n: int, T: int) -> Array:
    """Counts with weekly and yearly shapes, promotions that lift and are paid back, stock-outs."""
    week = draw_season(rng, T, np.where(rng.random(n) < 0.7, 7, periods(rng, n, T / 2)))
    year = draw_season(rng, T, np.full(n, 365.0, np.float32)) * (T > 400)
    log_rate = uniform(rng, -1, 4, n) + 0.4 * rng.random(n, np.float32) * week + 0.2 * year
    log_rate = log_rate + normal(rng, 0.5, n) * slow(rng, T, n, 5)
    promotion = segments(rng, T, n, log_uniform(rng, 20, 120, n)).astype(np.float32)
    effect = ar1(promotion, uniform(rng, 0.3, 0.85, n))
    lifted = effect - 0.3 * np.concatenate((np.zeros((5, n), np.float32), effect))[:T]
    log_rate += uniform(rng, 0, 1.5, n) * (rng.random(n) < 0.6) * lifted
    rate = np.exp(np.clip(log_rate, -6, 8))
    dispersion = log_uniform(rng, 0.3, 50, n)
    counts = rng.poisson(rate * rng.gamma(dispersion, 1 / dispersion, (T, n)))
    out = ar1((rng.random((T, n), np.float32) < 0.004).astype(np.float32), np.full(n, 0.8)) > 0.2
    return np.where(out & (rng.random(n) < 0.3), 0, counts).astype(np.float32)


def _long_memory(rng: Generator, n: int, T: int) -> Array:
    """Noise whose power falls with a power of the frequency."""
    f = frequencies(T)
    return spectral(rng, T, f ** -(uniform(rng, 0.1, 2.4, n) / 2))


def _pulses(rng: Generator, n: int, T: int) -> Array:
    """Trains of pulses of one shape, at even or somewhat uneven distances, of uneven height."""
    period = periods(rng, n, T / 3)
    jitter = uniform(rng, 0, 0.15, n) * (rng.random(n) < 0.5)
    phase = np.arange(T, dtype=np.float32)[:, None] / period + rng.random(n, np.float32)
    cycle = np.floor(phase).astype(np.int32)
    draws = rng.standard_normal((int(cycle.max()) + 2, n), np.float32)
    own = np.take_along_axis(draws, cycle, 0)
    place = phase - cycle + jitter * own
    width, kind = uniform(rng, 0.03, 0.5, n), rng.integers(0, 4, n)
    shapes = [
        np.exp(-np.maximum(place, 0) / width) * (place >= 0),
        np.maximum(0, 1 - np.abs(place - 0.5) / width),
        (place < width).astype(np.float32),
        np.exp(-0.5 * ((place - 0.5) / width) ** 2),
    ]
    x = np.choose(kind[None], shapes) * (1 + uniform(rng, 0, 0.5, n) * own)
    return x + log_uniform(rng, 0.001, 0.1, n) * draw_noise(rng, T, n)


def _intermittent(rng: Generator, n: int, T: int) -> Array:
    """Demand that is zero most of the time, with a probability that has a season or moves."""
    logit = uniform(rng, -3.5, 0.5, n) + 0.8 * slow(rng, T, n, 5) * rng.random(n, np.float32)
    logit = logit + draw_season(rng, T, periods(rng, n, T / 2)) * rng.random(n, np.float32) * (
        rng.random(n) < 0.5
    )
    happens = rng.random((T, n), np.float32) < 1 / (1 + np.exp(-logit))
    sizes = np.exp(uniform(rng, 0.1, 1.2, n) * rng.standard_normal((T, n), np.float32))
    whole = rng.random(n) < 0.7
    return np.where(happens, np.where(whole, np.ceil(2 * sizes), sizes), 0).astype(np.float32)


def _nonlinear(rng: Generator, n: int, T: int) -> Array:
    """Threshold autoregressions, chaotic maps, and oscillators that are driven or damped."""
    kind, noise = rng.integers(0, 4, n), rng.standard_normal((T, n), np.float32)
    low, high = rng.uniform(-0.9, 0.95, (2, n)).astype(np.float32)
    push = uniform(rng, 0.2, 1.5, n)
    growth = uniform(rng, 3.5, 4.0, n)
    rate = (2 * np.pi / periods(rng, n, T / 3)).astype(np.float32)
    stiffness = log_uniform(rng, 0.1, 3, n)
    shock = log_uniform(rng, 0.002, 0.05, n)
    threshold, logistic = np.zeros(n, np.float32), uniform(rng, 0.1, 0.9, n)
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
    return x + log_uniform(rng, 0.001, 0.1, n) * noise


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

SHARES = (0.23, 0.12, 0.12, 0.10, 0.10, 0.07, 0.07, 0.06, 0.04, 0.03, 0.03, 0.03)
"""Of the families in what is drawn."""

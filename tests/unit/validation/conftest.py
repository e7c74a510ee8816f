"""Samples and distributions that the tests of validation share; every random number comes from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


def porter_thomas(width: int, seed: int = 1) -> np.ndarray:
    """The shape of a random circuit's output."""
    values = np.random.default_rng(seed).exponential(size=2**width)
    return values / values.sum()


def cat(width: int) -> np.ndarray:
    """The output of a GHZ circuit: all zeros or all ones."""
    values = np.zeros(2**width)
    values[[0, -1]] = 0.5
    return values


def sampled(probabilities: np.ndarray, shots: int, rng: np.random.Generator) -> dict[str, int]:
    """Counts as an honest run of ``shots`` shots gives them."""
    width = len(probabilities).bit_length() - 1
    numbers = rng.multinomial(shots, probabilities)
    return {format(place, f"0{width}b"): int(numbers[place]) for place in np.flatnonzero(numbers)}


@pytest.fixture
def random_output() -> Callable[..., np.ndarray]:
    return porter_thomas


@pytest.fixture
def cat_output() -> Callable[[int], np.ndarray]:
    return cat


@pytest.fixture
def draw() -> Callable[..., dict[str, int]]:
    return sampled


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)

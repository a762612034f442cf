"""Random arrays, the same for every engine."""

from __future__ import annotations

import numpy as np


def images(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(batch, size, size, 3) of 0 to 255, as float32, and one of 1000 classes for each."""
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 255, (batch, size, size, 3)).astype("float32")
    return x, generator.integers(0, 1000, batch).astype("int32")


def sequences(batch: int, steps: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch, steps, features)).astype("float32")
    return x, generator.integers(0, 10, batch).astype("int32")


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 1, (count, 28, 28, 1)).astype("float32")
    return x, generator.integers(0, 10, count).astype("int32")


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 4), and 0 or 1 for each."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((count, 4)).astype("float32")
    return x, (x.sum(1, keepdims=True) > 0).astype("float32")

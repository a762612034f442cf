"""Random streams: one global torch generator, and `SeedGenerator`s that layers own."""

from __future__ import annotations

import random as python_random
from typing import Any

import numpy as np
import torch

from lamina.base import names
from lamina.base.serialization import Configurable
from lamina.engine.device import current_device
from lamina.engine.dtypes import torch_dtype


def set_random_seed(seed: int) -> None:
    """Seeds Python's `random`, NumPy and torch, so that a run can be repeated.

    Errors: anything but an integer is a ValueError.
    """
    if not isinstance(seed, int | np.integer):
        raise ValueError(f"A seed is an integer; got {seed!r}.")
    python_random.seed(int(seed))
    np.random.seed(int(seed) % 2**32)
    torch.manual_seed(int(seed))


class SeedGenerator(Configurable):
    """A stream of random numbers of its own: two generators with the same seed give the same numbers.

    Parameters: `seed`, an integer, or None to draw from the global stream that `set_random_seed` seeds.
    """

    def __init__(self, seed: int | None = None, name: str | None = None):
        self.name = name or names.auto_name("seed_generator")
        self.seed = None if seed is None else int(seed)
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device) -> torch.Generator | None:
        """The torch generator on a device; None stands for the global stream."""
        if self.seed is None or device.type == "meta":
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device=device).manual_seed(self.seed)
        return self._generators[device]

    def __deepcopy__(self, memo: dict[int, Any]) -> SeedGenerator:
        twin = SeedGenerator(self.seed, name=self.name)
        for device, generator in self._generators.items():
            twin.generator(device).set_state(generator.get_state())  # type: ignore[union-attr]
        return twin

    def __getstate__(self) -> dict[str, Any]:
        states = {str(device): generator.get_state() for device, generator in self._generators.items()}
        return {"name": self.name, "seed": self.seed, "states": states, "_init_arguments": self._init_arguments}  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.name, self.seed, self._generators = state["name"], state["seed"], {}
        object.__setattr__(self, "_init_arguments", state["_init_arguments"])
        for device, saved in state["states"].items():
            self.generator(torch.device(device)).set_state(saved)  # type: ignore[union-attr]


def as_seed_generator(seed: Any) -> SeedGenerator:
    return seed if isinstance(seed, SeedGenerator) else SeedGenerator(seed)


def uniform(shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None) -> torch.Tensor:
    """Numbers drawn evenly from [minval, maxval)."""
    device = current_device()
    out = torch.empty(tuple(shape), dtype=torch_dtype(dtype), device=device)
    return out.uniform_(minval, maxval, generator=as_seed_generator(seed).generator(device))


def normal(shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> torch.Tensor:
    """Numbers of the normal distribution."""
    device = current_device()
    out = torch.empty(tuple(shape), dtype=torch_dtype(dtype), device=device)
    return out.normal_(mean, stddev, generator=as_seed_generator(seed).generator(device))


def truncated_normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None
) -> torch.Tensor:
    """Numbers of the normal distribution, none further than two standard deviations from the mean."""
    device = current_device()
    out = torch.empty(tuple(shape), dtype=torch_dtype(dtype), device=device)
    generator = as_seed_generator(seed).generator(device)
    low, high = mean - 2 * stddev, mean + 2 * stddev
    return torch.nn.init.trunc_normal_(out, mean, stddev, low, high, generator=generator)

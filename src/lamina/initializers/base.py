"""What every initializer is: a description that makes a tensor of a given shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from lamina.base.registry import public
from lamina.base.serialization import Configurable
from lamina.engine.random import SeedGenerator

I = TypeVar("I", bound="Initializer")  # noqa: E741


@public("initializers")
class Initializer(Configurable):
    """Makes the first value of a weight. Subclasses write `__call__(shape, dtype=None)`.

    Shapes: any shape in, a tensor of this shape out, on the current `lamina.device`.

    >>> class Halves(Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return torch.full(shape, 0.5)
    >>> Halves()((2, 3)).shape
    torch.Size([2, 3])
    """

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(shape, dtype=None); write one.")

    def clone(self: I) -> I:
        """A new initializer of the same config."""
        return self.from_config(self.get_config())


class RandomInitializer(Initializer):
    """An initializer that draws. An integer seed gives the same values at each call; None draws from the global stream
    that `set_random_seed` seeds; a `SeedGenerator` goes on from call to call."""

    def __init__(self, seed: int | SeedGenerator | None = None):
        if isinstance(seed, dict):  # the config of a SeedGenerator
            seed = SeedGenerator.from_config(seed["config"])
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer | SeedGenerator)):
            raise ValueError(f"A seed is an integer, a SeedGenerator or None; got {seed!r}.")
        self.seed = seed

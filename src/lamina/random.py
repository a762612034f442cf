"""Random numbers: `SeedGenerator`, `uniform`, `normal`, `truncated_normal`."""

from lamina.engine.random import SeedGenerator, normal, truncated_normal, uniform

__all__ = ["SeedGenerator", "normal", "truncated_normal", "uniform"]

"""Data sets by name."""

from lamina.datasets import fashion_mnist

__all__ = ["fashion_mnist"]

"""Dtype policies: the types of a layer's weights and arithmetic."""

from lamina.engine.dtypes import DTypePolicy, Policy, get

__all__ = ["DTypePolicy", "Policy", "get"]

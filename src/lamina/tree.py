"""Nested structures of tuples, lists and dicts."""

from lamina.base.tree import flatten, flatten_with_path, is_nested, map_structure

__all__ = ["flatten", "flatten_with_path", "is_nested", "map_structure"]

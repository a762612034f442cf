"""Attention: each position of a query takes a weighted mean of the values at all positions of another sequence."""

from lamina.layers.attention.heads import GroupedQueryAttention, MultiHeadAttention
from lamina.layers.attention.plain import AdditiveAttention, Attention

__all__ = ["AdditiveAttention", "Attention", "GroupedQueryAttention", "MultiHeadAttention"]

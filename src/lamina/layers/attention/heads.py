"""MultiHeadAttention and GroupedQueryAttention."""

from __future__ import annotations

from typing import Any

from lamina import regularizers
from lamina.base.registry import public
from lamina.layers.attention.projected import ProjectedAttention
from lamina.layers.parts import expect_rank, known_size, positive_integer
from lamina.layers.symbolic import named_inputs
from lamina.shapes import Axes, Size


@public("layers")
class MultiHeadAttention(ProjectedAttention):
    """`softmax(q · kᵀ / sqrt(key_dim)) · v` for each of several heads, whose results a last projection joins. q, k and
    v are the query, key and value times kernels of their own. Vaswani et al. 2017, *Attention is all you need*.

    Called as `layer(query, value)`, with a `key` if it is not the value; `layer(x, x)` is self-attention. `query_mask`,
    `value_mask` and `key_mask` (batch, steps) are True at steps that count, and come with inputs that carry a mask;
    `attention_mask`, (batch, steps, steps of the key) or with the heads as second axis, says what may look at what;
    `use_causal_mask` lets no step look at later ones, `sliding_window` only at those less than so many steps away.

    Shapes: query (batch, steps, features), value and key (batch, steps of the key, features) → (batch, steps, features
    of the query, or `output_shape`). With more axes of positions, all are attended together, or those of
    `attention_axes`. With `return_attention_scores` also (batch, heads, steps, steps of the key).
    Parameters, for one number of features and value_dim = key_dim: 4·features·heads·key_dim + 3·heads·key_dim +
    features; `use_gate` (Qiu et al. 2025) adds features·heads·value_dim + heads·value_dim.
    `flash_attention` chooses torch's kernel: None leaves it to torch; True is an error where there is none.
    Errors: value and key of different steps, other features than it was built on, a mask that does not broadcast are a
    ShapeError.

    >>> import lamina
    >>> attention = lamina.layers.MultiHeadAttention(num_heads=4, key_dim=32)
    >>> x = lamina.Input((20, 128))
    >>> attention(x, x).shape, attention.count_params()
    ((None, 20, 128), 66048)
    """

    _names = {
        "query": "query_dense",
        "key": "key_dense",
        "gate": "_gate_dense",
        "value": "value_dense",
        "output": "output_dense",
    }

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._activity_regularizer = regularizers.get(activity_regularizer)  # of each projection, not of the whole
        self.num_heads = positive_integer(num_heads, "MultiHeadAttention: num_heads")
        self.key_dim = positive_integer(key_dim, "MultiHeadAttention: key_dim")
        value_dim = key_dim if value_dim is None else value_dim
        self.value_dim = positive_integer(value_dim, "MultiHeadAttention: value_dim")
        self.output_shape = (output_shape,) if isinstance(output_shape, int) else output_shape and tuple(output_shape)
        self.__dict__["attention_axes"] = (attention_axes,) if isinstance(attention_axes, int) else attention_axes
        parts = {
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "bias_constraint": bias_constraint,
        }
        sizes = (self.num_heads, self.num_heads, self.key_dim, self.value_dim)
        self._take(*sizes, dropout, use_bias, sliding_window, flash_attention, use_gate, seed, parts)

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:  # type: ignore[override]
        query, value, key = named_inputs(self, [query_shape, value_shape, key_shape or value_shape])
        self.shape_rule(query, value, key)
        self.__dict__["attention_axes"] = self._attended(query)
        self._make_projections(query, value, key, self.output_shape or (known_size(self, query, -1),))

    def _output_sizes(self, query: Axes) -> tuple[Size, ...]:
        return self.output_shape or query.sizes[-1:]


@public("layers", name="GroupQueryAttention")
class GroupedQueryAttention(ProjectedAttention):
    """`MultiHeadAttention` in which groups of the query's heads share a head of key and value, which takes less memory
    in a decoder. With one key-value head it is multi-query attention. Ainslie et al. 2023, *GQA: Training generalized
    multi-query transformer models from multi-head checkpoints*. In Keras it is `layers.GroupQueryAttention`.

    Shapes, masks and errors as in `MultiHeadAttention`, for one axis of steps. Parameters, for one number of features:
    features·head_dim·(2·query heads + 2·key-value heads) + (query heads + 2·key-value heads)·head_dim + features.
    A number of query heads that the key-value heads do not divide is a ValueError.

    >>> import lamina
    >>> attention = lamina.layers.GroupQueryAttention(head_dim=32, num_query_heads=4, num_key_value_heads=2)
    >>> x = lamina.Input((20, 128))
    >>> attention(x, x).shape, attention.count_params()
    ((None, 20, 128), 49536)
    """

    _names = {
        "query": "_query_dense",
        "key": "_key_dense",
        "gate": "_gate_dense",
        "value": "_value_dense",
        "output": "_output_dense",
    }

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._activity_regularizer = self.activity_regularizer
        self.head_dim = positive_integer(head_dim, "GroupQueryAttention: head_dim")
        self.num_query_heads = positive_integer(num_query_heads, "GroupQueryAttention: num_query_heads")
        self.num_key_value_heads = positive_integer(num_key_value_heads, "GroupQueryAttention: num_key_value_heads")
        if num_query_heads % num_key_value_heads:
            raise ValueError(
                f"GroupQueryAttention: the query's heads are shared out evenly: num_query_heads is a multiple of "
                f"num_key_value_heads; got {num_query_heads} and {num_key_value_heads}."
            )
        parts = {
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "bias_constraint": bias_constraint,
        }
        sizes = (self.num_query_heads, self.num_key_value_heads, self.head_dim, self.head_dim)
        self._take(*sizes, dropout, use_bias, sliding_window, flash_attention, use_gate, seed, parts)

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:  # type: ignore[override]
        query, value, key = named_inputs(self, [query_shape, value_shape, key_shape or value_shape])
        self.shape_rule(query, value, key)
        self._make_projections(query, value, key, (known_size(self, query, -1),))

    def _attended(self, query: Axes) -> tuple[int, ...]:
        expect_rank(self, query, 3)
        return (1,)

    def _output_sizes(self, query: Axes) -> tuple[Size, ...]:
        return query.sizes[-1:]

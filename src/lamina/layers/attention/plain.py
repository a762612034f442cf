"""Attention without projections: Luong's (a product of query and key) and Bahdanau's (a sum of them)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.engine.random import as_seed_generator
from lamina.layers.attention.masks import all_of, as_summand, causal, positions_mask
from lamina.layers.layer import Layer
from lamina.layers.parts import known_size
from lamina.layers.random_layers import _share
from lamina.layers.symbolic import first_argument, named_inputs
from lamina.shapes import HERE, Axes, Readings, Size, multiply, total, value_of


class _PlainAttention(Layer):
    """What the two share: a list of query, value and maybe key; masks; weights that sum to 1; the shape rule."""

    supports_masking = True

    def __init__(self, use_scale: bool, dropout: float = 0.0, seed: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.use_scale, self.seed = use_scale, seed
        self.dropout = _share(dropout, f"{type(self).__name__}: dropout")
        self.__dict__["_seed_generator"] = as_seed_generator(seed)
        self.scale: Any = None

    # Shapes.

    def build(self, input_shape: Any) -> None:
        self.shape_rule(*self._three(named_inputs(self, self._listed(input_shape))))

    def _listed(self, inputs: Any) -> list[Any]:
        """The list of inputs, or of their shapes. Errors: anything else than two or three is a ShapeError."""
        several = isinstance(inputs, list | tuple) and not tree.is_shape(inputs)
        if several and len(inputs) in (2, 3):
            return list(inputs)
        raise ShapeError(
            f"{self.title} takes a list of query and value, or of query, value and key, and got "
            f"{f'{len(inputs)} in the list' if several else 'one tensor'}.",
            expected="a list of 2 or 3 tensors",
            because="its inputs are one argument, a list",
            mend=f"call it as {type(self).__name__}()([query, value]); for self-attention, [x, x]",
        )

    @staticmethod
    def _three(inputs: Any) -> tuple[Any, Any, Any]:
        """Query, value and key, which is the value if it is not given."""
        query, value = inputs[0], inputs[min(1, len(inputs) - 1)]
        return query, value, inputs[2] if len(inputs) > 2 else value

    def rule_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        tensors = [leaf for leaf in tree.flatten(first_argument(args, kwargs)) if hasattr(leaf, "shape")]
        scores = self._signature.bind(args, kwargs).get("return_attention_scores")
        return tensors, {"return_attention_scores": True} if scores else {}

    def shape_rule(self, *inputs: Axes, return_attention_scores: bool = False) -> Any:
        query, value, key = self._three(inputs)
        ranks = (query.rank, value.rank, key.rank)
        if len(set(ranks)) > 1 or query.rank < 2:
            raise ShapeError(
                f"{self.title}: query, value and key have {ranks[0]}, {ranks[1]} and {ranks[2]} axes.",
                expected="the same number of axes, at least 2, in all: (batch, steps, features)",
                because="every example's query looks at that example's values",
                mend="bring all to (batch, steps, features), with Reshape",
            )
        for axis in range(query.rank - 2):
            self._expect_same(axis, query=query, value=value, key=key)
        self._expect_same(query.rank - 2, value=value, key=key)
        self._expect_same(query.rank - 1, query=query, key=key)
        output = query.replace_at(-1, value.sizes[-1])
        if not return_attention_scores:
            return output
        names = (*query.names[:-1], f"{key.names[-2]} of the key")
        return [output, Axes(names, (*query.sizes[:-1], key.sizes[-2]))]

    def _expect_same(self, axis: int, **inputs: Axes) -> None:
        known = [(name, value_of(axes.sizes[axis])) for name, axes in inputs.items()]
        known = [(name, size) for name, size in known if size is not None]
        other = next((pair for pair in known if pair[1] != known[0][1]), None)
        if other is None:
            return
        axes = inputs[known[0][0]]
        place = axes.names[axis]
        because = {
            axes.rank - 1: f"scores are {self._score}, feature by feature",
            axes.rank - 2: "a key says how much its value counts, so each value has one key",
        }.get(axis, "every example attends to itself only")
        raise ShapeError(
            f"{self.title}: {known[0][0]} and {other[0]} differ on axis {axis} ({place}): "
            f"{known[0][1]} and {other[1]}.",
            expected=f"the same {'number of examples' if not axis else place} in {known[0][0]} and {other[0]}",
            because=because,
            mend=f"bring both to the same {place}, with a Dense layer"
            if axis == axes.rank - 1
            else f"give {known[0][0]} and {other[0]} the same {'examples' if not axis else place}",
        )

    _score: str  # what a score is made of

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        query, value, key = self._three(inputs)
        features = [query.sizes[-1], value.sizes[-1]] if self._scores_are_products else [value.sizes[-1]]
        return total(multiply([*query.sizes[1:-1], key.sizes[-2], size]) for size in features)

    @property
    def _scores_are_products(self) -> bool:
        return False

    def readings(self, *inputs: Axes) -> Readings | None:
        return [
            {name: HERE for axis, name in enumerate(axes.names[:-1]) if axis < axes.rank - 2 or number == 0}
            for number, axes in enumerate(inputs)
        ]

    # Masks.

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The query's mask, as the output has its steps."""
        return previous_mask[0] if isinstance(previous_mask, list | tuple) else None

    def _two_masks(self, mask: Any) -> tuple[Any, Any]:
        """The query's and the value's. Errors: a ValueError for anything but a list of two or three."""
        if mask is None:
            return None, None
        if not isinstance(mask, list | tuple) or len(mask) not in (2, 3):
            raise ValueError(
                f"{self.title}: mask is a list of the query's mask and the value's, each None or True at the steps "
                f"that count; got {'one tensor' if hasattr(mask, 'shape') else mask!r:.80}."
            )
        return mask[0], mask[1]

    # The call.

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = self._three(self._listed(inputs))
        if key.shape[:-1] != value.shape[:-1]:  # torch's kernel would read behind the end of the shorter one
            raise RuntimeError("value and key differ")  # the shape rule says how
        query_mask, value_mask = self._two_masks(mask)
        query_mask = positions_mask(self, query_mask, "query_mask", query)
        value_mask = positions_mask(self, value_mask, "value_mask", value)
        seen = all_of(
            None if value_mask is None else value_mask.unsqueeze(-2),
            causal(query.shape[-2], key.shape[-2], query.device) if use_causal_mask else None,
        )
        summand = None if seen is None else as_summand(seen, query.dtype)
        drops = bool(training) and self.dropout > 0
        scores = None
        if self._scores_are_products and not return_attention_scores and not drops:
            scaled = query if self.scale is None else query * self.scale
            outputs = scaled_dot_product_attention(scaled, key, value, attn_mask=summand, scale=1.0)
        else:
            scores = self._calculate_scores(query, key)
            scores = torch.softmax(scores if summand is None else scores + summand, -1)
            scores = self._dropped(scores) if drops else scores
            outputs = torch.matmul(scores, value)
        if query_mask is not None:
            outputs = outputs * query_mask.unsqueeze(-1)
        return (outputs, scores) if return_attention_scores else outputs

    def _dropped(self, scores: torch.Tensor) -> torch.Tensor:
        generator = self._seed_generator.generator(scores.device)
        kept = torch.empty_like(scores).bernoulli_(1 - self.dropout, generator=generator)
        return scores * (kept.div_(1 - self.dropout) if self.dropout < 1 else kept)

    def _calculate_scores(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def _sums(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The sum of each position of the query with each of the key: (..., steps, steps of the key, features)."""
    return query.unsqueeze(-2) + key.unsqueeze(-3)


@public("layers")
class Attention(_PlainAttention):
    """`softmax(q · kᵀ) · v`, with q, k and v the inputs themselves. Luong et al. 2015, *Effective approaches to
    attention-based neural machine translation*.

    Called on `[query, value]` or `[query, value, key]`. `mask` is a list of the query's mask, whose steps come out as 0
    where it is False, and the value's, at whose False steps nothing looks. `score_mode="concat"` scores by
    `weight · Σ tanh(q + k)`; `use_scale` learns a factor, of the products or within tanh.

    Shapes: query (batch, steps, features), value (batch, steps of the key, features of the value), key (batch, steps of
    the key, features) → (batch, steps, features of the value); with `return_attention_scores` also (batch, steps, steps
    of the key). Parameters: 1 with `use_scale`, and 1 with "concat". Errors: inputs that do not meet are a ShapeError.

    >>> import lamina
    >>> lamina.layers.Attention()([lamina.Input((20, 64)), lamina.Input((30, 64))]).shape
    (None, 20, 64)
    """

    _score = "sums of products of query and key"

    def __init__(
        self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, seed: Any = None, **kwargs: Any
    ):
        super().__init__(use_scale, dropout, seed, **kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(f"Attention: score_mode is 'dot' or 'concat'; got {score_mode!r}.")
        self.score_mode = score_mode
        self.concat_score_weight: Any = None

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale", axes=())
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight", axes=())

    @property
    def _scores_are_products(self) -> bool:
        return self.score_mode == "dot"

    def _calculate_scores(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        if self.score_mode == "dot":
            scores = torch.matmul(query, key.transpose(-1, -2))
            return scores if self.scale is None else scores * self.scale
        sums = _sums(query, key)
        sums = sums if self.scale is None else sums * self.scale
        return self.concat_score_weight * torch.tanh(sums).sum(-1)


@public("layers")
class AdditiveAttention(_PlainAttention):
    """`softmax(Σ scale · tanh(q + k)) · v`. Bahdanau et al. 2015, *Neural machine translation by jointly learning to
    align and translate*.

    Called as `Attention` is, with its shapes, masks and errors. Memory: steps · steps of the key · features for each
    example. Parameters: features with `use_scale`, a weight for each.

    >>> import lamina
    >>> attention = lamina.layers.AdditiveAttention()
    >>> attention([lamina.Input((20, 64)), lamina.Input((30, 64))]).shape, attention.count_params()
    ((None, 20, 64), 64)
    """

    _score = "sums of query and key"

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, seed: Any = None, **kwargs: Any):
        super().__init__(use_scale, dropout, seed, **kwargs)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.use_scale:
            query = named_inputs(self, self._listed(input_shape))[0]
            features = known_size(self, query, -1)
            self.scale = self.add_weight((features,), "glorot_uniform", name="scale", axes=("features",))

    def _calculate_scores(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        bent = torch.tanh(_sums(query, key))
        return bent.sum(-1) if self.scale is None else torch.matmul(bent, self.scale)

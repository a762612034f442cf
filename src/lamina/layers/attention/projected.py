"""What the attentions with heads share: projections, the arrangement of axes, masks, and the shape rule."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from lamina.base.errors import LaminaError, ShapeError
from lamina.base.serialization import serialize_keras_object
from lamina.initializers import VarianceScaling
from lamina.layers.activation_layers import Softmax
from lamina.layers.attention.masks import all_of, as_summand, band, causal, positions_mask
from lamina.layers.einsum import EinsumDense
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank, known_size, positive_integer, take_parts
from lamina.layers.random_layers import Dropout, _share
from lamina.layers.same_shape import positions
from lamina.shapes import HERE, Axes, Readings, Size, multiply, total, value_of

_LETTERS = "abcdefghijklmnopqrstuvw"


class ProjectedAttention(Layer):
    """Attention of several heads, each on projections of its own.

    A subclass takes its arguments with `_take`, and makes the projections in `build`. Projections that have a place in
    Keras's files stand under the attributes that Keras gives them there: `_names` says which.
    """

    supports_masking = True

    _names: dict[str, str]  # projection → attribute
    attention_axes: Any = None

    def _take(
        self,
        heads: int,
        groups: int,
        key_size: int,
        value_size: int,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        use_gate: bool,
        seed: Any,
        parts: dict[str, Any],
    ) -> None:
        """`heads` of the query, `groups` of key and value: `heads / groups` of the query share one."""
        title = type(self).__name__
        own = self.__dict__
        own.update(_heads=heads, _groups=groups, _key_size=key_size, _value_size=value_size)
        self.dropout = _share(dropout, f"{title}: dropout")
        self.use_bias, self.use_gate, self.seed = use_bias, use_gate, seed
        if sliding_window is not None:
            positive_integer(sliding_window, f"{title}: sliding_window")
        if flash_attention and dropout:
            raise ValueError(f"{title}: flash_attention=True goes with dropout=0 only; got dropout={dropout}.")
        self.sliding_window, self.flash_attention = sliding_window, flash_attention
        take_parts(self, **parts)

    # Weights.

    def _project(self, which: str, name: str, inputs: tuple[Any, ...], kept: int, added: tuple[int, ...]) -> None:
        """Makes the projection `which`: of its input's axes, `kept` stay and the rest are summed with the kernel's."""
        letters, rank = _LETTERS, len(inputs)
        summed, made = letters[kept:rank], letters[rank : rank + len(added)]
        equation = f"{letters[:rank]},{summed}{made}->{letters[:kept]}{made}"
        kernel_initializer = self._cloned(self.kernel_initializer)
        if isinstance(kernel_initializer, VarianceScaling) and kernel_initializer.input_axes is None:
            kernel_initializer.input_axes = tuple(range(len(summed)))
            kernel_initializer.output_axes = tuple(range(len(summed), len(summed) + len(made)))
        dense = EinsumDense(
            equation,
            (*inputs[1:kept], *added),
            bias_axes=made if self.use_bias else None,
            kernel_initializer=kernel_initializer,
            bias_initializer=self._cloned(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self._activity_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            name=name,
            dtype=self.dtype_policy,
            trainable=self.trainable,
        )
        head = ("heads", "features of a head")
        words = (*head, *(f"output {letter}" for letter in made)) if which == "output" else ("features", *head)
        if which == "output" and len(made) == 1:
            words = (*head, "features")
        dense.__dict__["words"] = dict(zip(summed + made, words, strict=True))
        setattr(self, self._names[which], dense)
        dense.build(inputs)

    @staticmethod
    def _cloned(initializer: Any) -> Any:
        """One for each projection: an initializer without a seed draws anew, one with an integer draws the same."""
        return initializer.clone() if hasattr(initializer, "clone") else initializer

    def _make_projections(self, query: Axes, value: Axes, key: Axes, output: tuple[int, ...]) -> None:
        for axes in (query, value, key):
            known_size(self, axes, -1)
        rank = query.rank
        of_key, of_value = (self._groups, self._key_size), (self._groups, self._value_size)
        self._project("query", "query", query.shape, rank - 1, (self._heads, self._key_size))
        self._project("key", "key", key.shape, rank - 1, of_key)
        if self.use_gate:
            self._project("gate", "gate", query.shape, rank - 1, (self._heads, self._value_size))
        self._project("value", "value", value.shape, rank - 1, of_value)
        self._softmax = Softmax(dtype=self.dtype_policy)
        self._dropout_layer = Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)
        attended = (*query.shape[:-1], self._heads, self._value_size)
        self._project("output", "attention_output", attended, rank - 1, output)

    def _projection(self, which: str) -> Any:
        return self._modules[self._names[which]]

    def _projected(self, which: str, tensor: torch.Tensor) -> torch.Tensor:
        """The inputs are cast by now, so the projection's own call is enough, unless it adds a loss."""
        dense = self._projection(which)
        return torch.nn.Module.__call__(dense, tensor) if dense.activity_regularizer is None else dense(tensor)

    # Shapes.

    def _output_sizes(self, query: Axes) -> tuple[Size, ...]:
        """The sizes behind the positions in the output."""
        raise NotImplementedError

    def rule_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        bound = self._signature.bind(args, kwargs)
        tensors = [bound[name] for name in ("query", "value", "key") if bound.get(name) is not None]
        return tensors, {"return_attention_scores": True} if bound.get("return_attention_scores") else {}

    def shape_rule(
        self, query: Axes, value: Axes | None = None, key: Axes | None = None, return_attention_scores: bool = False
    ) -> Any:
        value = query if value is None else value
        key = value if key is None else key
        attended = self._expect_meeting(query, value, key)
        self._expect_features(query, value, key)
        sizes = self._output_sizes(query)
        names = query.names[-1:] if len(sizes) == 1 else tuple(f"output axis {n + 1}" for n in range(len(sizes)))
        output = Axes((*query.names[:-1], *names), (*query.sizes[:-1], *sizes))
        if not return_attention_scores:
            return output
        others = [axis for axis in range(query.rank - 1) if axis not in attended]
        pairs = [*query]
        scores = [pairs[axis] for axis in others]
        scores += [("heads", self._heads), *(pairs[axis] for axis in attended)]
        scores += [(f"{key.names[axis]} of the key", key.sizes[axis]) for axis in attended]
        return [output, Axes(tuple(name for name, _ in scores), tuple(size for _, size in scores))]

    def _attended(self, query: Axes) -> tuple[int, ...]:
        """The axes along which positions look at each other, from the front. Errors: a ShapeError for another axis."""
        expect_rank(self, query, at_least=3)
        if self.attention_axes is None:
            return tuple(range(1, query.rank - 1))
        axes = tuple(positions(self, query, self.attention_axes))
        wrong = next((axis for axis in axes if axis in (0, query.rank - 1)), None)
        if wrong is not None:
            what = "counts the examples" if wrong == 0 else "holds the features"
            raise ShapeError(
                f"{self.title} cannot attend along axis {wrong}, which {what}.",
                layer=self.name,
                expected=f"attention_axes between 1 and {query.rank - 2}",
                because="positions of one example look at each other, along axes between the batch and the features",
                mend="choose an axis of positions, or leave attention_axes out for all of them",
            )
        return axes

    def _expect_meeting(self, query: Axes, value: Axes, key: Axes) -> tuple[int, ...]:
        attended = self._attended(query)
        for name, axes in (("value", value), ("key", key)):
            if axes.rank != query.rank:
                raise ShapeError(
                    f"{self.title}: the query has {query.rank} axes and the {name} {axes.rank}.",
                    layer=self.name,
                    received=f"query {query.shape}, {name} {axes.shape}",
                    expected="the same number of axes in query, value and key",
                    because="they have the axes (batch, positions, features) in common",
                    mend="give both the same number of axes, with Reshape",
                )
        for axis in range(query.rank - 1):
            asks, gives, counts = (value_of(axes.sizes[axis]) for axes in (query, value, key))
            if None not in (gives, counts) and gives != counts:
                raise self._not_meeting(query, value, key, axis, ("value", gives), ("key", counts))
            shared = axis not in attended and not (axis and gives == 1)  # an axis of 1 serves all of the query's
            if shared and None not in (asks, gives) and asks != gives:
                raise self._not_meeting(query, value, key, axis, ("query", asks), ("value", gives))
        return attended

    def _not_meeting(
        self, query: Axes, value: Axes, key: Axes, axis: int, one: tuple[str, Any], other: tuple[str, Any]
    ) -> ShapeError:
        because, mend = "every example attends to itself only", "give query, value and key the same examples"
        if axis:
            because = f"positions look at each other along attention_axes={self._attended(query)} only"
            mend = "make the sizes equal on all other axes, or attend along this axis too"
        if one[0] == "value":
            because = "a key says how much its value counts, so each value has one key"
            mend = "give value and key the same positions"
        return ShapeError(
            f"{self.title}: {one[0]} and {other[0]} differ on axis {axis} ({query.names[axis]}): "
            f"{one[1]} and {other[1]}.",
            layer=self.name,
            received="\n".join(f"{n} {a.shape}" for n, a in (("query", query), ("value", value), ("key", key))),
            expected=f"the same {'number of examples' if not axis else query.names[axis]} in {one[0]} and {other[0]}",
            because=because,
            mend=mend,
        )

    def _expect_features(self, query: Axes, value: Axes, key: Axes) -> None:
        """Errors: a ShapeError when a built projection meets other features than it was made for."""
        for name, axes in (("query", query), ("value", value), ("key", key)):
            dense: Any = self._modules.get(self._names[name])
            got = value_of(axes.sizes[-1])
            if dense is None or dense.kernel is None or got is None or got == dense.kernel.shape[0]:
                continue
            shape = tuple(dense.kernel.shape)
            raise ShapeError(
                f"{self.title} needs a {name} of {shape[0]} features and got {got}.",
                layer=self.name,
                received=f"{name} {axes.shape}",
                expected=f"{name} {axes.replace_at(-1, shape[0]).shape}  fixed when {self.name!r} was built",
                because=f"the kernel of its {name} projection is {shape}: the features meet the kernel's first axis",
                mend=f"make a new {type(self).__name__} for this input, or give it a {name} of {shape[0]} features",
            )

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        query, value, key = (*inputs, inputs[-1], inputs[-1])[:3] if len(inputs) > 1 else (inputs[0],) * 3
        keys = [key.sizes[axis] for axis in self._attended(query)]
        width, places = self._heads * self._value_size, query.sizes[1:-1]
        products = [
            multiply([*query.sizes[1:], self._heads * self._key_size]),
            multiply([*key.sizes[1:], self._groups * self._key_size]),
            multiply([*value.sizes[1:], self._groups * self._value_size]),
            multiply([*places, *keys, self._heads * self._key_size]),
            multiply([*places, *keys, width]),
            multiply([*places, width, *self._output_sizes(query)]),
        ]
        return total([*products, multiply([*query.sizes[1:], width])] if self.use_gate else products)

    def readings(self, *inputs: Axes) -> Readings | None:
        attended = self._attended(inputs[0])
        found: Readings = []
        for number, axes in enumerate(inputs):
            kept = [axis for axis in range(axes.rank - 1) if axis not in attended or number == 0]
            found.append({axes.names[axis]: HERE for axis in kept})
        return found

    # The call.

    def call(
        self,
        query: torch.Tensor,
        value: torch.Tensor,
        key: torch.Tensor | None = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        if key.shape[:-1] != value.shape[:-1]:  # torch's kernel would read behind the end of the shorter one
            raise RuntimeError("value and key differ")  # the shape rule says how
        frame = _Frame(query, key, self.attention_axes, self._heads)
        masks = [
            frame.of_query(positions_mask(self, query_mask, "query_mask", query)),
            frame.of_keys(positions_mask(self, value_mask, "value_mask", value)),
            frame.of_keys(positions_mask(self, key_mask, "key_mask", key)),
        ]
        masks.append(self._fitted(attention_mask, frame))
        scored = return_attention_scores or bool(training and self.dropout and self.seed is not None)
        # A causal mask alone is left to the kernel, which then computes no more than half of the scores.
        left_to_kernel = use_causal_mask and not (scored or self.sliding_window or any(m is not None for m in masks))
        mask = frame.flat(all_of(*masks, *self._of_order(frame, use_causal_mask, left_to_kernel)))
        q, k, v = self._projected("query", query), self._projected("key", key), self._projected("value", value)
        q, k, v = frame.arranged(q), frame.arranged(k, of_keys=True), frame.arranged(v, of_keys=True)
        if self._groups != self._heads:
            k, v = (part.repeat_interleave(self._heads // self._groups, dim=-3) for part in (k, v))
        scores = None
        if scored:
            outputs, scores = self._by_scores(q, k, v, mask)
        else:
            outputs = self._fused(q, k, v, mask, left_to_kernel, self.dropout if training else 0.0)
        outputs = frame.restored(outputs)
        if self.use_gate:
            outputs = outputs * torch.sigmoid(self._projected("gate", query))
        outputs = self._projected("output", outputs)
        if not return_attention_scores:
            return outputs
        assert scores is not None
        return outputs, frame.restored_scores(scores)

    def _of_order(self, frame: _Frame, use_causal_mask: bool, left_to_kernel: bool) -> list[torch.Tensor]:
        """The masks that follow from the order of the positions. Errors: a ValueError where these have none."""
        if (use_causal_mask or self.sliding_window) and len(frame.attended) > 1:
            what = "use_causal_mask" if use_causal_mask else "sliding_window"
            raise ValueError(
                f"{self.title}: {what} goes by the order of the positions, which several attention_axes "
                f"{frame.attended} do not have. Attend along one axis."
            )
        sizes = (frame.queries, frame.keys)
        masks = [causal(*sizes, frame.device)] if use_causal_mask and not left_to_kernel else []
        return [*masks, band(*sizes, self.sliding_window, frame.device)] if self.sliding_window else masks

    def _fitted(self, mask: Any, frame: _Frame) -> torch.Tensor | None:
        """The attention mask as (others, heads or 1, queries, keys). Errors: a ShapeError if it does not broadcast."""
        if mask is None:
            return None
        mask = torch.as_tensor(mask, device=frame.device)
        full, count = frame.score_shape, 2 * len(frame.attended)
        missing = len(full) - mask.dim()
        shape = (*mask.shape[: mask.dim() - count], *(1,) * missing, *mask.shape[mask.dim() - count :])
        if mask.dim() < count or missing < 0 or any(a not in (1, b) for a, b in zip(shape, full, strict=True)):
            short = (full[0], *full[-count:])
            raise ShapeError(
                f"{self.title} cannot lay its attention_mask over its scores.",
                layer=self.name,
                received=f"an attention_mask of {tuple(mask.shape)}",
                expected=f"{short}, or {full} with a mask for each head; 1 where an axis is not distinguished",
                because="the mask says for each position of the query at which positions of the keys it may look",
                mend=f"a mask of the keys, {(full[0], full[-1])}, goes into key_mask=; else give it an axis of 1 for "
                "what it does not distinguish",
            )
        mask = mask.reshape(shape)
        if len(frame.attended) > 1:
            mask = mask.expand(*shape[:-count], *full[-count:])
            mask = mask.reshape(*shape[:-count], frame.queries, frame.keys)
        return mask

    def _fused(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        mask: torch.Tensor | None,
        is_causal: bool,
        rate: float,
    ) -> torch.Tensor:
        """torch's kernel, which never holds all scores where it can."""
        if mask is not None and not self.dropout:  # with dropout Keras gives zeros where a query sees nothing, as torch
            mask = as_summand(mask, q.dtype)
        with self._kernels():
            try:
                return scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate, is_causal=is_causal)
            except RuntimeError as error:
                if self.flash_attention and "kernel" in str(error):
                    raise LaminaError(
                        f"{self.title}: flash_attention=True, and torch has no such kernel for {q.dtype} on {q.device}"
                        f"{'' if mask is None else ' with a mask'}. Leave flash_attention out: torch then takes the "
                        f"fastest kernel that fits."
                    ) from error
                raise

    def _kernels(self) -> Any:
        if self.flash_attention is None:
            return nullcontext()
        others = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]
        return sdpa_kernel([SDPBackend.FLASH_ATTENTION] if self.flash_attention else others)

    def _by_scores(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.flash_attention:
            raise ValueError(
                f"{self.title}: flash_attention=True never holds the scores. Leave it out to have them returned."
            )
        scores = self._softmax(torch.matmul(q * (1 / math.sqrt(self._key_size)), k.transpose(-1, -2)), mask=mask)
        return torch.matmul(self._dropout_layer(scores), v), scores

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["flash_attention"]  # says how to compute, not what
        config["activity_regularizer"] = serialize_keras_object(self._activity_regularizer)
        return config


class _Frame:
    """How (batch, positions, heads, features) become (others, heads, queries, features), and back.

    `others` are the axes along which nothing attends: the batch, and with `attention_axes` some of the positions. They
    are one axis for the kernel, as are the attended ones.
    """

    def __init__(self, query: torch.Tensor, key: torch.Tensor, axes: Any, heads: int):
        rank = query.dim()
        self.attended = tuple(range(1, rank - 1)) if axes is None else tuple(axis % rank for axis in axes)
        self.plain = rank == 3
        self.others = [axis for axis in range(rank - 1) if axis not in self.attended]
        self.outside = [query.shape[axis] for axis in self.others]
        self.query_sizes = [query.shape[axis] for axis in self.attended]
        self.key_sizes = [key.shape[axis] for axis in self.attended]
        self.queries, self.keys = math.prod(self.query_sizes), math.prod(self.key_sizes)
        self.heads, self.device = heads, query.device

    @property
    def score_shape(self) -> tuple[int, ...]:
        return (*self.outside, self.heads, *self.query_sizes, *self.key_sizes)

    def arranged(self, tensor: torch.Tensor, of_keys: bool = False) -> torch.Tensor:
        if self.plain:
            return tensor.transpose(1, 2)
        rank = tensor.dim()
        tensor = tensor.permute(*self.others, rank - 2, *self.attended, rank - 1)
        if of_keys:
            tensor = tensor.expand(*self.outside, *tensor.shape[len(self.others) :])
        count = self.keys if of_keys else self.queries
        return tensor.reshape(-1, tensor.shape[len(self.others)], count, tensor.shape[-1])

    def restored(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.plain:
            return tensor.transpose(1, 2)
        tensor = tensor.reshape(*self.outside, self.heads, *self.query_sizes, tensor.shape[-1])
        rank = tensor.dim()
        order = (*self.others, rank - 2, *self.attended, rank - 1)
        return tensor.permute([order.index(axis) for axis in range(rank)])

    def restored_scores(self, scores: torch.Tensor) -> torch.Tensor:
        return scores if self.plain else scores.reshape(self.score_shape)

    def of_query(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        """A mask of the query's positions as (others, 1, queries, 1)."""
        return None if mask is None else self._positions(mask)[..., None, :, None]

    def of_keys(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        """A mask of the keys' positions as (others, 1, 1, keys)."""
        return None if mask is None else self._positions(mask)[..., None, None, :]

    def _positions(self, mask: torch.Tensor) -> torch.Tensor:
        return mask if self.plain else mask.permute(*self.others, *self.attended).flatten(len(self.others))

    def flat(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        """A mask for what `arranged` gives: the axes outside as one."""
        if mask is None or len(self.others) == 1 or mask.dim() <= 3:
            return mask
        return mask.expand(*self.outside, *mask.shape[-3:]).reshape(-1, *mask.shape[-3:])

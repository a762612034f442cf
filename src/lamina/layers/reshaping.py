"""Layers that move numbers and change none: Flatten, Reshape, Permute and RepeatVector."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.config import standardize_data_format
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.engine.forms import Form, Reshaped
from lamina.layers.parts import expect_rank, positive_integer
from lamina.layers.same_shape import KeepsType, here_but
from lamina.shapes import Axes, Readings, Size, axis_names, multiply, value_of


class _Rearranging(KeepsType):
    """A layer that puts the positions of several axes into others."""

    def readings(self, *inputs: Axes) -> Readings | None:
        return [{}]


@public("layers")
class Flatten(_Rearranging):
    """All axes but the batch in one, the channels varying fastest in both data formats.

    Shapes: (batch, a, b, ...) → (batch, a·b·...). No weights.

    >>> import lamina
    >>> lamina.layers.Flatten()(lamina.Input((7, 7, 64))).shape
    (None, 3136)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format)

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, at_least=1)
        return Axes(("batch", "features"), (inputs.sizes[0], multiply(inputs.sizes[1:])))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.dim() == 1:
            return inputs.unsqueeze(1)
        if self.data_format == "channels_first" and inputs.dim() > 2:
            inputs = inputs.movedim(1, -1)
        return inputs.flatten(1)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        moves = self.data_format == "channels_first" and len(inputs[0].shape) > 2
        return None if moves else [Reshaped(self.call)]


@public("layers")
class Reshape(_Rearranging):
    """The same numbers in another shape; one size of `target_shape` may be -1 and follows from the others.

    Shapes: (batch, ...) → (batch, *target_shape). No weights.
    Errors: a ShapeError when the numbers of one example do not fill the target exactly.

    >>> import lamina
    >>> lamina.layers.Reshape((-1, 16))(lamina.Input((8, 8, 4))).shape
    (None, 16, 16)
    """

    def __init__(self, target_shape: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)
        sizes = [-1 if size is None else size for size in self.target_shape]
        if sizes.count(-1) > 1 or any(size < -1 for size in sizes):
            raise ValueError(f"Reshape: target_shape holds sizes, of which one may be -1; got {self.target_shape}.")

    def shape_rule(self, inputs: Axes) -> Axes:
        sizes: list[Size] = [-1 if size is None else size for size in self.target_shape]
        total = multiply(inputs.sizes[1:])
        number = value_of(total)
        known = multiply(size for size in sizes if size != -1)
        assert isinstance(known, int)
        if number is not None and (number % known if -1 in sizes and known else number != known):
            product = " · ".join(map(str, inputs.shape[1:])) or "1"
            product += f" = {number:,}" if inputs.rank > 2 else ""
            raise ShapeError(
                f"{self.title} cannot put {number:,} numbers into {self.target_shape}.",
                expected=f"{known:,} numbers in an example" if -1 not in sizes else f"a multiple of {known:,} numbers",
                because=f"one example holds {product} numbers, which "
                + (f"is no multiple of {known:,}" if -1 in sizes else f"is not {known:,}"),
                mend="choose sizes whose product is the number of an example's values; one of them may be -1",
            )
        if -1 in sizes:
            sizes[sizes.index(-1)] = None if total is None else total // known if known else 0
        return Axes(axis_names(len(sizes) + 1), (inputs.sizes[0], *sizes))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.shape[0] == 0:  # torch cannot infer -1 from no numbers
            sizes = self.shape_rule(Axes.of(tuple(inputs.shape))).shape
            return inputs.reshape([size or 0 for size in sizes])
        return inputs.reshape(inputs.shape[0], *[-1 if size is None else size for size in self.target_shape])

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return [Reshaped(self.call)]


@public("layers")
class Permute(KeepsType):
    """The axes in another order: `dims` lists them, counted from 1, without the batch.

    Shapes: (batch, a, b) with dims (2, 1) → (batch, b, a). No weights.
    Errors: dims that are no permutation of 1, 2, ... are a ValueError; an input of another rank is a ShapeError.

    >>> import lamina
    >>> lamina.layers.Permute((2, 1))(lamina.Input((10, 64))).shape
    (None, 64, 10)
    """

    def __init__(self, dims: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"Permute: dims is an order of 1 to the number of axes; got {self.dims}.")

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, len(self.dims) + 1)
        order = (0, *self.dims)
        return Axes(tuple(inputs.names[axis] for axis in order), tuple(inputs.sizes[axis] for axis in order))

    def readings(self, *inputs: Axes) -> Readings | None:
        return here_but(inputs[0], [])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.permute(0, *self.dims)


@public("layers")
class RepeatVector(KeepsType):
    """Each vector `n` times, as steps.

    Shapes: (batch, features) → (batch, n, features). No weights. Errors: an input of another rank is a ShapeError.

    >>> import lamina
    >>> lamina.layers.RepeatVector(3)(lamina.Input((32,))).shape
    (None, 3, 32)
    """

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        if not hasattr(n, "__index__"):
            raise TypeError(f"RepeatVector: n is a whole number; got {n!r}.")
        self.n = positive_integer(n, "RepeatVector: n")

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, 2)
        return Axes(("batch", "steps", "features"), (inputs.sizes[0], self.n, inputs.sizes[1]))

    def readings(self, *inputs: Axes) -> Readings | None:
        return here_but(inputs[0], [])

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.unsqueeze(1).expand(-1, self.n, -1)

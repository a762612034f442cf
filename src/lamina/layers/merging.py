"""Layers that join several tensors: element by element, end to end, or by a product over an axis."""

from __future__ import annotations

from functools import reduce
from typing import Any, ClassVar

import torch
from torch.nn import functional

from lamina.base import config, tree
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.engine.dtypes import is_float_name
from lamina.engine.forms import Form, Joined, Product, Sum
from lamina.graph.record import op
from lamina.layers.same_shape import KeepsType, position
from lamina.layers.symbolic import named_inputs
from lamina.shapes import FIRST, HERE, Axes, Readings, Size, axis_names, broadcast, total, value_of
from lamina.shapes import multiply as product


class _Merge(KeepsType):
    """What the layers that take a list of tensors share: the list's length and its shapes are checked at build."""

    supports_masking = True
    least: ClassVar[int] = 1
    most: ClassVar[int | None] = None

    def build(self, input_shape: Any) -> None:
        shapes = list(input_shape) if input_shape is not None and not tree.is_shape(input_shape) else None
        count = None if shapes is None else len(shapes)
        if shapes is None or len(shapes) < self.least or (self.most is not None and len(shapes) > self.most):
            wanted = f"exactly {self.most} " if self.most else f"at least {self.least} " if self.least > 1 else ""
            raise ShapeError(
                f"{self.title} takes a list of {wanted}tensors"
                f" and got {'one tensor' if count is None else f'{count} in the list'}.",
                expected=f"a list of {wanted}tensors",
                because="it joins the tensors of a list, and the list is its one argument",
                mend=f"call it as {type(self).__name__}()([a, b])",
            )
        self.shape_rule(*named_inputs(self, shapes))

    def _refuse(self, inputs: tuple[Axes, ...], one: int, other: int, axis: int, because: str, mend: str) -> ShapeError:
        """The error of two inputs, by number, that differ on an axis counted from the front of each."""
        sizes = [inputs[index].shape[axis] for index in (one, other)]
        name = inputs[one].names[axis]
        place = f"axis {axis % inputs[one].rank} ({name})"
        return ShapeError(
            f"{self.title}: inputs {one + 1} and {other + 1} differ on {place}: {sizes[0]} and {sizes[1]}.",
            expected=f"the same {'number of examples' if name == 'batch' else name} in all inputs"
            + (", or 1" if because is _NUMBER_BY_NUMBER else ""),
            because=because,
            mend=mend,
        )

    def _expect_same_batch(self, inputs: tuple[Axes, ...]) -> None:
        one, other = _first_difference([axes.sizes[0] for axes in inputs])
        if other:
            because = "the first axis counts the examples, which are joined one by one"
            raise self._refuse(inputs, one, other, 0, because, "give all inputs the same examples")


def _first_difference(sizes: list[Size], stretches: bool = False) -> tuple[int, int]:
    """The first two positions whose known sizes differ; (0, 0) if none do. With `stretches`, 1 meets any size."""
    known = [(index, value_of(size)) for index, size in enumerate(sizes)]
    known = [(index, size) for index, size in known if size is not None and not (stretches and size == 1)]
    return next(((known[0][0], index) for index, size in known if size != known[0][1]), (0, 0))


_NUMBER_BY_NUMBER = "they are combined number by number: on every axis the sizes must be equal, or one of them 1"


class _Elementwise(_Merge):
    """Tensors whose shapes broadcast behind the batch axis; one of fewer axes gets axes of 1 behind its batch."""

    def shape_rule(self, *inputs: Axes) -> Axes:
        self._expect_same_batch(inputs)
        longest = max(inputs, key=lambda axes: axes.rank)
        padded = tuple(self._padded(axes, longest) for axes in inputs)
        for axis in range(1, longest.rank):
            one, other = _first_difference([axes.sizes[axis] for axes in padded], stretches=True)
            if other:
                raise self._refuse(
                    padded, one, other, axis, _NUMBER_BY_NUMBER, _remedy(longest.names[axis], longest.rank)
                )
        return Axes(longest.names, broadcast(*[axes.sizes for axes in padded]))

    @staticmethod
    def _padded(axes: Axes, longest: Axes) -> Axes:
        missing = longest.rank - axes.rank
        return Axes(longest.names, (*axes.sizes[:1], *(1,) * missing, *axes.sizes[1:])) if missing else axes

    def readings(self, *inputs: Axes) -> Readings | None:
        longest = max(inputs, key=lambda axes: axes.rank)
        sizes = [value_of(size) for size in self.shape_rule(*inputs).sizes]
        found: Readings = []
        for axes in inputs:
            pairs = zip(self._padded(axes, longest), sizes, strict=True)
            found.append({name: FIRST if value_of(size) == 1 != made else HERE for (name, size), made in pairs})
        return found

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """A step is kept if an input keeps it; without a mask on each input, there is none."""
        if previous_mask is None or any(mask is None for mask in previous_mask):
            return None
        return reduce(_kept_by_either, previous_mask)

    def call(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        rank = max(tensor.dim() for tensor in inputs)
        return self._combine([_with_rank(tensor, rank) for tensor in inputs])

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        raise NotImplementedError


def _with_rank(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    missing = rank - tensor.dim()
    return tensor if not missing else tensor.reshape(tensor.shape[0], *(1,) * missing, *tensor.shape[1:])


def _remedy(name: str, rank: int) -> str:
    if name in ("features", "channels"):
        make = "a Dense layer" if rank < 4 else "a convolution with kernel_size=1"
        return f"bring both to the same {name} with {make}; Concatenate joins inputs of different {name}"
    return (
        f'let both branches shrink alike (strides, padding="same"), or cut one with a Cropping layer, so that they '
        f"have the same {name}"
    )


@op
def _kept_by_either(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    rank = max(one.dim(), other.dim())
    return _with_rank(one, rank).logical_or(_with_rank(other, rank))


@public("layers")
class Add(_Elementwise):
    """The sum of its inputs, number by number.

    Shapes: a list of shapes that broadcast → their common shape. No weights. Errors: sizes that differ, neither 1, are
    a ShapeError that names the inputs and the axis.

    >>> import lamina
    >>> lamina.layers.Add()([lamina.Input((8, 4)), lamina.Input((8, 4))]).shape
    (None, 8, 4)
    """

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return reduce(torch.add, tensors)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return [Sum()] if len(inputs) == 2 else None


@public("layers")
class Subtract(_Elementwise):
    """The first of two inputs minus the second. Shapes and errors as in `Add`.

    >>> import lamina
    >>> lamina.layers.Subtract()([torch.tensor([[3.0]]), torch.tensor([[1.0]])])
    tensor([[2.]])
    """

    least, most = 2, 2

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return tensors[0] - tensors[1]


@public("layers")
class Multiply(_Elementwise):
    """The product of its inputs, number by number. Shapes and errors as in `Add`.

    >>> import lamina
    >>> lamina.layers.Multiply()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[6.]])
    """

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return reduce(torch.mul, tensors)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return [Product()] if len(inputs) == 2 else None


@public("layers")
class Average(_Elementwise):
    """The mean of its inputs, number by number. Shapes and errors as in `Add`.

    >>> import lamina
    >>> lamina.layers.Average()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[2.5000]])
    """

    def output_dtype(self, *inputs: str) -> str:
        kept = super().output_dtype(*inputs)
        return kept if is_float_name(kept) else "float32"

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return reduce(torch.add, tensors) / len(tensors)


@public("layers")
class Maximum(_Elementwise):
    """The largest of its inputs, number by number. Shapes and errors as in `Add`.

    >>> import lamina
    >>> lamina.layers.Maximum()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[3.]])
    """

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return reduce(torch.maximum, tensors)


@public("layers")
class Minimum(_Elementwise):
    """The smallest of its inputs, number by number. Shapes and errors as in `Add`.

    >>> import lamina
    >>> lamina.layers.Minimum()([torch.tensor([[3.0]]), torch.tensor([[2.0]])])
    tensor([[2.]])
    """

    def _combine(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        return reduce(torch.minimum, tensors)


@public("layers")
class Concatenate(_Merge):
    """Its inputs end to end along `axis`.

    Shapes: shapes that differ on `axis` only → the same with the sum on `axis`. No weights. Errors: another number of
    axes, or sizes that differ elsewhere, are a ShapeError that names the inputs and the axis.

    >>> import lamina
    >>> lamina.layers.Concatenate()([lamina.Input((8, 3)), lamina.Input((8, 4))]).shape
    (None, 8, 7)
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def shape_rule(self, *inputs: Axes) -> Axes:
        first = inputs[0]
        for index, axes in enumerate(inputs):
            if axes.rank != first.rank:
                raise ShapeError(
                    f"{self.title}: inputs 1 and {index + 1} have {first.rank} and {axes.rank} axes.",
                    expected=f"{first.rank} axes in all inputs, as in the first",
                    because="inputs are joined along one axis, and must have all the others in common",
                    mend="give all the same number of axes, with Reshape or Flatten",
                )
        joined = position(self, first, self.axis)
        sizes: list[Size] = []
        for axis in range(first.rank):
            meeting = [axes.sizes[axis] for axes in inputs]
            if axis == joined:
                sizes.append(total(meeting))
                continue
            one, other = _first_difference(meeting)
            if other:
                along = f"axis {joined} ({first.names[joined]})"
                because = f"they are joined along {along}; on every other axis their sizes must be equal"
                name = first.names[axis]
                mend = f"make their {name} equal, or join along axis={axis} if it is the {name} that should add up"
                raise self._refuse(inputs, one, other, axis, because, mend)
            sizes.append(next((size for size in meeting if value_of(size) is not None), meeting[0]))
        return Axes(first.names, tuple(sizes))

    def readings(self, *inputs: Axes) -> Readings | None:
        joined = position(self, inputs[0], self.axis)
        return [{name: HERE if axis != joined else None for axis, name in enumerate(axes.names)} for axes in inputs]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """A step is kept if it was; joined along features, if an input keeps it. No mask counts as keeping all."""
        if previous_mask is None or all(mask is None for mask in previous_mask):
            return None
        return _joined_mask(list(inputs), list(previous_mask), self.axis)

    def call(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(list(inputs), dim=self.axis)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return [Joined()] if self.axis % len(inputs[0].shape) == len(inputs[0].shape) - 1 else None


@op
def _joined_mask(inputs: list[torch.Tensor], masks: list[torch.Tensor | None], axis: int) -> torch.Tensor:
    whole = []
    for tensor, mask in zip(inputs, masks, strict=True):
        if mask is None:
            mask = torch.ones((), dtype=torch.bool, device=tensor.device)
        else:
            mask = mask.reshape(*mask.shape, *(1,) * (tensor.dim() - mask.dim()))
        whole.append(mask.broadcast_to(tensor.shape))
    return torch.cat(whole, dim=axis).any(dim=-1)


@public("layers")
class Dot(_Merge):
    """The sums of products of two inputs over an axis of each; with `normalize`, of vectors of length 1 (cosines).

    Shapes: (batch, a..., n) and (batch, n, b...) with axes=(-1, 1) → (batch, a..., b...); two of (batch, n) →
    (batch, 1). No weights. `axes` is one axis for both or a pair. Errors: the two axes' sizes that differ are a
    ShapeError.

    >>> import lamina
    >>> lamina.layers.Dot(axes=(2, 1))([lamina.Input((4, 3)), lamina.Input((3, 5))]).shape
    (None, 4, 5)
    """

    least, most = 2, 2

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        pair = (axes, axes) if hasattr(axes, "__index__") else axes
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(hasattr(axis, "__index__") for axis in pair):
            raise TypeError(f"Dot: axes is a whole number or two of them; got {axes!r}.")
        self.__dict__["axes"] = axes
        self._pair = tuple(pair)
        self.normalize = normalize

    def shape_rule(self, *inputs: Axes) -> Axes:
        one, other = inputs
        self._expect_same_batch(inputs)
        left, right = position(self, one, self._pair[0]), position(self, other, self._pair[1])
        if 0 in (left, right):
            raise ShapeError(
                f"{self.title} has axes={self.axes}, and axis 0 counts the examples.",
                expected="axes from 1 on",
                because="examples are multiplied one by one",
                mend="choose an axis from 1 on",
            )
        sizes = value_of(one.sizes[left]), value_of(other.sizes[right])
        if None not in sizes and sizes[0] != sizes[1]:
            raise ShapeError(
                f"{self.title}: axis {left} of input 1 ({one.names[left]}) has {sizes[0]} numbers and axis {right} of "
                f"input 2 ({other.names[right]}) {sizes[1]}.",
                expected=f"as many numbers on axis {left} of input 1 as on axis {right} of input 2",
                because="the products of both are added up along these axes",
                mend="choose other axes=, or bring both to the same size",
            )
        kept = [axes.sizes[1:axis] + axes.sizes[axis + 1 :] for axes, axis in ((one, left), (other, right))]
        shape: tuple[Size, ...] = (one.sizes[0], *kept[0], *kept[1])
        shape = shape if len(shape) > 1 else (*shape, 1)
        return Axes(axis_names(len(shape)), shape)

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        one, other = inputs
        summed = position(self, other, self._pair[1])
        return product([*one.sizes[1:], *other.sizes[1:summed], *other.sizes[summed + 1 :]])

    def readings(self, *inputs: Axes) -> Readings | None:
        return None  # the axes that stay get other names

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None

    def call(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        one, other = inputs
        left, right = (axis % tensor.dim() for axis, tensor in zip(self._pair, inputs, strict=True))
        if self.normalize:
            one, other = (_to_length_one(tensor, axis) for tensor, axis in ((one, left), (other, right)))
        rows, columns = one.movedim(left, -1), other.movedim(right, 1)
        shape = (*rows.shape[:-1], *columns.shape[2:])
        products = torch.bmm(rows.reshape(len(rows), -1, rows.shape[-1]), columns.reshape(*columns.shape[:2], -1))
        return products.reshape(shape if len(shape) > 1 else (*shape, 1))


def _to_length_one(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    return functional.normalize(tensor, dim=axis, eps=config.epsilon())


@public("layers")
def add(inputs: Any, **kwargs: Any) -> Any:
    """`Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


@public("layers")
def subtract(inputs: Any, **kwargs: Any) -> Any:
    """`Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)


@public("layers")
def multiply(inputs: Any, **kwargs: Any) -> Any:
    """`Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


@public("layers")
def average(inputs: Any, **kwargs: Any) -> Any:
    """`Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


@public("layers")
def maximum(inputs: Any, **kwargs: Any) -> Any:
    """`Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


@public("layers")
def minimum(inputs: Any, **kwargs: Any) -> Any:
    """`Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


@public("layers")
def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis, **kwargs)(inputs)


@public("layers")
def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes, **kwargs)(inputs)

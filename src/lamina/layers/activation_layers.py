"""Activations as layers: Activation, ReLU, LeakyReLU, PReLU, ELU and Softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from lamina import activations
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.engine.forms import RELU, Form, relu_up_to
from lamina.layers.inference import activation_forms
from lamina.layers.parts import expect_size, take_parts
from lamina.layers.same_shape import SameShape, positions
from lamina.shapes import Axes


def _not_negative(value: Any, what: str, optional: bool = False) -> Any:
    if value is None and optional:
        return None
    if value is None or value < 0:
        raise ValueError(f"{what} is a number of at least 0; got {value!r}.")
    return value


@public("layers")
class Activation(SameShape):
    """An activation function as a layer: a name (`"relu"`) or a function of a tensor.

    Shapes: the input's. No weights.

    >>> import lamina
    >>> lamina.layers.Activation("relu")(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        take_parts(self, activation=activation)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.activation(inputs)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return activation_forms(self.activation)


@public("layers")
class ReLU(SameShape):
    """`x` above the threshold, at most `max_value`; `negative_slope * (x - threshold)` below.

    Shapes: the input's. No weights. Errors: a negative argument is a ValueError.

    >>> import lamina
    >>> lamina.layers.ReLU(max_value=6)(torch.tensor([-1.0, 2.0, 9.0]))
    tensor([0., 2., 6.])
    """

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.max_value = _not_negative(max_value, "ReLU: max_value", optional=True)
        self.negative_slope = _not_negative(negative_slope, "ReLU: negative_slope")
        self.threshold = _not_negative(threshold, "ReLU: threshold")

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        if self.negative_slope or self.threshold:
            return None
        return [RELU if self.max_value is None else relu_up_to(float(self.max_value))]


@public("layers")
class LeakyReLU(SameShape):
    """`x` above 0, `negative_slope * x` below. Maas et al. 2013.

    Shapes: the input's. No weights. Errors: a negative slope below 0 is a ValueError.

    >>> import lamina
    >>> lamina.layers.LeakyReLU(0.5)(torch.tensor([-1.0, 2.0]))
    tensor([-0.5000,  2.0000])
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        super().__init__(**kwargs)
        self.negative_slope = _not_negative(negative_slope, "LeakyReLU: negative_slope")

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activations.leaky_relu(inputs, self.negative_slope)


@public("layers")
class ELU(SameShape):
    """`x` above 0, `alpha * (exp(x) - 1)` below. Clevert et al. 2016.

    Shapes: the input's. No weights.

    >>> import lamina
    >>> lamina.layers.ELU()(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return activations.elu(inputs, self.alpha)


@public("layers")
class PReLU(SameShape):
    """`x` above 0, `alpha * x` below, with a learned slope `alpha` for each position. He et al. 2015.

    Shapes: the input's. Parameters: the product of the input's sizes without batch; an axis in `shared_axes` (counted
    with batch as 0) counts 1. Errors: after it was built, other sizes are a ShapeError.

    >>> import lamina
    >>> prelu = lamina.layers.PReLU(shared_axes=[1, 2])
    >>> prelu(lamina.Input((28, 28, 16))).shape, prelu.count_params()
    ((None, 28, 28, 16), 16)
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        take_parts(
            self,
            alpha_initializer=alpha_initializer,
            alpha_regularizer=alpha_regularizer,
            alpha_constraint=alpha_constraint,
        )
        shared = [shared_axes] if isinstance(shared_axes, int) else None if shared_axes is None else list(shared_axes)
        self.__dict__["shared_axes"] = shared
        self.alpha: Any = None

    def _shared(self, inputs: Axes) -> set[int]:
        return set(positions(self, inputs, self.shared_axes or ()))

    def build(self, input_shape: Any) -> None:
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        shared = self._shared(inputs)
        pairs = [(f"shared {n}", 1) if axis in shared else (n, size) for axis, (n, size) in enumerate(inputs)][1:]
        self.alpha = self.add_weight(
            tuple(size for _, size in pairs),
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
            name="alpha",
            axes=tuple(name for name, _ in pairs),
        )

    def shape_rule(self, inputs: Axes) -> Axes:
        shared = self._shared(inputs)
        if self.alpha is not None:
            why = f"it has one slope for each position: its alpha is {tuple(self.alpha.shape)}"
            for axis in set(range(1, min(inputs.rank, self.alpha.dim() + 1))) - shared:
                expect_size(self, inputs, axis, self.alpha.shape[axis - 1], "alpha", why)
        return inputs

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return functional.relu(inputs) - self.alpha * functional.relu(-inputs)


@public("layers")
class Softmax(SameShape):
    """`exp(x) / sum(exp(x))` along `axis`, or along several axes together.

    Shapes: the input's. No weights. Where `mask` is False the result is 0 and the rest sums to 1.
    Errors: a mask that does not broadcast to the input is a ShapeError.

    >>> import lamina
    >>> lamina.layers.Softmax()(torch.zeros(1, 3), mask=torch.tensor([[True, False, True]]))
    tensor([[0.5000, 0.0000, 0.5000]])
    """

    def __init__(self, axis: Any = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.__dict__["axis"] = axis

    def shape_rule(self, inputs: Axes) -> Axes:
        positions(self, inputs, self.axis)
        return inputs

    def taken_together(self, inputs: Axes) -> list[int]:
        return positions(self, inputs, self.axis)

    def call(self, inputs: torch.Tensor, mask: Any = None) -> torch.Tensor:
        if mask is None:
            return activations.softmax(inputs, self.axis)
        hidden = ~torch.as_tensor(mask, device=inputs.device).bool()
        try:
            hidden = hidden.broadcast_to(inputs.shape)
        except RuntimeError as error:
            raise ShapeError(
                f"{self.title} got a mask that does not broadcast to its input.",
                layer=self.name,
                received=f"an input of {tuple(inputs.shape)} and a mask of {tuple(hidden.shape)}",
                expected=f"a mask that broadcasts to {tuple(inputs.shape)}",
                because="a softmax's mask hides single numbers, not steps",
                mend="give a mask of the input's shape, with 1 where an axis is not distinguished",
            ) from error
        # Finite, so that a row in which all is hidden gives zeros and not NaN.
        scores = inputs.masked_fill(hidden, torch.finfo(inputs.dtype).min / 2)
        return activations.softmax(scores, self.axis).masked_fill(hidden, 0)

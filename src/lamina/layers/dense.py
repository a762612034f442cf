"""Layers that multiply by a matrix: Dense, EinsumDense and Embedding."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.registry import public
from lamina.engine.forms import Form, Linear
from lamina.layers.inference import activation_forms
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank, expect_size, known_size, positive_integer, take_parts
from lamina.layers.same_shape import here_but
from lamina.shapes import Axes, Readings, Size, multiply


@public("layers")
class Dense(Layer):
    """`activation(inputs · kernel + bias)` on the last axis.

    Shapes: (batch, ..., features) → (batch, ..., units). Parameters: features·units + units.
    Errors: after it was built, another number of features is a ShapeError.

    >>> import lamina
    >>> lamina.layers.Dense(10)(lamina.Input((128,))).shape
    (None, 10)
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_integer(units, "Dense: units")
        self.use_bias = use_bias
        take_parts(
            self,
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        self.kernel: Any = None
        self.bias: Any = None
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        inputs = Axes(self.axis_names(len(input_shape)), tuple(input_shape))
        expect_rank(self, inputs, at_least=2)
        features = known_size(self, inputs, -1)
        self.kernel = self.add_weight(
            (features, self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
            axes=("features", "units"),
        )
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
                axes=("units",),
            )

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, at_least=2)
        if self.kernel is not None:
            why = f"its kernel is {tuple(self.kernel.shape)}: the input's last axis meets the kernel's first"
            expect_size(self, inputs, -1, self.kernel.shape[0], "kernel", why)
        return inputs.replace_at(-1, self.units)

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        return multiply([*inputs[0].sizes[1:], self.units])

    def readings(self, *inputs: Axes) -> Readings | None:
        return here_but(inputs[0], [inputs[0].rank - 1])

    def call(self, inputs: torch.Tensor, training: bool | None = None) -> torch.Tensor:
        kernel = self.kernel
        inputs = inputs if inputs.dtype is kernel.dtype else inputs.to(kernel.dtype)
        outputs = torch.nn.functional.linear(inputs, kernel.t(), self.bias)
        return self.activation(outputs)

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return [Linear(self.kernel.detach(), self.bias), *activation_forms(self.activation)]

"""Layers that hand on, wrap a function, or mark steps: Identity, Lambda and Masking."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from lamina.base import tree
from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object
from lamina.engine.forms import Form
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.record import op
from lamina.layers import symbolic
from lamina.layers.layer import Layer
from lamina.layers.parts import expect_rank
from lamina.layers.same_shape import SameShape
from lamina.layers.signature import shape_of
from lamina.shapes import Axes


@public("layers")
class Identity(SameShape):
    """Its input, unchanged: a tensor, or a list or dict of tensors.

    Shapes: the input's. No weights.

    >>> import lamina
    >>> lamina.layers.Identity()(lamina.Input((3,))).shape
    (None, 3)
    """

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> Any:
        def twin(tensor: KerasTensor) -> KerasTensor:
            one, two = tensor.trial_shapes
            return KerasTensor(tensor.shape, self.output_dtype(tensor.dtype), trial_shapes=(one, two))

        return tree.map_structure(twin, inputs)

    def call(self, inputs: Any) -> Any:
        return inputs

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        return []


@public("layers")
class Masking(SameShape):
    """Masks the steps whose features all equal `mask_value`, and sets them to 0.

    Shapes: (batch, steps, features) → the same, with a mask (batch, steps). No weights.

    >>> import lamina
    >>> lamina.layers.Masking()(torch.tensor([[[0.0, 0.0], [0.0, 1.0]]]))._keras_mask
    tensor([[False,  True]])
    """

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def shape_rule(self, inputs: Axes) -> Axes:
        expect_rank(self, inputs, at_least=2)
        return inputs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return _any_differs(inputs, self.mask_value)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * inputs.ne(self.mask_value).any(dim=-1, keepdim=True).to(inputs.dtype)


@op
def _any_differs(inputs: torch.Tensor, value: float) -> torch.Tensor:
    return inputs.ne(value).any(dim=-1)


@public("layers")
class Lambda(Layer):
    """A function as a layer. For anything with weights, or that a file shall hold, write a `Layer`.

    Shapes: what the function gives, found by running it on meta tensors; or `output_shape`, without the batch axis (a
    tuple, or a function of the input's shape), which is then believed. Parameters: none; `arguments` are passed on by
    name, and so are `mask` and `training` to a function that takes them. `mask` is the output's mask or a function of
    (inputs, mask).
    Errors: a config needs a named function, so `get_config` of a layer around a lambda is a LaminaError.

    >>> import lamina
    >>> lamina.layers.Lambda(lambda x: x[:, :2])(lamina.Input((3,))).shape
    (None, 2)
    """

    def __init__(
        self,
        function: Any,
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        function, output_shape, mask = (
            deserialize_keras_object(part) if isinstance(part, dict) else part
            for part in (function, output_shape, mask)
        )
        if not callable(function):
            raise TypeError(f"Lambda takes a function of the inputs; got {function!r}.")
        self.function = function
        own = self.__dict__  # plain: neither a list nor a dict among them holds weights
        own["arguments"] = dict(arguments or {})
        own["mask"] = mask
        own["output_shape"] = tuple(output_shape) if isinstance(output_shape, list) else output_shape
        own["_passes"] = _optional_arguments(function)
        self.supports_masking = mask is not None
        own["_makes_mask"] = mask is not None

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        if self.output_shape is None:
            return symbolic.output_spec(self, args, kwargs)
        inputs = symbolic.first_argument(args, kwargs)
        if callable(self.output_shape):
            return KerasTensor(self.output_shape(shape_of(inputs)), self.compute_dtype)
        batch = tree.flatten(inputs)[0].shape[0]
        return KerasTensor((batch, *self.output_shape), self.compute_dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        offered = {"mask": mask, "training": training}
        return self.function(inputs, **{**{name: offered[name] for name in self._passes}, **self.arguments})

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "function": serialize_keras_object(self.function)}
        return {
            name: value for name, value in config.items() if value is not None or name not in ("output_shape", "mask")
        }


def _optional_arguments(function: Any) -> tuple[str, ...]:
    """Which of `mask` and `training` a function takes."""
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in function without a signature
        return ()
    return tuple(name for name in ("mask", "training") if name in names)

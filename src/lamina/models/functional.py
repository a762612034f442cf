"""`Functional`: a model that is the graph between symbolic inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.base.registry import public
from lamina.base.serialization import own_class
from lamina.engine import dtypes
from lamina.engine.device import current_device
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.models import functional_config
from lamina.models.cuts import warn_if_cut_in_block
from lamina.models.model import Model
from lamina.training.trainer import Trainer


@public("models")
class Functional(Model):
    """A model between symbolic inputs and outputs (one tensor, or a list or dict of them).

    Errors: outputs that need an input which is not given; two layers of one name.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any):
        trainable = kwargs.pop("trainable", None)
        Layer.__init__(self, name=name, **{"autocast": False, **kwargs})
        Trainer.__init__(self)
        self._set_graph(Graph(*map(_as_given, (inputs, outputs))))
        if trainable is not None:
            self.trainable = trainable
        warn_if_cut_in_block(self, self.graph)

    def _set_graph(self, graph: Graph) -> None:
        own = self.__dict__
        own["graph"] = graph
        own["_mixed"] = False  # the layers cast for themselves
        own["_layers_in_order"] = [operation for operation in graph.operations if isinstance(operation, Layer)]
        names: dict[str, Any] = {}
        for operation in graph.operations:
            if names.setdefault(operation.name, operation) is not operation:
                raise ValueError(
                    f"The model {self.name!r} has two layers named {operation.name!r}: every name must be unique. "
                    f"Give one of them another name=."
                )
        for layer in own["_layers_in_order"]:
            if not isinstance(layer, InputLayer):
                self._modules[layer.name.replace(".", "_")] = layer
        own["_build_shapes"] = None
        self.built = True

    @property  # type: ignore[misc]
    def layers(self) -> list[Any]:
        """The layers, sorted by depth from the inputs as Keras sorts them."""
        return list(self._layers_in_order)

    @property
    def operations(self) -> list[Any]:
        """The layers and the functions between them."""
        return list(self.graph.operations)

    def _weight_children(self) -> Any:
        extra = [
            child for child in super()._weight_children() if not any(child is one for one in self._layers_in_order)
        ]
        return iter([*self._layers_in_order, *extra])

    @property
    def inputs(self) -> list[KerasTensor]:
        return list(self.graph.inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        return list(self.graph.outputs)

    @property
    def input(self) -> Any:
        return self.graph.input_structure

    @property
    def output(self) -> Any:
        return self.graph.output_structure

    @property
    def input_names(self) -> list[str]:
        return [tensor._keras_history.operation.name for tensor in self.graph.inputs if tensor._keras_history]

    @property
    def output_names(self) -> list[str]:
        """The names of the layers that make the outputs."""
        return [tensor._keras_history.operation.name for tensor in self.graph.outputs if tensor._keras_history]

    @property
    def input_shape(self) -> Any:
        return tree.map_structure(lambda tensor: tensor.shape, self.graph.input_structure)

    @property
    def output_shape(self) -> Any:
        return tree.map_structure(lambda tensor: tensor.shape, self.graph.output_structure)

    def build(self, input_shape: Any) -> None:
        """A graph is built already."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        values = self._match_inputs(inputs)
        if mask is not None:
            for value, one in zip(values, tree.flatten(mask), strict=False):
                if one is not None:
                    value._keras_mask = one
        tensors = [self._fit(value, symbol) for value, symbol in zip(values, self.graph.inputs, strict=True)]
        return self.graph.run(tensors, training)

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        values = self._match_inputs(inputs)
        for value, symbol in zip(values, self.graph.inputs, strict=True):
            self._check_shape(tuple(value.shape), symbol)
        return self.graph.run_symbolic(values)

    def compute_output_shape(self, input_shape: Any) -> Any:
        symbols = tree.map_shapes(lambda shape: KerasTensor(shape), input_shape)
        return tree.map_structure(lambda tensor: tensor.shape, self.compute_output_spec(symbols))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return None  # the layers inside attach the masks of the outputs

    @property
    def _makes_mask(self) -> bool:
        return True

    @_makes_mask.setter
    def _makes_mask(self, value: bool) -> None:
        pass

    def _match_inputs(self, inputs: Any) -> list[Any]:
        """The given tensors in the order of the model's inputs; a dict goes by the inputs' names."""
        structure = self.graph.input_structure
        if isinstance(inputs, dict) and len(self.graph.inputs) >= 1:
            by_name = (
                structure
                if isinstance(structure, dict)
                else dict(zip(self.input_names, self.graph.inputs, strict=True))
            )
            missing = [key for key in by_name if key not in inputs]
            if not missing:
                return [inputs[key] for key in (sorted(by_name) if isinstance(structure, dict) else by_name)]
            if isinstance(structure, dict) or len(self.graph.inputs) > 1:
                raise ValueError(f"The model {self.name!r} misses the inputs {missing}; it got {sorted(inputs)}.")
        values = tree.flatten(inputs)
        if len(values) != len(self.graph.inputs):
            expected = ", ".join(f"{n} {t.shape}" for n, t in zip(self.input_names, self.graph.inputs, strict=True))
            raise ValueError(
                f"The model {self.name!r} has {len(self.graph.inputs)} inputs ({expected}) and got {len(values)}."
            )
        return values

    def _fit(self, value: Any, symbol: KerasTensor) -> torch.Tensor:
        """A tensor in the input's dtype; a missing or superfluous last axis of size 1 is mended, as in Keras."""
        if not isinstance(value, torch.Tensor):
            value = torch.as_tensor(np.asarray(value), device=current_device())
        wanted = dtypes.TORCH_DTYPES[symbol.dtype]
        if value.dtype is not wanted and not (value.dtype.is_floating_point and not wanted.is_floating_point):
            mask = getattr(value, "_keras_mask", None)
            value = value.to(wanted)
            if mask is not None:
                value._keras_mask = mask
        shape = tuple(value.shape)
        if not _fits(shape, symbol.shape):
            if shape[-1:] == (1,) and _fits(shape[:-1], symbol.shape):
                return value.squeeze(-1)
            if _fits((*shape, 1), symbol.shape):
                return value.unsqueeze(-1)
            self._check_shape(shape, symbol)
        return value

    def _check_shape(self, shape: tuple[int | None, ...], symbol: KerasTensor) -> None:
        if _fits(shape, symbol.shape):
            return
        name = symbol._keras_history.operation.name if symbol._keras_history else symbol.name
        raise ShapeError(
            f"The model {self.name!r} cannot take this shape as its input {name!r}.",
            layer=name,
            received=str(shape),
            expected=f"{symbol.shape}  the shape of the input {name!r}",
            because=_difference(shape, symbol.shape),
            mend=_mend(shape, symbol.shape),
        )

    def get_config(self) -> dict[str, Any]:
        if own_class(type(self)) is Functional and type(self).__init__ is not Functional.__init__:
            return super().get_config()
        return functional_config.config_of(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        from lamina.models.cloning import copy_model

        return copy_model(self, memo)


def _as_given(structure: Any) -> Any:
    """Lists in place of tuples and of tracked lists, so that results have the structure that was written."""
    if isinstance(structure, list | tuple):
        return [_as_given(item) for item in structure]
    if isinstance(structure, dict):
        return {key: _as_given(value) for key, value in structure.items()}
    if isinstance(structure, InputLayer):
        return structure.output
    return structure


def _fits(shape: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    return all(a == b or a is None or b is None for a, b in zip(shape, wanted, strict=True))


def _difference(shape: tuple[Any, ...], wanted: tuple[Any, ...]) -> str:
    if len(shape) != len(wanted):
        return f"it has {len(shape)} axes where the model reads {len(wanted)} (the first is the batch)"
    axis = next(
        i for i, (a, b) in enumerate(zip(shape, wanted, strict=True)) if a is not None and b is not None and a != b
    )
    return f"axis {axis} is {shape[axis]} where the model was built for {wanted[axis]}"


def _mend(shape: tuple[Any, ...], wanted: tuple[Any, ...]) -> str:
    """The usual mistake behind a wrong shape: no batch axis, no channel axis, channels first."""

    def fits(candidate: tuple[Any, ...]) -> bool:
        return _fits(candidate[1:], wanted[1:]) and len(candidate) == len(wanted)

    if fits((1, *shape)):
        return "add the batch axis: x[None]"
    if fits((*shape, 1)):
        return "add the channel axis: x[..., None]"
    if fits((1, *shape, 1)):
        return "add the batch and the channel axis: x[None, ..., None]"
    if len(shape) > 2 and fits((shape[0], *shape[2:], shape[1])):
        return "move the channels to the end: np.moveaxis(x, 1, -1)"
    if len(shape) > 2 and fits((shape[0], shape[-1], *shape[1:-1])):
        return "move the channels to the front: np.moveaxis(x, -1, 1)"
    if len(shape) > 1 and shape[0] == 1 and fits(shape[1:]):
        return "drop the first axis: x[0]"
    return "reshape the data, or build the model for this shape"

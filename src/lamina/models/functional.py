"""`Functional`: a model that is the graph between symbolic inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina.base import tree
from lamina.base.registry import public
from lamina.base.serialization import own_class
from lamina.engine import dtypes
from lamina.engine.device import current_device
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers.inference import is_watched
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.models import functional_config
from lamina.models.cuts import warn_if_cut_in_block
from lamina.models.model import Model
from lamina.models.named_outputs import OutputList, unique_names
from lamina.training.input_shapes import input_problem, trailing_change
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
        self.__dict__["_cut_in_block"] = warn_if_cut_in_block(self, self.graph)

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
        known = set(map(id, self._layers_in_order))
        return iter([*self._layers_in_order, *(one for one in super()._weight_children() if id(one) not in known)])

    @property
    def inputs(self) -> list[KerasTensor]:
        return list(self.graph.inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs as a list. Errors: an index out of range lists all with their names and shapes."""
        return OutputList(self.graph.outputs, self.output_names, self.name)

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
        """A name for every output: the layer's that makes it, with a number behind it where that one is taken.

        >>> import lamina
        >>> x = lamina.Input((4,))
        >>> same = lamina.layers.Dense(4, name="same")
        >>> once = same(x)
        >>> lamina.Model(x, [once, same(once)]).output_names
        ['same', 'same_1']
        """
        made = [tensor._keras_history for tensor in self.graph.outputs]
        return unique_names([history.operation.name for history in made if history is not None])

    def named_outputs(self, inputs: Any, training: bool | None = None) -> dict[str, torch.Tensor]:
        """The result of a call, `model(inputs)`, as a dict: by `output_names`, or by the model's own keys where its
        output is a dict.

        Shapes: `inputs` as the model takes them, batch axis first; out, each output's shape by its name.

        >>> import lamina, numpy as np
        >>> x = lamina.Input((8,))
        >>> hidden = lamina.layers.Dense(4, name="hidden")(x)
        >>> model = lamina.Model(x, [hidden, lamina.layers.Dense(2, name="score")(hidden)])
        >>> {name: tuple(one.shape) for name, one in model.named_outputs(np.ones((3, 8))).items()}
        {'hidden': (3, 4), 'score': (3, 2)}
        """
        result = self(inputs, training=training)
        if isinstance(self.graph.output_structure, dict):
            return {key: result[key] for key in self.graph.output_structure}
        return dict(zip(self.output_names, tree.flatten(result), strict=True))

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
        return self.graph.run(self._as_made_for(values), training)

    def _as_made_for(self, values: list[Any]) -> list[torch.Tensor]:
        """The inputs in the dtypes and with the axes of the graph's. Errors: a ShapeError."""
        values = [_in_dtype(value, symbol) for value, symbol in zip(values, self.graph.inputs, strict=True)]
        changes = self._check_shapes([tuple(value.shape) for value in values])
        return [_with_trailing(value, change) for value, change in zip(values, changes, strict=True)]

    def infer(self, inputs: Any) -> Any:
        if not self.does_only("graph_to_lay_open") or torch.is_grad_enabled() or is_watched():
            return self(inputs, training=False)
        values = self._as_made_for(self._match_inputs(inputs))
        if any(value.device.type != "cpu" or value.numel() == 0 for value in values):
            return self(inputs, training=False)
        try:
            return self.graph.run_folded(values)
        except Exception:
            self(inputs, training=False)  # says what is wrong with these inputs, if anything is
            raise

    @property
    def graph_to_lay_open(self) -> Graph | None:
        """The graph, for a folded program around it; None where a call does more than run it."""
        return self.graph if self.does_only("graph_to_lay_open") else None

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        values = self._match_inputs(inputs)
        self._check_shapes([tuple(value.shape) for value in values], trailing=False)
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

    def _input_keys(self) -> list[str]:
        """The keys under which a dict of data brings the inputs, in the order of the flat inputs."""
        structure = self.graph.input_structure
        return sorted(structure) if isinstance(structure, dict) else self.input_names

    def _match_inputs(self, inputs: Any) -> list[Any]:
        """The given tensors in the order of the model's inputs; a dict goes by the inputs' names."""
        if isinstance(inputs, dict):
            keys = self._input_keys()
            missing = [key for key in keys if key not in inputs]
            if not missing:
                return [inputs[key] for key in keys]
            if isinstance(self.graph.input_structure, dict) or len(keys) > 1:
                raise ValueError(f"The model {self.name!r} misses the inputs {missing}; it got {sorted(inputs)}.")
        values = tree.flatten(inputs)
        if len(values) != len(self.graph.inputs):
            expected = ", ".join(f"{n} {t.shape}" for n, t in zip(self.input_names, self.graph.inputs, strict=True))
            count = len(self.graph.inputs)
            raise ValueError(
                f"The model {self.name!r} has {count} input{'s' * (count > 1)} ({expected}) and got {len(values)}."
            )
        return values

    def check_input_shapes(self, x: Any) -> None:
        """For training: the whole data's shapes against the inputs. Errors: a ShapeError in the words of the caller."""
        values = self._match_inputs(x)
        if isinstance(x, dict):
            keys = self._input_keys()
            names = [f"x[{key!r}]" for key in (keys if set(keys) <= set(x) else x)]
        else:
            names = [f"x[{index}]" for index in range(len(values))] if len(values) > 1 else ["x"]
        self._check_shapes([tuple(value.shape) for value in values], names)

    def _check_shapes(
        self, shapes: list[tuple[int | None, ...]], data: list[str] | None = None, trailing: bool = True
    ) -> list[int]:
        """What the trailing axis of each input must do (with `trailing`; see `trailing_change`). Errors: a ShapeError
        for the first that does not fit."""
        changes = []
        for place, (shape, symbol) in enumerate(zip(shapes, self.graph.inputs, strict=True)):
            change = trailing_change(shape, symbol.shape)
            if change is None or (change and not trailing):
                wanted = [tensor.shape for tensor in self.graph.inputs]
                raise input_problem(place, shapes, wanted, self.name, self.input_names, data)
            changes.append(change)
        return changes

    def get_config(self) -> dict[str, Any]:
        if own_class(type(self)) is Functional and type(self).__init__ is not Functional.__init__:
            return super().get_config()
        return functional_config.config_of(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For pickles between processes that trust each other: reading any pickle runs what it says."""
        from lamina.models.pickling import pickled

        return super().__reduce_ex__(protocol) if self.graph is None else pickled(self)

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


def _in_dtype(value: Any, symbol: KerasTensor) -> torch.Tensor:
    """A tensor in the input's dtype, with its mask."""
    if not isinstance(value, torch.Tensor):
        value = torch.as_tensor(np.asarray(value), device=current_device())
    wanted = dtypes.TORCH_DTYPES[symbol.dtype]
    if value.dtype is not wanted and not (value.dtype.is_floating_point and not wanted.is_floating_point):
        mask = getattr(value, "_keras_mask", None)
        value = value.to(wanted)
        if mask is not None:
            value._keras_mask = mask
    return value


def _with_trailing(value: torch.Tensor, change: int) -> torch.Tensor:
    return value if not change else value.unsqueeze(-1) if change > 0 else value.squeeze(-1)

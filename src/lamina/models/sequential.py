"""`Sequential`: layers one after the other."""

from __future__ import annotations

from typing import Any

from lamina.base import names
from lamina.base.registry import public
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object
from lamina.base.trust import described
from lamina.graph.function import Graph
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers.context import CONTEXT, name_scope
from lamina.layers.input_layer import InputLayer
from lamina.layers.layer import Layer
from lamina.models.functional import Functional
from lamina.models.model import Model
from lamina.training.trainer import Trainer


@public("models")
class Sequential(Functional):
    """A stack of layers, each of which takes what the one before it gives.

    Without an input shape the layers are built by the first call. Errors: a layer behind one with several outputs, two
    layers of one name.

    >>> import lamina
    >>> model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3), lamina.layers.Dense(2)])
    >>> model.output_shape, model.count_params()
    ((None, 2), 23)
    """

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any):
        Layer.__init__(self, trainable=trainable, name=name, **{"autocast": False, **kwargs})
        Trainer.__init__(self)
        own = self.__dict__
        own["graph"] = None
        own["_mixed"] = False
        own["_stack"] = []
        own["_tensors"] = []  # what each layer of the stack gives, as far as they have been called
        own["_handed_out"] = set()  # the ids of outputs that a user took
        own["_layers_in_order"] = []
        for layer in layers or []:
            self.add(layer, rebuild=False)
        self._try_to_build()

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Appends a layer (or what `Input()` returns, as the first). Errors: a repeated name is a ValueError."""
        if isinstance(layer, KerasTensor):
            layer = layer._keras_history.operation if layer._keras_history else layer
        if not isinstance(layer, Layer):
            if callable(layer) and hasattr(layer, "parameters"):
                raise ValueError(
                    f"Sequential takes lamina layers; put the torch module {type(layer).__name__} into a Layer."
                )
            raise ValueError(f"Sequential.add takes a layer; got {layer!r:.100}.")
        if any(layer.name == other.name for other in self._stack):
            raise ValueError(
                f"The model {self.name!r} has a layer named {layer.name!r} already: every name must be unique. "
                f"Give it another name=, or do not add the same layer twice."
            )
        if isinstance(layer, InputLayer) and self._stack:
            raise ValueError(
                f"The input {layer.name!r} can only be the first of a Sequential, which has {len(self._stack)} layers."
            )
        before = list(self._stack)
        declared = layer._declared_shape
        if not self._stack and declared is not None and not isinstance(layer, InputLayer):
            self._stack.append(InputLayer(batch_shape=declared, dtype=_input_dtype(layer)))
        elif not self._stack and isinstance(layer, Functional) and layer.graph is not None and len(layer.inputs) == 1:
            self._stack.append(InputLayer(batch_shape=layer.inputs[0].shape, dtype=layer.inputs[0].dtype))
        self._stack.append(layer)
        if not isinstance(layer, InputLayer):
            self._modules[layer.name.replace(".", "_")] = layer
        if rebuild:
            try:
                self._try_to_build()
            except Exception:
                self._modules.pop(layer.name.replace(".", "_"), None)
                self._stack[:] = before
                raise

    def pop(self, rebuild: bool = True) -> Any:
        """Takes the last layer off and returns it."""
        if not self._stack or isinstance(self._stack[-1], InputLayer):
            raise ValueError(f"The model {self.name!r} has no layer to take off.")
        layer = self._stack.pop()
        del self._tensors[len(self._stack) :]
        self._modules.pop(layer.name.replace(".", "_"), None)
        self.__dict__["graph"] = None
        self.built = False
        if rebuild:
            self._try_to_build()
        return layer

    def _try_to_build(self) -> None:
        if self._stack and isinstance(self._stack[0], InputLayer):
            self._build_stack()
        else:
            self.__dict__["_layers_in_order"] = list(self._stack)

    def _build_stack(self) -> None:
        tensors = self._tensors
        if not tensors:
            tensors.append(self._stack[0].output)
        with name_scope(*(() if CONTEXT.names[-1:] == (self.name,) else (self.name,))):
            for layer in self._stack[len(tensors) :]:  # a layer is called once, also where layers are added one by one
                tensor = layer(tensors[-1])
                if id(tensors[-1]) in self._handed_out:
                    tensors[-1]._outgrown_by = layer  # for check(): whoever took this output goes on without the layer
                if not isinstance(tensor, KerasTensor):
                    raise ValueError(
                        f"Sequential needs layers with one output; {layer.title} gives {type(tensor).__name__}. "
                        f"Use Model(inputs, outputs)."
                    )
                tensors.append(tensor)
        names.auto_name("functional")  # Keras's Sequential holds a Functional, which takes a name
        self.__dict__["graph"] = Graph(tensors[0], tensors[-1])
        self.__dict__["_layers_in_order"] = list(self._stack)
        self.built = True

    def build(self, input_shape: Any = None) -> None:
        """Builds the layers for an input shape with the batch axis."""
        if self.graph is not None:
            return
        if input_shape is None or not self._stack:
            raise ValueError(f"The model {self.name!r} needs layers and an input shape (batch axis first) to be built.")
        self._stack.insert(0, InputLayer(batch_shape=tuple(input_shape), dtype=_input_dtype(self._stack[0])))
        try:
            self._build_stack()
        except Exception:
            self._stack.pop(0)
            self._tensors.clear()
            raise

    def _ensure_built(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A first call builds the stack for any batch size."""
        if self.graph is not None:
            return
        inputs: Any = args[0] if args else next(iter(kwargs.values()), None)
        if not hasattr(inputs, "shape"):
            raise ValueError(
                f"Sequential {self.name!r} takes one tensor and got {type(inputs).__name__}. For several inputs use "
                f"Model(inputs, outputs)."
            )
        self.build((None, *tuple(inputs.shape)[1:]))

    @property  # type: ignore[misc]
    def layers(self) -> list[Any]:
        """The layers without the input."""
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    def _needs_graph(self, what: str) -> Graph:
        if self.graph is None:
            raise AttributeError(
                f"Sequential {self.name!r} has no {what} yet: it was not built. Give it an Input first, "
                f"build(input_shape), or call it on data."
            )
        return self.graph

    @property
    def inputs(self) -> list[KerasTensor]:
        return list(self._needs_graph("inputs").inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        self._handed_out.update(map(id, self._needs_graph("outputs").outputs))
        return super().outputs

    @property
    def output(self) -> Any:
        self._handed_out.update(map(id, self._needs_graph("output").outputs))
        return super().output

    @property
    def input_shape(self) -> Any:
        return self._needs_graph("input_shape").inputs[0].shape

    @property
    def output_shape(self) -> Any:
        return self._needs_graph("output_shape").outputs[0].shape

    @property
    def operations(self) -> list[Any]:
        return list(self._stack)

    def compute_output_spec(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        self._ensure_built((inputs,), {})
        return super().compute_output_spec(inputs, training, mask)

    def get_config(self) -> dict[str, Any]:
        if type(self).get_config is not Sequential.get_config and type(self).__init__ is not Sequential.__init__:
            return Model.get_config(self)
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize_keras_object(self.dtype_policy),
            "layers": [serialize_keras_object(layer) for layer in self._stack],
        }
        if self.graph is not None:
            config["build_input_shape"] = tuple(self.graph.inputs[0].shape)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        if "layers" not in config:
            return cls(**config)
        with described({"class_name": cls.__name__, "config": config}):
            model = cls(name=config.get("name") or names.auto_name(cls.__name__), dtype=config.get("dtype"))
            for layer in config["layers"]:
                model.add(deserialize_keras_object(layer, custom_objects), rebuild=False)
            model._try_to_build()
            shape = config.get("build_input_shape")
            if model.graph is None and shape and model._stack:
                model.build(tuple(shape))
        model.trainable = config.get("trainable", True) if not config.get("trainable", True) else model.trainable
        return model


def _input_dtype(layer: Any) -> Any:
    """The dtype of the input that a first layer reads: whole numbers for an Embedding, floats for the others."""
    return getattr(layer, "input_dtype", None) if type(layer).__name__ == "Embedding" else layer.variable_dtype

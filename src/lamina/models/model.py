"""`Model`: a layer that is trained, saved and summarised."""

from __future__ import annotations

import json
from typing import Any

import torch

from lamina import saving
from lamina.base import tree
from lamina.base.errors import LaminaError
from lamina.base.registry import nearest, public
from lamina.base.serialization import serialize_keras_object
from lamina.base.trust import described
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers.layer import Layer
from lamina.layers.signature import shape_of, tensor_arguments
from lamina.layers.symbolic import note_first_call
from lamina.layers.weights import children
from lamina.models.inspection import Inspected
from lamina.saving.dialect import to_keras
from lamina.training.trainer import Trainer


def gives_graph(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether constructor arguments say inputs and outputs, so that the model is a Functional."""
    names = set(kwargs)
    return (
        len(args) >= 2
        or (len(args) == 1 and bool(names & {"outputs", "output"}))
        or {"inputs", "outputs"} <= names
        or {"input", "output"} <= names
    )


@public("models")
class Model(Inspected, Trainer, Layer):
    """Layers that are trained together; a `torch.nn.Module`.

    `Model(inputs, outputs)` makes a functional model of what lies between symbolic tensors. A subclass makes its layers
    in the constructor and calls them in `call(inputs)`.

    >>> import lamina
    >>> x = lamina.Input((4,))
    >>> model = lamina.Model(x, lamina.layers.Dense(2)(x))
    >>> model.output_shape, model.count_params()
    ((None, 2), 10)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Model and gives_graph(args, kwargs):
            from lamina.models.functional import Functional

            cls = Functional
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any):
        if gives_graph(args, kwargs):
            from lamina.models.functional import Functional

            given = type(self)
            self.__class__ = type(given.__name__, (given, Functional), {"__module__": given.__module__})
            Functional.__init__(self, *args, **kwargs)  # type: ignore[arg-type]
            return
        if args:
            raise TypeError(
                f"{type(self).__name__}() takes inputs and outputs, or no positional argument; got {args!r:.100}."
            )
        Layer.__init__(self, **kwargs)
        Trainer.__init__(self)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"The model {self.name!r} ({type(self).__name__}) has no call() method.")

    def infer(self, inputs: Any) -> Any:
        """`self(inputs, training=False)` for `predict`: a model that is a graph runs folded, with fewer calls.

        Shapes: the inputs' and outputs' of a call. Numbers are a call's up to rounding, about 1e-6 in float32.

        >>> import lamina
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> model.infer(torch.ones(1, 3)).shape
        torch.Size([1, 2])
        """
        return self(inputs, training=False)

    @property
    def layers(self) -> list[Any]:
        """The layers of the model, those of nested models not included."""
        return [child for child in children(self) if isinstance(child, torch.nn.Module)]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            "model.layers is read from the model; add layers in the constructor, or use Sequential.add()."
        )

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """A layer by its name or by its place in `layers`. Errors: a ValueError shows the nearest name."""
        layers = self.layers
        if (name is None) == (index is None):
            raise ValueError("get_layer() takes a name or an index, one of them.")
        if index is not None:
            if not -len(layers) <= index < len(layers):
                ends = "" if not layers else f", from 0 ({layers[0].name!r}) to {len(layers) - 1} ({layers[-1].name!r})"
                raise ValueError(
                    f"The model {self.name!r} has {len(layers)} layers{ends}; there is none at index {index}."
                )
            return layers[index]
        names = [str(getattr(layer, "name", "")) for layer in layers]
        if name in names:
            return layers[names.index(name)]
        raise ValueError(f"The model {self.name!r} has no layer {name!r}.{nearest(str(name), names)}")

    @property
    def inputs(self) -> list[Any]:
        raise AttributeError(
            f"{type(self).__name__} {self.name!r} is no graph: a subclassed model has no symbolic inputs."
        )

    @property
    def outputs(self) -> list[Any]:
        raise AttributeError(
            f"{type(self).__name__} {self.name!r} is no graph: a subclassed model has no symbolic outputs."
        )

    def build(self, input_shape: Any) -> None:
        """Builds every layer by one trial call on symbols of this shape. Errors: those of the layers' shapes."""
        if self.built:
            return
        if type(self).call is not Model.call:
            self.compute_output_spec(self._symbols(input_shape))
        self.built = True

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes on which the model was built or first called, for any batch size; None before that."""
        if "_first_call" not in self.__dict__:
            return super().get_build_config()
        args, kwargs = self.__dict__["_first_call"]
        inputs = tensor_arguments(self._signature.bind(args, kwargs))
        shapes = {name: shape_of(value) for name, value in inputs.items()}
        first = {"input_shape": next(iter(shapes.values()))} if shapes else None
        if first is None or len(shapes) == 1:
            return first
        return {**first, "shapes_dict": {f"{name}_shape": shape for name, shape in shapes.items()}}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the model as `get_build_config` described it; one of several arguments by a trial call."""
        if self.built or not {"input_shape", "shapes_dict"} <= config.keys():
            super().build_from_config(config)
            return
        shapes = {name.removesuffix("_shape"): shape for name, shape in config["shapes_dict"].items()}
        self.compute_output_spec(**{name: self._symbols(shape) for name, shape in shapes.items()})
        self.built = True

    def _symbols(self, shape: Any) -> Any:
        return tree.map_shapes(lambda one: KerasTensor(one, self.compute_dtype), shape)

    def _ensure_built(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A first call of a subclassed model builds the layers on the way; nothing needs to be tried before it."""
        if type(self).build is Model.build:
            self.built = True
            note_first_call(self, args, kwargs)
        super()._ensure_built(args, kwargs)

    # Files.

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Writes the whole model: architecture, weights, compile settings and the optimizer's state.

        The end of the name says how: `.keras` as Keras 3 does; `.h5` or `.hdf5` as Keras 1 and 2 did, which have no
        place for a subclassed model; `.safetensors` with architecture and weights only, these by the names of
        `state_dict()`.

        Parameters: `overwrite=False` keeps an older file and is a FileExistsError then; `include_optimizer=False`
        leaves the optimizer's state out. Errors: a ValueError for another ending. An older file stays whole until the
        new one is.

        >>> import lamina, os, tempfile
        >>> model = lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(2)])
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("m.keras", "m.h5", "m.safetensors"):
        ...     model.save(os.path.join(folder, name))
        ...     print(name, lamina.models.load_model(os.path.join(folder, name)).output_shape)
        m.keras (None, 2)
        m.h5 (None, 2)
        m.safetensors (None, 2)
        """
        saving.save_model(self, filepath, overwrite=overwrite, **kwargs)

    def save_weights(self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None) -> None:
        """Writes the weights alone.

        The end of the name says how: `.weights.h5` as Keras 3 does, with the optimizer's state; `.weights.json`, or a
        `max_shard_size` in gigabytes, the same in several files and an index of them; `.safetensors` by the names of
        `state_dict()`; any other `.h5` or `.hdf5` by the names of the layers, as Keras 1 and 2 did.

        Errors: a ValueError for another ending, and for a model that is not built. For an example see `load_weights`.
        """
        saving.save_weights(self, filepath, overwrite=overwrite, max_shard_size=max_shard_size)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, by_name: bool = False, **kwargs: Any) -> Any:
        """Reads weights from any file that `save` or `save_weights` writes, of lamina or of Keras 1, 2 or 3: `.keras`,
        `.weights.h5`, `.weights.json`, `.h5`, `.hdf5` or `.safetensors`.

        All is compared before anything is read, and nothing changes where something does not fit.

        Parameters: `skip_mismatch` loads what fits and warns of the rest; `by_name`, for files of Keras 1 and 2, loads
        the layers whose names agree; `adapt_channels="repeat"|"mean"|"zero"` fits a first convolution that was trained
        on another number of input channels. Errors: a LaminaError that lists what is missing, unexpected or of another
        shape, with the nearest names; a ValueError for a model that is not built.

        >>> import lamina, os, tempfile
        >>> def net(units):
        ...     return lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(units, name="head")])
        >>> folder = tempfile.mkdtemp()
        >>> model, other = net(2), net(2)
        >>> for name in ("m.weights.h5", "m.weights.json", "m.h5", "m.safetensors"):
        ...     model.save_weights(os.path.join(folder, name))
        ...     other.load_weights(os.path.join(folder, name))
        ...     print(name, bool((other.layers[0].kernel == model.layers[0].kernel).all()))
        m.weights.h5 True
        m.weights.json True
        m.h5 True
        m.safetensors True
        """
        return saving.load_weights(self, filepath, skip_mismatch=skip_mismatch, by_name=by_name, **kwargs)

    # Configs.

    def to_json(self, **kwargs: Any) -> str:
        """The architecture as JSON, which `models.model_from_json` reads."""
        return json.dumps(to_keras(serialize_keras_object(self)), **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """A model of equal architecture with fresh weights."""
        from lamina.models import functional_config

        if functional_config.describes_graph(config):
            with described({"class_name": cls.__name__, "config": config}):
                return functional_config.model_from(cls, config, custom_objects)
        try:
            return cls(**config)
        except TypeError as error:
            raise LaminaError(
                f"{cls.__name__} cannot be made from its config {sorted(config)}: {error}. Write get_config() so that "
                f"it returns the constructor's arguments."
            ) from error

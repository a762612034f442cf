"""`Layer`: a torch Module with Keras's life: made, built on the first shape, called on tensors or symbols."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import numpy as np
import torch

from lamina import regularizers
from lamina.base import names, tree
from lamina.base.errors import ShapeError, warn_shape
from lamina.base.registry import public
from lamina.base.serialization import Configurable, own_class, serialize_keras_object
from lamina.base.spellings import accept_old_spellings
from lamina.engine import dtypes
from lamina.engine.device import current_device
from lamina.engine.variable import Variable
from lamina.graph.keras_tensor import KerasTensor, any_symbolic
from lamina.graph.node import Node
from lamina.graph.probe import in_trial, outside_trial
from lamina.layers import symbolic
from lamina.layers.context import CONTEXT, name_scope
from lamina.layers.inference import Inferring
from lamina.layers.signature import build_names, call_signature, shape_of, tensor_arguments
from lamina.layers.tracking import TrackedList, holds_modules, tracked
from lamina.layers.weights import WeightOwner
from lamina.shapes import Axes, Readings, Size, axis_names

_BASE_CONFIG = ("activity_regularizer", "trainable", "dtype", "autocast", "name")


@public("layers")
class Layer(Configurable, Inferring, WeightOwner):
    """The base of all layers, and a `torch.nn.Module`.

    A subclass makes its weights in `build(input_shape)` (or in the constructor) and computes in `call(inputs)`. It may
    state its shape rule in `shape_rule(axes)`; without one, shapes are found by running `call` on meta tensors.

    Parameters: `name`, given automatically as in Keras; `dtype`, a name or a policy; `trainable`;
    `activity_regularizer`, a loss on the outputs; `autocast`, whether float inputs are cast to the compute type.
    `input_shape`, `batch_shape`, `input_dim` say what the first layer of a Sequential takes.

    >>> import lamina
    >>> class Scale(lamina.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")
    ...     def call(self, x):
    ...         return x * self.factor
    >>> Scale()(lamina.Input((3,))).shape
    (None, 3)
    """

    supports_masking: bool = False

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        torch.nn.Module.__init__(self)
        self.training = False
        if name is not None and not isinstance(name, str):
            raise TypeError(f"A layer's name is a text; got {name!r}.")
        own = self.__dict__
        own["_name"] = name or names.auto_name(type(self).__name__)
        own["_trainable"] = bool(trainable)
        own["dtype_policy"] = dtypes.get(dtype)
        own["autocast"] = autocast
        own["built"] = False
        own["activity_regularizer"] = regularizers.get(activity_regularizer)
        own["_losses"] = []
        own["_changes"] = 0
        own["_made_weights"] = []
        own["_inbound_nodes"] = []
        own["_outbound_nodes"] = []
        own["_build_shapes"] = None
        own["_seen_outputs"] = []
        own["_initial_weights"] = kwargs.pop("weights", None)
        own["_declared_shape"] = _declared_shape(kwargs)
        own["_ignored_shape"] = None  # what was declared and is not what came
        if kwargs:
            raise TypeError(f"{type(self).__name__} has no argument {', '.join(map(repr, kwargs))}.")
        self._read_class()

    def _read_class(self) -> None:
        """What calls need to know of the class, so that a call looks up nothing."""
        own, cls = self.__dict__, type(self)
        own["_signature"] = call_signature(cls.call)
        own["_has_rule"] = cls.shape_rule is not Layer.shape_rule
        own["_makes_mask"] = cls.compute_mask is not Layer.compute_mask
        policy = own["dtype_policy"]
        own["_compute_type"] = dtypes.torch_dtype(policy.compute_dtype)
        own["_mixed"] = policy.compute_dtype != policy.variable_dtype

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _building(vars(cls)["build"])  # type: ignore[method-assign]
        if cls.__module__.startswith("lamina.") and "__init__" in vars(cls):
            cls.__init__ = accept_old_spellings(vars(cls)["__init__"])  # type: ignore[method-assign]

    # What a subclass writes.

    def build(self, input_shape: Any) -> None:
        """Makes the weights. The default makes none."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs. Every layer writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no call() method.")

    def shape_rule(self, *inputs: Any, **named: Any) -> Any:
        """The outputs' axes from the inputs' axes: the one statement of the layer's shapes."""
        raise NotImplementedError(f"{type(self).__name__} states no shape rule.")

    def rule_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """What of a call's arguments the shape rule reads: tensors, in its order, and settings by name. The default:
        the tensors in the first argument."""
        first = symbolic.first_argument(args, kwargs)
        return [leaf for leaf in tree.flatten(first) if hasattr(leaf, "shape")], {}

    def multiply_accumulates(self, inputs: list[Axes], outputs: list[Axes]) -> Size:
        """Products that are added up (convolutions, matrix products) for one example; None: the layer does not say."""
        return None

    def readings(self, *inputs: Axes) -> Readings | None:
        """For each input, by axis name, which positions of the axis one output position reads.

        An axis that is not named is read whole; one that is None is read in a way that is not said; None for all: the
        layer does not say. What receptive fields are made of.
        """
        return None

    def axis_names(self, rank: int) -> tuple[str, ...]:
        """What the layer calls the axes of an input of this rank."""
        return axis_names(rank, getattr(self, "data_format", None) or "channels_last")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The outputs' mask. The default hands the input's mask on if `supports_masking`."""
        return previous_mask if self.supports_masking else None

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs' shape for an input shape (or a list of them), from the shape rule or by probing."""
        return symbolic.output_shape(self, *args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The symbolic outputs of a call on symbolic inputs."""
        return symbolic.output_spec(self, args, kwargs)

    def output_dtype(self, *inputs: str) -> str:
        """The dtype of the outputs for inputs of these dtypes: the compute type."""
        return self.compute_dtype

    # Names and types.

    @property
    def name(self) -> str:
        return self.__dict__["_name"]

    @name.setter
    def name(self, name: str) -> None:
        self.__dict__["_name"] = name

    @property
    def title(self) -> str:
        """How messages call the layer: its class and its name."""
        return f"{type(self).__name__} {self.name!r}"

    @property
    def path(self) -> str:
        return "/".join((*CONTEXT.names, self.name))

    @property
    def compute_dtype(self) -> str:
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        return self.dtype_policy.variable_dtype

    @property
    def dtype(self) -> str:
        return self.variable_dtype

    @property
    def input_dtype(self) -> str:
        return self.compute_dtype

    # Calls.

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "_signature" not in self.__dict__:
            raise RuntimeError(f"{type(self).__name__}.__init__() does not call super().__init__().")
        for value in args:
            if isinstance(value, KerasTensor | list | tuple | dict) and any_symbolic(value):
                return self._call_symbolic(args, kwargs)
        if kwargs and any_symbolic(kwargs):
            return self._call_symbolic(args, kwargs)
        return self._call_eager(args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What torch calls: the layer's `call`."""
        return self.call(*args, **kwargs)

    def _call_eager(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args = tuple([self._standardize(value) for value in args])
        if kwargs:
            kwargs = {key: self._standardize(value) for key, value in kwargs.items()}
        masks = self._pass_masks(args, kwargs)
        given = kwargs.get("training") if self._signature.takes_training else kwargs.pop("training", None)
        if not self.built or self._made_weights:
            self._ensure_built(args, kwargs)
        training = given if given is not None else CONTEXT.training
        if training is None:
            training = self.training
        if self._signature.takes_training:
            kwargs["training"] = training
        before = (CONTEXT.training, CONTEXT.compute_dtype, CONTEXT.names, CONTEXT.depth)
        if given is not None or before[3] == 0:
            CONTEXT.training = bool(training)
        CONTEXT.compute_dtype = self._compute_type if self._mixed else None
        CONTEXT.names = (*before[2], self.name)
        CONTEXT.depth += 1
        if before[3] == 0:
            self._clear_losses()
        try:
            outputs = torch.nn.Module.__call__(self, *args, **kwargs)
        except ShapeError as error:
            raise symbolic.located(self, error, args, kwargs) from error.__cause__
        except (RuntimeError, IndexError, TypeError) as error:
            reason = symbolic.reason_of_failure(self, error, args, kwargs)
            if reason is None:
                raise
            raise reason from error
        finally:
            CONTEXT.training, CONTEXT.compute_dtype, CONTEXT.names, CONTEXT.depth = before
        if len(self._seen_outputs) < 2 or in_trial():
            symbolic.note_outputs(self, outputs)
        if self.activity_regularizer is not None:
            for output in tree.flatten(outputs):
                self.add_loss(self.activity_regularizer(output) / len(output))
        if masks is not None or self._makes_mask:
            symbolic.attach_masks(self, args, outputs, masks)
        return outputs

    def direct_call(self, inputs: list[KerasTensor]) -> tuple[Any, bool]:
        """For a graph's program: the cheapest correct way to call the built layer on tensors of these dtypes, and
        whether it takes `training`. Casting, regularising and nested contexts need the full call."""
        floats = [tensor.dtype for tensor in inputs if dtypes.is_float_name(tensor.dtype)]
        casts = self.autocast and any(dtype != self.compute_dtype for dtype in floats)
        takes_training = self._signature.takes_training
        if self._mixed or casts or self.activity_regularizer is not None or not self.built:
            return self, takes_training
        return partial(torch.nn.Module.__call__, self), takes_training

    def explain_failure(self, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception | None:
        """The shape error behind a failed direct call, completed with the layer's name and path."""
        if isinstance(error, ShapeError):
            return symbolic.located(self, error, args, kwargs)
        if isinstance(error, ValueError):
            return None
        return symbolic.reason_of_failure(self, error, args, kwargs)

    def _call_symbolic(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._signature.takes_training:
            kwargs.pop("training", None)
        kwargs = {key: value for key, value in kwargs.items() if value is not None or key not in ("training", "mask")}
        masks = symbolic.input_masks(self, args, kwargs)
        self._ensure_built(args, kwargs)
        try:
            outputs = self.compute_output_spec(*args, **kwargs)
        except ShapeError as error:
            raise symbolic.located(self, error, args, kwargs) from error.__cause__
        Node(self, args, kwargs, outputs)
        if masks is not None or self._makes_mask:
            symbolic.attach_masks(self, args, outputs, masks)
        return outputs

    def _standardize(self, value: Any) -> Any:
        """Arrays as tensors, and float tensors in the compute type."""
        if isinstance(value, torch.Tensor):
            if self.autocast and value.dtype is not self._compute_type and value.dtype.is_floating_point:
                mask = getattr(value, "_keras_mask", None)
                value = value.to(self._compute_type)
                if mask is not None:
                    value._keras_mask = mask
            return value
        if isinstance(value, np.ndarray | np.generic) or type(value).__module__.startswith("pandas"):
            return self._standardize(torch.as_tensor(np.asarray(value), device=current_device()))
        if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
            items = [self._standardize(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if isinstance(value, dict):
            return {key: self._standardize(item) for key, item in value.items()}
        return value

    def _pass_masks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Puts the masks that the inputs carry into the arguments that `call` has for them; returns the first's."""
        first = symbolic.input_masks(self, args, kwargs)
        if self._signature.mask_names:
            positional = list(zip(self._signature.names, args, strict=False))
            for position, (name, value) in enumerate([*positional, *kwargs.items()]):
                wanted = "mask" if position == 0 and self._signature.takes_mask else f"{name}_mask"
                if wanted in self._signature.mask_names and kwargs.get(wanted) is None:
                    mask = symbolic.mask_of(value)
                    if mask is not None:
                        kwargs[wanted] = mask
        given = kwargs.get("mask")
        return given if given is not None and first is None else first

    def _ensure_built(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.built:
            bound = tensor_arguments(self._signature.bind(args, kwargs))
            shapes = [shape_of(value) for name, value in bound.items() if not name.endswith("mask")]
            if shapes:
                self.look_at_input(shapes[0], next(iter(bound.values())))
            wanted = build_names(type(self).build)
            try:
                with outside_trial():
                    if len(wanted) <= 1:
                        self.build(shapes[0] if shapes else None)
                    else:
                        by_name = {f"{name}_shape": shape_of(value) for name, value in bound.items()}
                        self.build(**{name: by_name[name] for name in wanted if name in by_name})
            except ShapeError as error:
                raise symbolic.located(self, error, args, kwargs) from error.__cause__
            self.built = True
        self._adopt_made_weights()
        if self._initial_weights is not None:
            weights, self.__dict__["_initial_weights"] = self._initial_weights, None
            self.set_weights(weights)

    def look_at_input(self, shape: Any, source: Any) -> None:
        """Called before the layer is built on `source`, a tensor or symbol of this shape (or a structure of them): the
        place for warnings about what cannot be meant. Overriding methods call the base's."""
        check_declared(self, shape, source)

    # Losses.

    def add_loss(self, loss: Any) -> None:
        """Adds a scalar tensor to what training minimises; valid for the current call."""
        if in_trial():
            return
        for part in tree.flatten(loss):
            self.__dict__["_losses"].append(part)
        if not _seen_losses:
            _seen_losses.append(True)

    def _clear_losses(self) -> None:
        if _seen_losses:
            for layer in self._flatten_layers():
                if isinstance(layer, Layer):
                    layer.__dict__["_losses"].clear()

    @property
    def losses(self) -> list[Any]:
        """What `add_loss` and activity regularisers added in the last call, then the weights' regularisation losses."""
        if not _seen_losses and not Variable.any_regularized:
            return []
        added: list[Any] = []
        for layer in unique_layers(self):
            added.extend(layer.__dict__["_losses"])
        return added + [w.regularizer(w) for w in self.trainable_weights if getattr(w, "regularizer", None) is not None]

    @property
    def metrics(self) -> list[Any]:
        """The metrics that the layer and its sub-layers hold in attributes."""
        found: dict[int, Any] = {}
        for layer in unique_layers(self):
            for name, value in list(vars(layer).items()):
                if name in _OF_COMPILE:
                    continue
                for metric in value if isinstance(value, list) else (value,):
                    if hasattr(type(metric), "update_state") and hasattr(type(metric), "reset_state"):
                        found.setdefault(id(metric), metric)
        return list(found.values())

    # The graph.

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's only call. Errors: a ValueError after no call or several."""
        return symbolic.only_call(self).args[0] if symbolic.only_call(self).args else self._symbolic_inputs()

    def _symbolic_inputs(self) -> Any:
        tensors = symbolic.only_call(self).input_tensors
        return tensors[0] if len(tensors) == 1 else tensors

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's only call. Errors: a ValueError after no call or several."""
        return symbolic.only_call(self).outputs

    # Configs.

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments in plain values, from which `from_config` makes an equal layer."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        config["dtype"] = serialize_keras_object(self.dtype_policy)
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = serialize_keras_object(self.activity_regularizer)
        derived = Configurable.get_config(self) if _has_standard_config(self) else {}
        config.update({key: value for key, value in derived.items() if key not in _BASE_CONFIG or key not in config})
        for key in _BASE_CONFIG:
            if config.get(key, 0) is None or key == "autocast":
                config.pop(key, None)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer equal to the one that `get_config` described, with fresh weights."""
        if config.get("quantization_config", 0) is None:  # Keras writes it for layers that are not quantised
            config = {key: value for key, value in config.items() if key != "quantization_config"}
        return cls(**config)

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build` was called with, or None: the one shape, or those of several arguments by name, as Keras's files
        have them."""
        shapes = self._build_shapes
        if not shapes:
            return None
        return {"input_shape": next(iter(shapes.values()))} if len(shapes) == 1 else {"shapes_dict": dict(shapes)}

    def build_from_config(self, config: dict[str, Any]) -> None:
        if not self.built and config:
            shapes = {key: tree.map_shapes(tuple, value) for key, value in config.get("shapes_dict", config).items()}
            if len(shapes) == 1:
                self.build(*shapes.values())
            else:
                self.build(**shapes)
            self.built = True
            self._adopt_made_weights()

    # Module details.

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "training":
            self.note_change()
        if type(value) in (list, dict):
            value = tracked(value)
        elif holds_modules(value):
            super().__setattr__(f"{name}_items", TrackedList(value))
        if name == "built" or (isinstance(value, TrackedList) and not value):
            self.__dict__[name] = value
            if isinstance(value, TrackedList):
                self._modules[name] = value
            return
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self.note_change()
        super().__delattr__(name)

    def __getattr__(self, name: str) -> Any:
        value = torch.nn.Module.__getattr__(self, name)
        wanted = CONTEXT.compute_dtype
        if wanted is None or not isinstance(value, torch.nn.Parameter) or not getattr(value, "autocast", True):
            return value
        return value.to(wanted) if value.dtype.is_floating_point else value

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold the layer, not the graphs in which it was called."""
        return {**self.__dict__, "_inbound_nodes": [], "_outbound_nodes": [], "_signature": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        torch.nn.Module.__setstate__(self, state)  # type: ignore[no-untyped-call]
        self._read_class()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    def __str__(self) -> str:
        return repr(self)


_OF_COMPILE = ("_loss_tracker", "_compiled_metrics")  # a model's own, which a model around it does not report

_seen_losses: list[bool] = []  # filled by the first add_loss of the process: until then nothing needs clearing


def unique_layers(layer: Layer) -> list[Layer]:
    return list({id(one): one for one in layer._flatten_layers() if isinstance(one, Layer)}.values())


def _has_standard_config(layer: Layer) -> bool:
    """Whether the constructor arguments may be derived: for lamina's layers, and a user's that writes no get_config."""
    own = own_class(type(layer))
    return own is not Layer or type(layer).get_config is Layer.get_config


def _building(build: Any) -> Any:
    """A `build` that notes the shapes it got, puts the layer's name on the weights' paths and marks the layer built."""

    @wraps(build)
    def call(self: Layer, *args: Any, **kwargs: Any) -> Any:
        outermost = not self.__dict__.get("_in_build", False)
        if outermost:
            shapes = dict(zip(build_names(type(self).build), args, strict=False)) | kwargs
            self.__dict__["_build_shapes"] = tree.map_shapes(tuple, shapes)
            self.__dict__["_in_build"] = True
        on_path = CONTEXT.names[-1:] == (self.name,)
        try:
            with name_scope(*(() if on_path else (self.name,))):
                result = build(self, *args, **kwargs)
        finally:
            if outermost:
                self.__dict__["_in_build"] = False
        if outermost:
            self.built = True
            self._adopt_made_weights()
        return result

    return call


def _declared_shape(kwargs: dict[str, Any]) -> tuple[int | None, ...] | None:
    """The input shape, batch axis first, that the constructor's old-style arguments declare; takes them out."""
    batch = kwargs.pop("batch_size", None)
    full = kwargs.pop("batch_shape", None) or kwargs.pop("batch_input_shape", None)
    kwargs.pop("batch_input_shape", None)
    shape, dim = kwargs.pop("input_shape", None), kwargs.pop("input_dim", None)
    if full is not None:
        return tuple(full)
    if shape is not None:
        return (batch, *((shape,) if isinstance(shape, int) else tuple(shape)))
    if dim is not None:
        return (batch, dim)
    return None


def check_declared(layer: Any, shape: Any, source: Any = None) -> None:
    """Warns, once, when what a layer declared as its input shape is not what it gets."""
    parts = ignored_declaration(layer, layer._declared_shape, shape, source)
    if parts is None:
        return
    layer.__dict__["_ignored_shape"], layer.__dict__["_declared_shape"] = layer._declared_shape, None
    warn_shape(**parts, path=layer.path)


def ignored_declaration(layer: Any, declared: Any, shape: Any, source: Any = None) -> dict[str, str] | None:
    """The parts of a message about a declared input shape that is not what the layer gets; None where it is."""
    if declared is None or not isinstance(shape, tuple):
        return None
    same = len(shape) == len(declared) and all(
        a is None or b is None or a == b for a, b in zip(shape[1:], declared[1:], strict=True)
    )
    if same:
        return None
    return {
        "headline": f"{layer.title} declares input_shape={declared[1:]} and gets {shape[1:]}.",
        "layer": layer.name,
        "received": f"{shape}{symbolic.source_text(source)}",
        "expected": f"{declared}  declared by the layer's input_shape",
        "because": "only the first layer of a model takes its shape from input_shape; every later layer is built on "
        "what arrives, so the declaration is ignored",
        "mend": f"remove input_shape={declared[1:]}, or change what comes before {layer.name!r}",
    }

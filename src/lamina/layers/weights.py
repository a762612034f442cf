"""What a layer owns: its weights, its sub-layers, its losses. The torch Module's registries are the only lists."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lamina import constraints, initializers, regularizers
from lamina.base.errors import ShapeError
from lamina.engine.dtypes import is_float_name, standardize_dtype
from lamina.engine.variable import Variable
from lamina.graph.probe import outside_trial
from lamina.layers.context import CONTEXT
from lamina.layers.tracking import _Tracked


def children(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Direct sub-modules, those in tracked lists and dicts included, each once."""
    seen: set[int] = set()
    for child in module._modules.values():
        for inner in children(child) if isinstance(child, _Tracked) else (child,):
            if inner is not None and id(inner) not in seen:
                seen.add(id(inner))
                yield inner


def own_parameters(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """The weights that belong to a module itself and to no sub-layer."""
    yield from (parameter for parameter in module._parameters.values() if parameter is not None)
    for child in module._modules.values():
        if isinstance(child, _Tracked):
            yield from own_parameters(child)


def unique(values: Iterator[Any]) -> list[Any]:
    return list({id(value): value for value in values}.values())


def _starts_trainable(parameter: torch.nn.Parameter) -> bool:
    return parameter.declared_trainable if isinstance(parameter, Variable) else parameter.requires_grad


class WeightOwner(torch.nn.Module):
    """The part of `Layer` that concerns weights."""

    _trainable: bool
    name: Any

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
        *,
        axes: tuple[str, ...] | None = None,
        memory_order: tuple[int, ...] | None = None,
    ) -> Variable:
        """A new weight of the layer. Assign it to an attribute: `self.kernel = self.add_weight(...)`.

        `axes` names what each axis of `shape` means, from which the explained parameter formula follows;
        `memory_order` is the order of the axes in memory. Errors: a shape with an open size is a ShapeError.
        """
        shape = () if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = standardize_dtype(dtype or self.variable_dtype)  # type: ignore[attr-defined]
        if any(size is None for size in shape):
            raise ShapeError(
                f"{type(self).__name__} {self.name!r} cannot make its weight {name or ''!r}: a size is open.",
                layer=self.name,  # type: ignore[attr-defined]
                received=f"the weight's shape {shape}",
                expected="a shape of numbers",
                because="a weight is made once, of a fixed size, for inputs of every size",
                mend="give the input a fixed size on the axis that the weight depends on",
            )
        if initializer is None:
            initializer = "glorot_uniform" if is_float_name(dtype) else "zeros"
        make = initializer if isinstance(initializer, torch.Tensor) else initializers.get(initializer)
        path = "/".join((*CONTEXT.names, name or "variable"))
        with outside_trial():
            variable = Variable(
                make,
                shape,
                dtype,
                trainable,
                autocast,
                aggregation,
                name,
                axes=axes,
                memory_order=memory_order,
                path=path,
            )
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        variable.overwrite_with_gradient = overwrite_with_gradient
        if not self._trainable:
            variable.trainable = False
        self.__dict__["_made_weights"].append(variable)
        return variable

    def _adopt_made_weights(self) -> None:
        """Weights that no attribute holds are registered under their own names."""
        made = self.__dict__["_made_weights"]
        if made:
            held = {id(parameter) for parameter in own_parameters(self)}
            for variable in made:
                if id(variable) not in held:
                    self._parameters[variable.name.replace(".", "_")] = variable
            made.clear()

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> Iterator[torch.nn.Module]:
        if include_self:
            yield self
        for child in children(self):
            yield child
            if recursive and isinstance(child, WeightOwner):
                yield from child._flatten_layers(include_self=False)

    @property
    def weights(self) -> list[Any]:
        """All weights: the layer's own, trainable ones first, then those of its sub-layers."""
        return unique(self._walk_weights())

    def _walk_weights(self) -> Iterator[Any]:
        own = list(own_parameters(self))
        yield from (parameter for parameter in own if _starts_trainable(parameter))
        yield from (parameter for parameter in own if not _starts_trainable(parameter))
        for child in self._weight_children():
            yield from child._walk_weights() if isinstance(child, WeightOwner) else child.parameters()

    def _weight_children(self) -> Iterator[torch.nn.Module]:
        """Sub-layers in the order in which their weights are listed."""
        return children(self)

    @property
    def variables(self) -> list[Any]:
        return self.weights

    @property
    def trainable_weights(self) -> list[Any]:
        """The weights that training changes: none while `trainable` is False."""
        return unique(self._walk_trainable())

    trainable_variables = trainable_weights

    def _walk_trainable(self) -> Iterator[Any]:
        if not self._trainable:
            return
        for parameter in own_parameters(self):
            if parameter.trainable if isinstance(parameter, Variable) else parameter.requires_grad:
                yield parameter
        for child in self._weight_children():
            if isinstance(child, WeightOwner):
                yield from child._walk_trainable()
            else:
                yield from (parameter for parameter in child.parameters() if parameter.requires_grad)

    @property
    def non_trainable_weights(self) -> list[Any]:
        trainable = {id(weight) for weight in self.trainable_weights}
        return [weight for weight in self.weights if id(weight) not in trainable]

    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer's weights. Setting it sets all sub-layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self.__dict__["_trainable"] = bool(trainable)
        for parameter in own_parameters(self):
            if isinstance(parameter, Variable):
                parameter.trainable = trainable
            else:
                parameter.requires_grad_(bool(trainable))
        for child in children(self):
            if isinstance(child, WeightOwner):
                child.trainable = trainable
            else:
                child.requires_grad_(bool(trainable))

    def count_params(self) -> int:
        """The number of weights' elements. Errors: a ValueError while the layer is not built."""
        if not self.built:  # type: ignore[attr-defined]
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has no weights yet: call it on data first, or build(input_shape)."
            )
        return sum(math.prod(weight.shape) for weight in self.weights)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of all weights as NumPy arrays, in the order of `weights`."""
        return [_to_numpy(weight) for weight in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Sets all weights, in the order of `weights`. Errors: a ShapeError names the first that does not fit; nothing
        is changed then."""
        own = self.weights
        if len(own) != len(weights):
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has {len(own)} weights and got {len(weights)} arrays. "
                "Its weights: " + ", ".join(f"{weight_name(weight)} {tuple(weight.shape)}" for weight in own)
            )
        for index, (weight, value) in enumerate(zip(own, weights, strict=True)):
            shape = tuple(np.shape(value)) if not isinstance(value, torch.Tensor) else tuple(value.shape)
            if shape != tuple(weight.shape):
                raise ShapeError(
                    f"{type(self).__name__} {self.name!r} cannot take array {index} as its {weight_name(weight)}.",
                    layer=self.name,
                    received=str(shape),
                    expected=_described_shape(weight),
                    because="set_weights takes the arrays in the order of layer.weights, each in its weight's shape",
                    mend="give them as get_weights() of an equal layer returns them; none was changed",
                )
        with torch.no_grad():
            for weight, value in zip(own, weights, strict=True):
                value = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
                weight.copy_(value.reshape(weight.shape))

    def save_own_variables(self, store: Any) -> None:
        """Writes the layer's own weights into a dict-like store under "0", "1", ..."""
        for index, variable in enumerate(self._own_variables()):
            store[str(index)] = _to_numpy(variable)

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` wrote. Errors: a ValueError when number or shapes differ."""
        own = self._own_variables()
        if len(store.keys()) != len(own):
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has {len(own)} weights of its own and the file holds "
                f"{len(store.keys())} for it."
            )
        for index, variable in enumerate(own):
            variable.assign(store[str(index)])

    def _own_variables(self) -> list[Any]:
        own = list(own_parameters(self))
        return [v for v in own if _starts_trainable(v)] + [v for v in own if not _starts_trainable(v)]

    def materialize(self) -> Any:
        """Gives memory and initial values to every weight that was made on the meta device. Returns self."""
        made: dict[int, Variable] = {}  # a shared weight stays shared
        for module in self.modules():
            for key, parameter in module._parameters.items():
                if parameter is None or parameter.device.type != "meta":
                    continue
                if not isinstance(parameter, Variable):
                    raise ValueError(
                        f"{key!r} of {type(module).__name__} is a plain torch Parameter; lamina cannot initialise it."
                    )
                if id(parameter) not in made:
                    made[id(parameter)] = parameter.materialized()
                module._parameters[key] = made[id(parameter)]
        return self

    def _apply(self, function: Any, recurse: bool = True) -> Any:
        """torch's `.to()`, `.half()`, ...: a Variable stays a Variable where torch would make a plain Parameter."""
        before = dict(self._parameters)
        super()._apply(function, recurse)
        for key, parameter in self._parameters.items():
            old = before[key]
            if isinstance(old, Variable) and parameter is not None and not isinstance(parameter, Variable):
                self._parameters[key] = old.like(parameter.detach())
        return self


def _to_numpy(weight: torch.Tensor) -> np.ndarray[Any, Any]:
    return weight.numpy() if isinstance(weight, Variable) else weight.detach().cpu().numpy().copy()


def weight_name(weight: Any) -> str:
    return str(getattr(weight, "name", None) or "weight")


def _described_shape(weight: Any) -> str:
    axes = getattr(weight, "axes", None)
    return str(tuple(weight.shape)) + (f"  ({', '.join(axes)})" if axes else "")

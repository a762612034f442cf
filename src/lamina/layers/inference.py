"""The forms of activations, and of what several layers share, for folded programs (`engine/forms.py`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn import functional
from torch.nn.modules import module as torch_module
from torch.utils._device import DeviceContext

from lamina import activations
from lamina.engine import changes
from lamina.engine.forms import RELU, Apply, Form, Pointwise, relu_up_to


def _silu_(x: torch.Tensor) -> torch.Tensor:
    return functional.silu(x, inplace=True)


_POINTWISE: dict[Callable[..., Any], Pointwise | None] = {
    activations.linear: None,
    activations.relu: RELU,
    activations.relu6: relu_up_to(6.0),
    activations.silu: Pointwise("swish", functional.silu, _silu_),
    activations.hard_silu: Pointwise("hardswish", functional.hardswish, torch.ops.aten.hardswish_),
    activations.hard_sigmoid: Pointwise("hardsigmoid", functional.hardsigmoid, torch.ops.aten.hardsigmoid_),
    activations.sigmoid: Pointwise("sigmoid", torch.sigmoid, torch.sigmoid_),
    activations.tanh: Pointwise("tanh", torch.tanh, torch.tanh_),
    activations.gelu: Pointwise("gelu", functional.gelu, algorithm="none"),
}


def activation_forms(activation: Callable[..., Any]) -> list[Form]:
    """An activation as forms: none for "linear", one that joins a convolution where oneDNN has it."""
    if activation in _POINTWISE:
        found = _POINTWISE[activation]
        return [] if found is None else [found]
    return [Apply(activation)]


class Inferring:
    """The part of a `Layer` that folded programs ask: what it computes when nothing is learned."""

    _parameters: dict[str, Any]
    activity_regularizer: Any

    def inference_forms(self, inputs: list[Any]) -> list[Form] | None:
        """The layer's call with `training=False` as a chain of forms, for symbolic inputs; None: it has none.

        What the forms say, `call` must compute: a class that writes another `call` writes other forms, or has none.
        """
        return None

    def forms_now(self, inputs: list[Any]) -> list[Form] | None:
        """The forms, if calling the layer does nothing else."""
        return self.inference_forms(inputs) if self.does_only("inference_forms") else None

    def does_only(self, statement: str) -> bool:
        """Whether a call does what the method `statement` says and no more: no subclass's `call`, no hook, no loss."""
        own: Any = self
        cls: Any = type(self)
        if not own.built or own.activity_regularizer is not None or not _states_its_call(cls, statement):
            return False
        return not any(name in own.__dict__ for name in _CALLS) and not self.has_hooks

    def own_weights(self) -> list[Any]:
        """The weights of the layer itself, in no copy."""
        return [weight for weight in self._parameters.values() if weight is not None]

    def note_change(self) -> None:
        """Something about the layer changed that a folded program may have read."""
        self.__dict__["_changes"] = self.__dict__.get("_changes", 0) + 1
        changes.note()

    def register_forward_hook(self, *args: Any, **kwargs: Any) -> Any:
        changes.note()
        return super().register_forward_hook(*args, **kwargs)  # type: ignore[misc]

    def register_forward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
        changes.note()
        return super().register_forward_pre_hook(*args, **kwargs)  # type: ignore[misc]

    @property
    def has_hooks(self) -> bool:
        return any(self.__dict__[name] for name in _HOOKS)

    @property
    def changes(self) -> int:
        """A number that is another one after an attribute was set or a hook was put on the layer."""
        own = self.__dict__
        return own["_changes"] + sum(len(own[name]) for name in _HOOKS)


_CALLS = ("call", "forward", "__call__")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


# What a subclass may write without computing anything else: how it is made, described and explained.
_HARMLESS = {
    *("__init__", "build", "get_config", "from_config", "get_build_config", "build_from_config", "add_weight"),
    *("compute_output_shape", "compute_output_spec", "shape_rule", "readings", "multiply_accumulates", "__repr__"),
}


@cache
def _states_its_call(cls: Any, statement: str) -> bool:
    """Whether no class nearer than the one that makes the statement writes a call of its own, or, of a layer, any
    method that a call may use."""
    for one in cls.__mro__:
        if statement in vars(one):
            return True
        if any(name in vars(one) for name in _CALLS):
            return False
        if statement == "inference_forms" and _overrides(one):
            return False
    return False


def _overrides(cls: Any) -> bool:
    """Whether a class writes a method or property of its bases anew."""
    written = [name for name, value in vars(cls).items() if callable(value) or isinstance(value, property)]
    bases = cls.__mro__[1:-1]
    return any(name in vars(base) for name in written if name not in _HARMLESS for base in bases)


def is_watched() -> bool:
    """Whether somebody looks at every call: hooks on all modules, torch's dispatch or function modes.

    `torch.set_default_device` is a function mode, too, but looks at what makes tensors only.
    """
    hooks = torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks
    if any(hooks) or torch._C._len_torch_dispatch_stack():
        return True
    count = torch._C._len_torch_function_stack()
    return any(type(torch._C._get_function_stack_at(place)) is not DeviceContext for place in range(count))

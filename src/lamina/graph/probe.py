"""Shapes of functions that state no rule: they run twice on meta tensors, so that nothing is computed or allocated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.base.scope import Scoped
from lamina.engine.device import _device as _device_scope
from lamina.engine.dtypes import DTYPE_NAMES, torch_dtype
from lamina.graph.keras_tensor import KerasTensor

_in_trial: Scoped[bool] = Scoped(False)
_device_outside: Scoped[torch.device | None] = Scoped(None)  # where weights go that are made during a probe
_META = torch.device("meta")


class _OnMeta(TorchFunctionMode):
    """Every torch function sees meta copies of real tensors, so weights and statistics stay as they are."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _in_trial.value:
            return function(*args, **kwargs)
        if function in _device_constructors():
            kwargs = {**kwargs, "device": _META}
        if function not in _READS_ONLY:
            args, kwargs = tree.map_structure(_as_meta, (args, kwargs))
        return function(*args, **kwargs)


_READS_ONLY = {torch.Tensor.__repr__, torch.Tensor.device.__get__, torch.Tensor.shape.__get__}  # type: ignore[attr-defined]


def _as_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.device != _META:
        with torch._C.DisableTorchFunction():
            return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=_META)
    return value


def in_trial() -> bool:
    """Whether a function is being probed right now: a layer then keeps no statistics and no losses."""
    return _in_trial.value


@contextmanager
def outside_trial() -> Iterator[None]:
    """Real memory inside a probe, for the weights of a layer that is built on the way."""
    if not _in_trial.value:
        yield
        return
    with _in_trial.set(False), _device_scope.set(_device_outside.value):
        yield


@contextmanager
def _trial() -> Iterator[None]:
    outside = _device_outside.value if _in_trial.value else _device_scope.value
    with _device_outside.set(outside), _in_trial.set(True), _device_scope.set(_META), _OnMeta():
        yield


def trial_inputs(structure: Any, run: int) -> Any:
    """Meta tensors in place of symbolic ones, with the sizes of one of the two runs."""
    masks: dict[int, Any] = {}

    def stand_in(value: Any) -> Any:
        if not isinstance(value, KerasTensor):
            return value
        tensor = torch.empty(value.trial_shapes[run], dtype=torch_dtype(value.dtype), device=_META)
        if value._keras_mask is not None:
            masks[id(tensor)] = tensor._keras_mask = stand_in(value._keras_mask)  # type: ignore[attr-defined]
        return tensor

    return tree.map_structure(stand_in, structure)


def probe(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], what: str) -> Any:
    """The symbolic results of a function on symbolic arguments.

    Errors: a ShapeError when the function fails on these shapes; trial sizes never show in the message.
    """
    results, failures = [], []
    for run in (0, 1):
        trial_args, trial_kwargs = trial_inputs((args, kwargs), run)
        try:
            with _trial():
                results.append(function(*trial_args, **trial_kwargs))
        except ShapeError as error:
            raise error.place(received=_shapes_text(args, kwargs)) from None
        except Exception as error:
            failures.append(error)
    if failures:
        raise _explain(failures, args, kwargs, what) from failures[0]
    return join_trials(*results)


def join_trials(first: Any, second: Any) -> Any:
    """Symbolic tensors from the meta results of the two runs: None where a size differs."""

    def join(one: Any, other: Any) -> Any:
        if not isinstance(one, torch.Tensor):
            return one
        shapes = (tuple(one.shape), tuple(other.shape))
        shape = tuple(a if a == b else None for a, b in zip(*shapes, strict=True))
        return KerasTensor(shape, DTYPE_NAMES[one.dtype], trial_shapes=shapes)

    return tree.map_structure(join, first, second)


def _shapes_text(args: Any, kwargs: Any) -> str:
    shapes = [str(leaf.shape) for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, KerasTensor)]
    return " and ".join(shapes)


def _explain(failures: list[Exception], args: Any, kwargs: Any, what: str) -> ShapeError:
    texts = [str(failure).strip().split("\n")[0] for failure in failures]
    words = [re.findall(r"\d+|\D+", text) for text in texts]
    if len(words) == 2 and len(words[0]) == len(words[1]):
        text = "".join(a if a == b else "None" for a, b in zip(*words, strict=True))
    elif len(words) == 2:
        text = re.sub(r"\d+", "…", texts[0])
    else:  # only one of the two trials failed: the sizes that it names are trial sizes
        text = "it works for some sizes of the open axes only"
    needs_value = "meta" in text.lower() or "item()" in text
    return ShapeError(
        f"{what} cannot take these shapes."
        if not needs_value
        else f"{what} needs values, and a symbolic tensor has none yet.",
        received=_shapes_text(args, kwargs),
        because=f"{type(failures[0]).__name__}: {text}",
        mend="state the result with compute_output_shape() on the layer, or output_shape= on a Lambda"
        if needs_value
        else None,
    )

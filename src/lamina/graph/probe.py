"""Shapes of functions that state no rule: they run twice on meta tensors, so that nothing is computed or allocated."""

from __future__ import annotations

import re
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from lamina.base import tree
from lamina.base.errors import ShapeError
from lamina.base.scope import Scoped
from lamina.engine.device import _device as _device_scope
from lamina.engine.dtypes import DTYPE_NAMES, torch_dtype
from lamina.graph.history import shapes_text
from lamina.graph.keras_tensor import KerasTensor
from lamina.shapes import broadcast

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
    results: list[Any] = []
    failures: list[Exception] = []
    for run in (0, 1):
        trial_args, trial_kwargs = trial_inputs((args, kwargs), run)
        try:
            with _trial():
                results.append(function(*trial_args, **trial_kwargs))
        except Exception as error:
            failures.append(error)
    if not failures:
        return join_trials(*results)
    first, last = failures[0], failures[-1]
    if not isinstance(first, ShapeError):
        raise _explain(failures, args, kwargs, what) from first
    if results or not isinstance(last, ShapeError):
        raise _fits_some_sizes(first, args, kwargs) from None
    for part, text in first.parts().items():
        other = last.parts()[part]
        if text is not None and other is not None and text != other:
            setattr(first, part, _in_common(text, other) or re.sub(r"\d+", "…", text))
    raise first.place(received=shapes_text((args, kwargs))) from None


def join_trials(first: Any, second: Any) -> Any:
    """Symbolic tensors from the meta results of the two runs: None where a size differs."""

    def join(one: Any, other: Any) -> Any:
        if not isinstance(one, torch.Tensor):
            return one
        shapes = (tuple(one.shape), tuple(other.shape))
        shape = tuple(a if a == b else None for a, b in zip(*shapes, strict=True))
        return KerasTensor(shape, DTYPE_NAMES[one.dtype], trial_shapes=shapes)

    return tree.map_structure(join, first, second)


def _in_common(one: str, other: str) -> str | None:
    """A message of both runs, with None where the numbers differ; None if more than numbers do."""
    words = [re.findall(r"\d+|\D+", text) for text in (one, other)]
    if len(words[0]) != len(words[1]):
        return None
    return "".join(a if a == b else "None" for a, b in zip(*words, strict=True))


def _fits_some_sizes(error: ShapeError, args: Any, kwargs: Any) -> ShapeError:
    """For a layer inside the function that takes some sizes of the open axes and not others."""
    return ShapeError(
        f"{error.layer!r} works for some sizes of the open axes only.",
        layer=error.layer,
        path=error.path,
        received=shapes_text((args, kwargs)),
        expected="sizes that are known where a layer makes weights for them",
        because=f"two sizes were tried for every None, and only one of them went through {error.layer!r}",
        mend="give the input fixed sizes, or join the open axes with a global pooling before that layer",
    )


def _explain(failures: list[Exception], args: Any, kwargs: Any, what: str) -> ShapeError:
    received = shapes_text((args, kwargs))
    texts = [str(failure).strip().split("\n")[0] for failure in failures]
    if len(texts) == 1:  # the other trial went through: the sizes in the message are trial sizes
        return ShapeError(
            f"{what} works for some sizes of the open axes only.",
            received=received,
            expected="code that runs for every size of an axis that is None",
            because=f"two sizes were tried for every None, and one of them failed: {type(failures[0]).__name__}"
            + _line_outside(failures[0]),
            mend="give the input fixed sizes, or change the code so that it takes any",
        )
    text = _in_common(*texts) or re.sub(r"\d+", "…", texts[0])
    line = _line_outside(failures[0])
    meeting = _broadcast_problem(text, args, kwargs)
    if meeting is not None:
        meeting.headline = f"{what} cannot join these shapes."
        return meeting.place(received=received)
    if "meta" in text.lower() or "item()" in text:
        return ShapeError(
            f"{what} needs values, and a symbolic tensor has none yet.",
            received=received,
            expected="code whose shapes do not depend on values",
            because=f"{type(failures[0]).__name__}: {text}{line}",
            mend="state the result with compute_output_shape() on the layer, or output_shape= on a Lambda",
        )
    return ShapeError(
        f"{what} cannot take these shapes.",
        received=received,
        expected="shapes that its code can compute with",
        because=f"{type(failures[0]).__name__}: {text}{line}",
        mend="give it other shapes (ops.reshape, ops.expand_dims, ops.transpose)"
        + (", or change that line" if line else ""),
    )


def _broadcast_problem(text: str, args: Any, kwargs: Any) -> ShapeError | None:
    """Where torch says that shapes do not broadcast: at which axis, and what would."""
    if "broadcast" not in text and "must match the size" not in text:
        return None
    try:
        broadcast(*[leaf.shape for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, KerasTensor)])
    except ShapeError as error:
        error.received = None
        return error
    return None


def _line_outside(error: Exception) -> str:
    """The line of the user's code at which a run failed; nothing where that was in lamina's or torch's own."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_globals.get("__name__", "") for frame in frames]
    outside = [
        step
        for step, name in zip(traceback.extract_tb(error.__traceback__), modules, strict=True)
        if name.partition(".")[0] not in ("lamina", "torch")
    ]
    if not outside:
        return ""
    last = outside[-1]
    return f"\nat {Path(last.filename).name}:{last.lineno}: {textwrap.shorten(last.line or '', 60)}"

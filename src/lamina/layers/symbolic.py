"""The symbolic half of a layer: shapes from the rule, masks, and the outer handler that completes an error."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base import tree
from lamina.base.errors import LaminaError, ShapeError
from lamina.engine.dtypes import DTYPE_NAMES
from lamina.graph.history import add_sizes, source_text
from lamina.graph.keras_tensor import KerasTensor
from lamina.graph.node import Node
from lamina.graph.probe import in_trial, probe
from lamina.layers.context import CONTEXT
from lamina.layers.signature import shape_of
from lamina.shapes import Axes


def first_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()), None)


def named_inputs(layer: Any, shapes: list[tuple[Any, ...]]) -> list[Axes]:
    """The shapes with the names that the layer gives to their axes."""
    return [Axes(layer.axis_names(len(shape)), tuple(shape)) for shape in shapes]


def apply_rule(layer: Any, shapes: list[tuple[Any, ...]], named: dict[str, Any] | None = None) -> Any:
    """The rule's result for plain shapes: `Axes`, or a list of them."""
    return layer.shape_rule(*named_inputs(layer, shapes), **(named or {}))


def output_spec(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Symbolic outputs: from the shape rule, from a user's `compute_output_shape`, or by probing `call`."""
    tensors, named = layer.rule_arguments(args, kwargs)
    inputs = [tensor for tensor in tensors if isinstance(tensor, KerasTensor)]
    if layer._has_rule and inputs:
        results = apply_rule(layer, [tensor.shape for tensor in inputs], named)
        dtype = layer.output_dtype(*[tensor.dtype for tensor in inputs])
        single = isinstance(results, Axes)
        trials = _trial_shapes(layer, inputs, named) or [None] * (1 if single else len(results))
        made = [
            KerasTensor(axes.shape, dtype, trial_shapes=trial)
            for axes, trial in zip([results] if single else results, trials, strict=True)
        ]
        return made[0] if single else made
    if user_states_shape(layer):
        shape = layer.compute_output_shape(shape_of(first_argument(args, kwargs)))
        return tree.map_shapes(lambda one: KerasTensor(one, layer.output_dtype(*[i.dtype for i in inputs])), shape)
    kwargs = (
        {**kwargs, "training": CONTEXT.training}
        if layer._signature.takes_training and "training" not in kwargs
        else kwargs
    )
    return probe(lambda *a, **k: trial_call(layer, a, k), args, kwargs, what=f"{layer.title}: its call()")


def _trial_shapes(layer: Any, inputs: list[KerasTensor], named: dict[str, Any]) -> list[Any] | None:
    """The rule on the sizes with which open axes are tried out, per output; None where these do not meet though the
    open shapes do (an open axis beside one of 5), so that the result is tried out with sizes of its own."""
    runs = []
    for run in (0, 1):
        try:
            result = apply_rule(layer, [tensor.trial_shapes[run] for tensor in inputs], named)
        except ShapeError:
            return None
        runs.append([result] if isinstance(result, Axes) else list(result))
    return [(first.shape, second.shape) for first, second in zip(*runs, strict=True)]


def trial_call(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One probing run of `call`, in the context of a real one."""
    if kwargs.get("training", 0) is None:
        kwargs["training"] = layer.training
    before = (CONTEXT.compute_dtype, CONTEXT.names, CONTEXT.depth)
    CONTEXT.compute_dtype = layer._compute_type if layer._mixed else None
    CONTEXT.names, CONTEXT.depth = (*before[1], layer.name), before[2] + 1
    try:
        args = tuple(layer._standardize(value) for value in args)
        return layer.call(*args, **kwargs)
    finally:
        CONTEXT.compute_dtype, CONTEXT.names, CONTEXT.depth = before


def user_states_shape(layer: Any) -> bool:
    method = type(layer).compute_output_shape
    return not method.__module__.startswith("lamina.layers.layer")


def output_shape(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """`compute_output_shape` of a layer that does not write its own."""
    if layer._has_rule:
        shapes = [tuple(shape) for value in (*args, *kwargs.values()) for shape in _shapes_in(value)]
        results = apply_rule(layer, shapes)
        return results.shape if isinstance(results, Axes) else [axes.shape for axes in results]
    dtype = layer.compute_dtype
    symbols = [tree.map_shapes(lambda shape: KerasTensor(shape, dtype), value) for value in (*args, *kwargs.values())]
    layer._ensure_built(tuple(symbols), {})
    return shape_of(layer.compute_output_spec(*symbols))


def _shapes_in(structure: Any) -> list[Any]:
    if structure is None:
        return []
    if tree.is_shape(structure):
        return [structure]
    values = structure.values() if isinstance(structure, dict) else structure
    return [shape for value in values for shape in _shapes_in(value)]


def only_call(layer: Any) -> Node:
    """The layer's only node. Errors: a ValueError after no call or several."""
    nodes = layer._inbound_nodes
    if not nodes:
        raise ValueError(f"{layer.title} was never called on a symbolic tensor, so it has no input or output.")
    if len(nodes) > 1:
        shapes = "; ".join(str(shape_of(node.outputs)) for node in nodes)
        raise ValueError(
            f"{layer.title} was called {len(nodes)} times, so its input and output are not unique. "
            f"Keep what each call returned. The outputs: {shapes}."
        )
    return nodes[0]


def note_outputs(layer: Any, outputs: Any) -> None:
    """Keeps the outputs' shape of the first real call, or of the two runs of a probe, for summaries."""
    shape = shape_of(outputs)
    seen = layer._seen_outputs
    if in_trial():
        del seen[:-1]
        seen.append(shape)
    else:  # a real batch: its size is no property of the layer
        opened = tree.map_shapes(lambda one: (None, *one[1:]), shape)
        seen[:] = [opened, opened]


def note_first_call(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Keeps what a model was first called on, as symbols of any batch size: a summary can ask for its shapes again."""

    def symbol(value: Any) -> Any:
        if isinstance(value, KerasTensor):
            return KerasTensor(value.shape, value.dtype)
        if isinstance(value, torch.Tensor) and value.ndim:
            return KerasTensor((None, *value.shape[1:]), DTYPE_NAMES[value.dtype])
        return value

    if not in_trial():
        model.__dict__["_first_call"] = tree.map_structure(symbol, (args, kwargs))


def known_output_shape(layer: Any) -> Any:
    """The outputs' shape of the layer's first symbolic call, else as `note_outputs` kept it (None where the two runs of
    a probe differ); None before any call."""
    if layer._inbound_nodes:
        return shape_of(layer._inbound_nodes[0].outputs)
    if not layer._seen_outputs:
        return None
    first, second = layer._seen_outputs[0], layer._seen_outputs[-1]
    if tree.is_shape(first) and tree.is_shape(second) and len(first) == len(second):
        return tuple(a if a == b else None for a, b in zip(first, second, strict=True))
    return first


# Masks.


def mask_of(value: Any) -> Any:
    """The mask that a tensor carries, or a structure of masks; None where there is none."""
    if isinstance(value, torch.Tensor | KerasTensor):
        return getattr(value, "_keras_mask", None)
    if isinstance(value, list | tuple):
        masks = [mask_of(item) for item in value]
        return masks if any(mask is not None for mask in masks) else None
    if isinstance(value, dict):
        found = {key: mask_of(item) for key, item in value.items()}
        return found if any(mask is not None for mask in found.values()) else None
    return None


def input_masks(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return mask_of(args[0] if args else kwargs.get(layer._signature.names[0])) if layer._signature.names else None


def attach_masks(layer: Any, args: tuple[Any, ...], outputs: Any, masks: Any) -> None:
    """Puts the outputs' masks onto the output tensors."""
    if masks is not None and not layer.supports_masking and not layer._makes_mask:
        _warn_mask_lost(layer)
        return
    computed = layer.compute_mask(args[0] if args else None, masks)
    if computed is None:
        return
    leaves = tree.flatten(outputs)
    found = tree.flatten(computed) if isinstance(computed, list | tuple | dict) else [computed] * len(leaves)
    for tensor, mask in zip(leaves, found, strict=False):
        if mask is not None and tensor is not None:
            tensor._keras_mask = mask


def _warn_mask_lost(layer: Any) -> None:
    import warnings

    from lamina.base.errors import outside_frame

    warnings.warn(
        f"{layer.title} got an input with a mask and does not hand masks on; the mask ends here. Set "
        f"supports_masking = True on the layer if its output has the same steps.",
        stacklevel=outside_frame(),
    )


# Errors.


def received_text(layer: Any, value: Any) -> str:
    """The shapes of a layer's inputs, one a line, with the axes' names or the producers."""
    lines = []
    for leaf in tree.flatten(value):
        if not hasattr(leaf, "shape"):
            continue
        source = source_text(leaf)
        shape = tuple(leaf.shape)
        lines.append(f"{shape}{source or '  ' + ', '.join(layer.axis_names(len(shape)))}")
    return "\n".join(lines)


def located(layer: Any, error: ShapeError, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ShapeError:
    """The same error with the layer's name, its path and what it received, where the inner code left them open; with
    the sizes that led to it, where the arguments are symbolic."""
    if error.layer is None:
        if layer.title not in error.headline:
            error.headline = f"{layer.title}: {error.headline}"
        error.layer = layer.name
    if error.layer == layer.name and error.received is None:
        error.received = received_text(layer, first_argument(args, kwargs))
    error.path = _path_through(layer, error)
    add_sizes(error, (args, kwargs), layer.name)
    return error


def _path_through(layer: Any, error: ShapeError) -> str:
    """The path of the layer at fault, by this layer: a graph's program enters its layers without noting their names."""
    around = CONTEXT.names[:-1] if CONTEXT.names[-1:] == (layer.name,) else CONTEXT.names
    here = (*around, layer.name)
    if error.layer == layer.name or error.path is None:
        return "/".join(here)
    path = tuple(error.path.split("/"))
    if path[: len(here)] == here:
        return error.path
    return "/".join((*here, *(path[len(around) :] if path[: len(around)] == around else path)))


def reason_of_failure(layer: Any, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ShapeError | None:
    """What the shape rule says of real inputs on which torch failed. None when it finds nothing wrong, or there is no
    rule: torch's error then gets a note of where it happened."""
    if layer._has_rule:
        tensors, named = layer.rule_arguments(args, kwargs)
        try:
            apply_rule(layer, [tuple(tensor.shape) for tensor in tensors], named)
        except ShapeError as found:
            return located(layer, found, args, kwargs)
        except LaminaError:
            pass
    if not hasattr(error, "__notes__"):
        around = CONTEXT.names if CONTEXT.names[-1:] == (layer.name,) else (*CONTEXT.names, layer.name)
        received = received_text(layer, (args, kwargs)).replace("\n", " and ")
        error.add_note(f"In the call of {layer.title} ({'/'.join(around)}), which received {received}.")
    return None

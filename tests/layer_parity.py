"""The parity harness: one line compares a layer with Keras's layer of the same class and arguments.

Compared: weights (names, shapes, order), output shape, dtype and values, gradients with respect to the inputs and all
trainable weights, symbolic shapes with open sizes, the config, and a round trip through it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import lamina
from lamina.engine.dtypes import standardize_dtype

# Arguments of Keras's configs that lamina has no use for.
IGNORED_CONFIG = {"quantization_config"}


def sample(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, 4, size=shape).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def check_layer(
    name: str,
    input_shapes: Any,
    *,
    dtype: str = "float32",
    training: bool | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    check_config: bool = True,
    check_gradients: bool = True,
    open_axes: tuple[int, ...] = (0,),
    ignored_config: set[str] | None = None,
    **kwargs: Any,
) -> Any:
    """Compares `lamina.layers.<name>(**kwargs)` with Keras's on inputs of these shapes (batch axis first).

    `input_shapes` is one shape, or a list of shapes for a layer that takes a list. `open_axes` are the axes that are
    None in the symbolic comparison. Returns lamina's layer.
    """
    import keras

    several = isinstance(input_shapes, list)
    shapes = input_shapes if several else [input_shapes]
    arrays = [sample(shape, dtype, seed) for seed, shape in enumerate(shapes)]
    theirs, mine = getattr(keras.layers, name)(**kwargs), getattr(lamina.layers, name)(**kwargs)
    call = {} if training is None else {"training": training}

    def run(layer: Any) -> tuple[list[torch.Tensor], Any]:
        tensors = [torch.from_numpy(array.copy()) for array in arrays]
        for tensor in tensors:
            tensor.requires_grad_(tensor.dtype.is_floating_point and check_gradients)
        return tensors, layer(tensors if several else tensors[0], **call)

    run(theirs), run(mine)  # builds both
    mine.set_weights(theirs.get_weights())
    assert [w.name for w in mine.weights] == [w.name for w in theirs.weights]
    assert [tuple(w.shape) for w in mine.weights] == [tuple(w.shape) for w in theirs.weights]
    assert [w.trainable for w in mine.weights] == [w.trainable for w in theirs.weights]
    assert mine.count_params() == theirs.count_params()
    their_inputs, expected = run(theirs)
    my_inputs, got = run(mine)
    assert tuple(got.shape) == tuple(expected.shape)
    assert got.dtype is expected.dtype
    np.testing.assert_allclose(got.detach().float(), expected.detach().float(), rtol=rtol, atol=atol)
    for ours, other in zip(mine.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), other.value.detach().numpy(), rtol=rtol, atol=atol)
    if check_gradients and expected.dtype.is_floating_point and expected.requires_grad:
        _compare_gradients(mine, theirs, my_inputs, their_inputs, got, expected, rtol, atol)
    _compare_symbolic(mine, theirs, shapes, several, dtype, open_axes)
    if check_config:
        _compare_config(mine, theirs, got, run, ignored_config or set(), rtol, atol, same_values=not training)
    return mine


def _compare_gradients(
    mine: Any, theirs: Any, my_inputs: Any, their_inputs: Any, got: Any, expected: Any, rtol: float, atol: float
) -> None:
    weighting = torch.from_numpy(sample(tuple(got.shape), seed=99)).to(got.dtype)
    (got * weighting).sum().backward()
    (expected * weighting).sum().backward()
    for ours, other in zip(my_inputs, their_inputs, strict=True):
        if other.grad is not None:
            np.testing.assert_allclose(ours.grad, other.grad, rtol=rtol * 10, atol=atol * 10)
    for ours, other in zip(mine.trainable_weights, theirs.trainable_weights, strict=True):
        if other.value.grad is not None:
            np.testing.assert_allclose(ours.grad, other.value.grad, rtol=rtol * 10, atol=atol * 10)


def _compare_symbolic(mine: Any, theirs: Any, shapes: Any, several: bool, dtype: str, open_axes: Any) -> None:
    import keras

    opened = [tuple(None if axis in open_axes else size for axis, size in enumerate(shape)) for shape in shapes]
    theirs_in = [keras.KerasTensor(shape, dtype=dtype) for shape in opened]
    mine_in = [lamina.KerasTensor(shape, dtype=dtype) for shape in opened]
    expected = theirs(theirs_in if several else theirs_in[0])
    got = mine(mine_in if several else mine_in[0])
    assert got.shape == tuple(expected.shape)
    assert standardize_dtype(got.dtype) == standardize_dtype(expected.dtype)
    assert mine.compute_output_shape(opened if several else opened[0]) == got.shape


def _compare_config(
    mine: Any, theirs: Any, got: torch.Tensor, run: Any, ignored: set[str], rtol: float, atol: float, same_values: bool
) -> None:
    left_out = IGNORED_CONFIG | ignored | {"name"}
    expected, config = (
        {key: value for key, value in layer.get_config().items() if key not in left_out} for layer in (theirs, mine)
    )
    for one in (expected, config):  # Keras writes it as None for some classes and not at all for others
        if one.get("activity_regularizer", 0) is None:
            del one["activity_regularizer"]
    assert config == expected
    twin = type(mine).from_config(mine.get_config())
    run(twin)
    twin.set_weights(mine.get_weights())
    _, again = run(twin)
    assert again.shape == got.shape
    if same_values:  # in training a layer may draw random numbers
        np.testing.assert_allclose(again.detach().float(), got.detach().float(), rtol=rtol, atol=atol)

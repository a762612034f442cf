"""Properties: each shape rule against the shape that torch really returns, and its formulas against numbers."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import lamina
from lamina.base.errors import ShapeError
from lamina.shapes import Axes, Dim, TransposedWindow, Window, broadcast, ceil_div

bounded = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def spatial_shape(draw, rank, channels, data_format, largest=9):
    sizes = tuple(draw(st.integers(1, largest)) for _ in range(rank))
    return (2, channels, *sizes) if data_format == "channels_first" else (2, *sizes, channels)


def check_rule(layer, shape, draw):
    """The rule with numbers, with open axes and with named sizes, against a real call."""
    try:
        expected = layer.compute_output_shape(shape)
    except ShapeError:
        with pytest.raises((ShapeError, RuntimeError, ValueError)):
            layer(torch.zeros(shape))
        return
    assert tuple(layer(torch.zeros(shape)).shape) == expected
    opened = tuple(None if axis == 0 or draw(st.booleans()) else size for axis, size in enumerate(shape))
    channel = 1 if getattr(layer, "data_format", "") == "channels_first" else len(shape) - 1
    opened = tuple(size if axis == channel else one for axis, (one, size) in enumerate(zip(opened, shape, strict=True)))
    symbolic = layer(lamina.KerasTensor(opened)).shape
    assert len(symbolic) == len(expected)
    assert all(one is None or one == size for one, size in zip(symbolic, expected, strict=True))
    named = layer.shape_rule(Axes(layer.axis_names(len(shape)), shape).named())
    assert named.shape == expected
    for size in named.sizes:
        if isinstance(size, Dim):
            assert evaluate(size.arithmetic) == size.value


def evaluate(text):
    """The value of a formula as it is printed: ⌊a/b⌋, ⌈a/b⌉, ·, −."""
    text = text.replace(",", "").replace("·", "*").replace("−", "-")
    while "⌊" in text or "⌈" in text:
        text = re.sub(r"⌊([^⌊⌈⌋⌉]*)/(\d+)⌋", r"((\1)//\2)", text)
        text = re.sub(r"⌈([^⌊⌈⌋⌉]*)/(\d+)⌉", r"(-(-(\1)//\2))", text)
    return eval(text, {"__builtins__": {}})


formats = st.sampled_from(["channels_last", "channels_first"])


@bounded
@given(st.data())
def test_convolutions(data):
    draw = data.draw
    rank, data_format = draw(st.integers(1, 3)), draw(formats)
    strided = draw(st.booleans())
    kwargs = {
        "kernel_size": tuple(draw(st.integers(1, 4)) for _ in range(rank)),
        "strides": tuple(draw(st.integers(1, 3)) for _ in range(rank)) if strided else 1,
        "dilation_rate": 1 if strided else tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "padding": draw(st.sampled_from(["valid", "same", *(["causal"] if rank == 1 else [])])),
        "data_format": data_format,
    }
    kind = draw(st.sampled_from(["Conv", "Depthwise", "Separable"] if rank < 3 else ["Conv"]))
    if kind == "Depthwise":
        assume(kwargs["padding"] != "causal")
        layer = getattr(lamina.layers, f"DepthwiseConv{rank}D")(depth_multiplier=draw(st.integers(1, 2)), **kwargs)
    elif kind == "Separable":
        layer = getattr(lamina.layers, f"SeparableConv{rank}D")(3, **kwargs)
    else:
        layer = getattr(lamina.layers, f"Conv{rank}D")(4, groups=draw(st.sampled_from([1, 2])), **kwargs)
    check_rule(layer, spatial_shape(draw, rank, 2, data_format), draw)


@bounded
@given(st.data())
def test_transposed_convolutions(data):
    draw = data.draw
    rank, data_format = draw(st.integers(1, 3)), draw(formats)
    kwargs = {
        "kernel_size": tuple(draw(st.integers(1, 4)) for _ in range(rank)),
        "strides": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "padding": draw(st.sampled_from(["valid", "same"])),
        "data_format": data_format,
    }
    layer = getattr(lamina.layers, f"Conv{rank}DTranspose")(3, **kwargs)
    check_rule(layer, spatial_shape(draw, rank, 2, data_format, largest=6), draw)


@bounded
@given(st.data())
def test_pooling_and_edges(data):
    draw = data.draw
    rank, data_format = draw(st.integers(1, 3)), draw(formats)
    sizes = st.tuples(*[st.integers(1, 3)] * rank)
    kind = draw(st.sampled_from(["MaxPooling", "AveragePooling", "ZeroPadding", "Cropping", "UpSampling", "Global"]))
    if kind.endswith("Pooling"):
        strides = draw(st.one_of(st.none(), sizes))
        kwargs = {"pool_size": draw(sizes), "strides": strides, "padding": draw(st.sampled_from(["valid", "same"]))}
    elif kind == "Global":
        kind = draw(st.sampled_from(["GlobalMaxPooling", "GlobalAveragePooling"]))
        kwargs = {"keepdims": draw(st.booleans())}
    elif kind == "UpSampling":
        kwargs = {"size": draw(sizes) if rank > 1 else draw(st.integers(1, 3))}
    else:
        pairs = draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * rank))
        kwargs = {"padding" if kind == "ZeroPadding" else "cropping": pairs if rank > 1 else pairs[0]}
    layer = getattr(lamina.layers, f"{kind}{rank}D")(data_format=data_format, **kwargs)
    check_rule(layer, spatial_shape(draw, rank, 2, data_format), draw)


@bounded
@given(st.data())
def test_layers_over_any_rank(data):
    draw = data.draw
    shape = (2, *draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    rank = len(shape)
    layer = draw(
        st.sampled_from(
            [
                lamina.layers.Dense(3),
                lamina.layers.Flatten(),
                lamina.layers.Reshape((-1,)),
                lamina.layers.Permute(tuple(draw(st.permutations(range(1, rank))))),
                lamina.layers.Activation("relu"),
                lamina.layers.LayerNormalization(),
                lamina.layers.BatchNormalization(),
                lamina.layers.Dropout(0.5),
                lamina.layers.Rescaling(2.0),
                lamina.layers.Softmax(),
            ]
        )
    )
    expected = layer.compute_output_shape(shape)
    assert tuple(layer(torch.zeros(shape)).shape) == tuple(expected)
    assert layer(lamina.KerasTensor((None, *shape[1:]))).shape == (None, *expected[1:])


@bounded
@given(st.data())
def test_merging_broadcasts_as_torch_does(data):
    draw = data.draw
    full = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    full = (2, *full)  # the batch is joined example by example
    shapes = [(2, *(draw(st.sampled_from([1, n])) for n in full[1:])) for _ in range(draw(st.integers(2, 3)))]
    name = draw(st.sampled_from(["Add", "Multiply", "Maximum", "Average"]))
    got = getattr(lamina.layers, name)()([torch.zeros(shape) for shape in shapes])
    assert tuple(got.shape) == tuple(torch.broadcast_shapes(*shapes)) == broadcast(*shapes)


@bounded
@given(st.data())
def test_concatenation(data):
    draw = data.draw
    base = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    axis = draw(st.integers(1, len(base) - 1))
    shapes = [tuple(draw(st.integers(1, 4)) if i == axis else n for i, n in enumerate(base)) for _ in range(3)]
    layer = lamina.layers.Concatenate(axis=axis)
    expected = tuple(torch.cat([torch.zeros(shape) for shape in shapes], axis).shape)
    assert tuple(layer.compute_output_shape(shapes)) == expected
    assert tuple(layer([torch.zeros(shape) for shape in shapes]).shape) == expected


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3), st.sampled_from(["valid", "same"]))
def test_windows_count_positions(n, kernel, stride, dilation, padding):
    window = Window(kernel, stride, dilation, padding)
    before, after = window.pads(n)
    starts = [s for s in range(-before, n + after, stride) if s + window.reach <= n + after]
    if not starts:
        with pytest.raises(ShapeError):
            window.output(n)
        return
    assert window.output(n) == len(starts)
    named = window.output(Dim("n", n))
    assert named.value == len(starts)
    assert evaluate(named.arithmetic) == len(starts)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_transposing_undoes_same_padding(n, kernel, stride):
    enlarged = TransposedWindow(kernel, stride, padding="same").output(n)
    assert Window(kernel, stride, padding="same").output(enlarged) == n
    assert ceil_div(Dim("n", n), stride).value == -(-n // stride)

"""Pools, edges and enlarging where they go wrong easily: odd padding, whole numbers, other ranks, memory layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lamina
from lamina.base.errors import ShapeError
from layer_parity import check_layer, sample

LINE, PLANE, VOLUME = (2, 9, 4), (2, 9, 7, 4), (2, 5, 6, 4, 3)
FIRST = {"data_format": "channels_first"}

PARITY = [
    ("MaxPooling1D", LINE, {"pool_size": 4, "strides": 3, "padding": "same"}),
    ("MaxPooling1D", LINE, {"pool_size": 3, "strides": 1, **FIRST}),
    ("MaxPooling3D", VOLUME, {"pool_size": (3, 2, 1), "strides": (1, 2, 3), "padding": "same"}),
    ("AveragePooling1D", LINE, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("AveragePooling3D", VOLUME, {"pool_size": 3, "strides": 1, "padding": "same"}),
    ("GlobalMaxPooling1D", LINE, {"keepdims": True, **FIRST}),
    ("GlobalAveragePooling3D", VOLUME, {"keepdims": True, **FIRST}),
    ("ZeroPadding1D", LINE, {"padding": 2, **FIRST}),
    ("ZeroPadding3D", VOLUME, {"padding": ((1, 0), (0, 2), (3, 1)), **FIRST}),
    ("Cropping2D", PLANE, {"cropping": (2, 1), **FIRST}),
    ("Cropping3D", VOLUME, {"cropping": ((1, 0), (0, 1), (1, 1)), **FIRST}),
    ("UpSampling2D", PLANE, {"size": (3, 2), "interpolation": "bicubic", **FIRST}),
    ("UpSampling3D", VOLUME, {"size": (1, 3, 2), **FIRST}),
]


@pytest.mark.parametrize(("name", "shape", "kwargs"), PARITY)
def test_parity(name, shape, kwargs):
    check_layer(name, shape, **kwargs)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}),
        ("GlobalMaxPooling2D", {}),
        ("GlobalAveragePooling2D", {}),
        ("ZeroPadding2D", {}),
        ("Cropping2D", {"cropping": 1}),
        ("UpSampling2D", {"size": (2, 3)}),
        ("UpSampling2D", {"size": 3, "interpolation": "bilinear"}),
    ],
)
def test_whole_numbers_are_taken_as_keras_takes_them(keras, name, kwargs):
    x = torch.from_numpy(sample((2, 5, 5, 2), "int32"))
    expected, got = (getattr(source.layers, name)(**kwargs)(x) for source in (keras, lamina))
    assert got.dtype is expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("n", [4, 5, 7])
@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_is_never_counted_in_a_mean(n, kernel, stride):
    """By NumPy, since Keras on torch gives other numbers where the padding is odd."""
    x = sample((2, n, 3))
    before = max((-(-n // stride) - 1) * stride + kernel - n, 0) // 2
    starts = range(-before, -before + stride * -(-n // stride), stride)
    expected = np.stack([x[:, max(start, 0) : start + kernel].mean(1) for start in starts], 1)
    got = lamina.layers.AveragePooling1D(kernel, stride, "same")(torch.from_numpy(x))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("stride", "output_padding"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_output_padding_lies_where_keras_puts_it(kernel, stride, output_padding, padding):
    kwargs = {"filters": 2, "kernel_size": kernel, "strides": stride, "output_padding": output_padding}
    check_layer("Conv1DTranspose", (2, 5, 3), padding=padding, check_config=False, **kwargs)


@pytest.mark.parametrize("size", [41, 47])
def test_every_position_is_repeated_as_often(size):
    """torch's "nearest" rounds 1/41 down and shifts one position."""
    x = torch.arange(6.0).reshape(1, 3, 2, 1)
    got = lamina.layers.UpSampling2D((size, 1))(x)
    assert torch.equal(got, x.repeat_interleave(size, 1))


@pytest.mark.parametrize(
    ("name", "kwargs", "rank"),
    [
        ("Conv2D", {"filters": 2, "kernel_size": 2}, 4),
        ("Conv2DTranspose", {"filters": 2, "kernel_size": 2}, 4),
        ("DepthwiseConv1D", {"kernel_size": 2}, 3),
        ("SeparableConv2D", {"filters": 2, "kernel_size": 2}, 4),
        ("MaxPooling2D", {}, 4),
        ("AveragePooling3D", {"pool_size": 2}, 5),
        ("GlobalMaxPooling2D", {}, 4),
        ("GlobalAveragePooling1D", {}, 3),
        ("ZeroPadding2D", {}, 4),
        ("Cropping1D", {}, 3),
        ("UpSampling1D", {}, 3),
        ("UpSampling2D", {}, 4),
    ],
)
def test_a_built_layer_refuses_another_rank(name, kwargs, rank):
    """torch's kernels take images without a batch axis, and sums take anything: the layer must not."""
    layer = getattr(lamina.layers, name)(**kwargs)
    layer(torch.ones((4,) * rank))
    for other in (rank - 1, rank + 1):
        with pytest.raises(ShapeError, match=f"reads inputs of {rank} axes and got {other}"):
            layer(torch.ones((4,) * other))


@pytest.mark.parametrize("size", [2, 3])
def test_cropping_leaves_something(size):
    layer = lamina.layers.Cropping2D(((0, 0), (1, 2)), name="crop")
    for x in (torch.ones(1, 5, size, 2), lamina.Input((5, size, 2))):
        with pytest.raises(ShapeError, match=f"'crop' takes 3 positions off a width of {size}"):
            layer(x)


@pytest.mark.parametrize(
    ("name", "shape", "kwargs"),
    [
        ("MaxPooling2D", PLANE, {"pool_size": 3, "strides": 2, "padding": "same"}),
        ("AveragePooling2D", PLANE, {"pool_size": 2, "padding": "same"}),
        ("MaxPooling3D", VOLUME, {}),
        ("ZeroPadding1D", LINE, {}),
        ("ZeroPadding2D", PLANE, {}),
        ("UpSampling1D", LINE, {}),
        ("UpSampling2D", PLANE, {}),
        ("UpSampling2D", PLANE, {"interpolation": "bilinear"}),
        ("UpSampling3D", VOLUME, {}),
    ],
)
def test_contiguous_in_contiguous_out(name, shape, kwargs):
    x = torch.ones(shape, requires_grad=True)
    out = getattr(lamina.layers, name)(**kwargs)(x)
    assert out.is_contiguous()
    out.sum().backward()
    assert x.grad.is_contiguous()

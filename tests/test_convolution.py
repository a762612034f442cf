"""Convolutions, pooling, padding, cropping and enlarging beside Keras's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lamina
from lamina.base.errors import ShapeError, ShapeWarning
from layer_parity import check_layer

S1, S2, S3 = (2, 9, 4), (2, 9, 7, 4), (2, 5, 6, 4, 3)
F1, F2, F3 = (2, 4, 9), (2, 4, 9, 7), (2, 3, 5, 6, 4)

CONVOLUTIONS = [
    ("Conv1D", S1, {"filters": 3, "kernel_size": 3}),
    ("Conv1D", S1, {"filters": 3, "kernel_size": 2, "padding": "causal", "dilation_rate": 2}),
    ("Conv1D", S1, {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same", "activation": "relu"}),
    ("Conv1D", F1, {"filters": 3, "kernel_size": 3, "data_format": "channels_first", "padding": "same"}),
    ("Conv2D", S2, {"filters": 3, "kernel_size": 3}),
    ("Conv2D", S2, {"filters": 3, "kernel_size": (3, 2), "strides": 2, "padding": "same"}),
    ("Conv2D", S2, {"filters": 3, "kernel_size": 4, "strides": (2, 1), "padding": "same", "use_bias": False}),
    ("Conv2D", S2, {"filters": 6, "kernel_size": 3, "groups": 2, "dilation_rate": (2, 1)}),
    ("Conv2D", F2, {"filters": 3, "kernel_size": 3, "data_format": "channels_first", "activation": "tanh"}),
    ("Conv2D", S2, {"filters": 3, "kernel_size": 1, "kernel_regularizer": "l2", "bias_initializer": "ones"}),
    ("Conv3D", S3, {"filters": 2, "kernel_size": 2}),
    ("Conv3D", S3, {"filters": 2, "kernel_size": 3, "padding": "same", "strides": (1, 2, 1)}),
    ("Conv3D", F3, {"filters": 2, "kernel_size": 2, "data_format": "channels_first"}),
    ("Conv1DTranspose", S1, {"filters": 3, "kernel_size": 3, "strides": 2}),
    ("Conv1DTranspose", S1, {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"}),
    ("Conv2DTranspose", S2, {"filters": 3, "kernel_size": 3}),
    ("Conv2DTranspose", S2, {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"}),
    ("Conv2DTranspose", S2, {"filters": 3, "kernel_size": 2, "strides": 3}),
    ("Conv2DTranspose", S2, {"filters": 3, "kernel_size": 2, "strides": 2, "padding": "same", "activation": "relu"}),
    ("Conv2DTranspose", F2, {"filters": 3, "kernel_size": 3, "data_format": "channels_first", "use_bias": False}),
    ("Conv3DTranspose", S3, {"filters": 2, "kernel_size": 2, "strides": 2}),
    ("DepthwiseConv1D", S1, {"kernel_size": 3, "depth_multiplier": 2}),
    ("DepthwiseConv2D", S2, {"kernel_size": 3}),
    ("DepthwiseConv2D", S2, {"kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2}),
    ("DepthwiseConv2D", F2, {"kernel_size": 3, "data_format": "channels_first", "dilation_rate": 2}),
    ("SeparableConv1D", S1, {"filters": 5, "kernel_size": 3, "padding": "same"}),
    ("SeparableConv2D", S2, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}),
    ("SeparableConv2D", F2, {"filters": 5, "kernel_size": 3, "data_format": "channels_first", "strides": 2}),
]

OTHERS = [
    ("MaxPooling1D", S1, {}),
    ("MaxPooling2D", S2, {"pool_size": 3}),
    ("MaxPooling2D", S2, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("MaxPooling2D", S2, {"pool_size": 2, "strides": 1, "padding": "same"}),
    ("MaxPooling2D", F2, {"pool_size": (2, 3), "data_format": "channels_first"}),
    ("MaxPooling3D", S3, {"padding": "same"}),
    ("AveragePooling1D", S1, {"pool_size": 2}),
    ("AveragePooling2D", S2, {"pool_size": 3}),
    ("AveragePooling2D", S2, {"pool_size": 3, "strides": 2, "padding": "same"}),
    ("AveragePooling2D", F2, {"pool_size": 2, "data_format": "channels_first"}),
    ("AveragePooling3D", S3, {"pool_size": 2}),
    ("GlobalMaxPooling1D", S1, {}),
    ("GlobalMaxPooling2D", S2, {}),
    ("GlobalMaxPooling3D", S3, {"keepdims": True}),
    ("GlobalAveragePooling1D", F1, {"data_format": "channels_first"}),
    ("GlobalAveragePooling2D", S2, {"keepdims": True}),
    ("GlobalAveragePooling2D", F2, {"data_format": "channels_first"}),
    ("GlobalAveragePooling3D", S3, {}),
    ("ZeroPadding1D", S1, {"padding": (1, 2)}),
    ("ZeroPadding2D", S2, {"padding": ((1, 0), (2, 3))}),
    ("ZeroPadding2D", F2, {"padding": 2, "data_format": "channels_first"}),
    ("ZeroPadding3D", S3, {"padding": (1, 2, 0)}),
    ("Cropping1D", S1, {"cropping": (1, 2)}),
    ("Cropping2D", S2, {"cropping": ((1, 0), (2, 3))}),
    ("Cropping3D", S3, {"cropping": 1}),
    ("UpSampling1D", S1, {"size": 3}),
    ("UpSampling2D", S2, {"size": (2, 3)}),
    ("UpSampling2D", S2, {"size": 2, "interpolation": "bilinear"}),
    ("UpSampling2D", F2, {"size": 2, "data_format": "channels_first"}),
    ("UpSampling3D", S3, {}),
]


@pytest.mark.parametrize(("name", "shape", "kwargs"), CONVOLUTIONS)
def test_convolution_is_keras_s(name, shape, kwargs):
    check_layer(name, shape, **kwargs)


@pytest.mark.parametrize(("name", "shape", "kwargs"), OTHERS)
def test_windows_and_edges_are_keras_s(name, shape, kwargs):
    check_layer(name, shape, **kwargs)


@pytest.mark.parametrize(("name", "shape", "kwargs"), [c for c in CONVOLUTIONS + OTHERS if c[2].get("strides", 1) != 1])
def test_open_spatial_sizes_are_keras_s(name, shape, kwargs):
    first = 2 if kwargs.get("data_format") == "channels_first" else 1
    check_layer(name, shape, open_axes=(0, *range(first, first + len(shape) - 2)), check_config=False, **kwargs)


def test_output_padding_of_a_transposed_convolution(keras):
    kwargs = {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 1, "padding": "valid"}
    layer = lamina.layers.Conv2DTranspose(**kwargs)
    assert layer(torch.ones(1, 5, 5, 2)).shape == tuple(
        keras.layers.Conv2DTranspose(**kwargs).compute_output_shape((1, 5, 5, 2))
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_convolutions_under_a_policy(policy):
    layer = lamina.layers.Conv2D(3, 3, dtype=policy)
    out = layer(torch.ones(1, 5, 5, 2))
    assert lamina.engine.dtypes.standardize_dtype(out.dtype) == layer.compute_dtype


def test_nothing_is_copied_on_the_way_in_and_out():
    """A contiguous NHWC image is torch's channels_last, and the kernel's memory is torch's: no hidden layout change."""
    layer = lamina.layers.Conv2D(8, 3, padding="same")
    x = torch.randn(2, 6, 6, 4)
    out = layer(x)
    assert out.is_contiguous()
    weight = layer.kernel.permute(3, 2, 0, 1)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    out.sum().backward()
    assert layer.kernel.grad.permute(3, 2, 0, 1).is_contiguous(memory_format=torch.channels_last)


def test_where_the_image_went():
    with pytest.warns(ShapeWarning) as caught:
        out = lamina.layers.Conv2D(10, 8, padding="same")(lamina.Input((1, 32, 32)))
    assert out.shape == (None, 1, 32, 10)
    assert str(caught[0].message) == (
        "Conv2D 'conv2d' reads its input as a 1×32 image of 32 channels.\n"
        '  received   (None, 1, 32, 32)  batch, height, width, channels (data_format "channels_last")\n'
        "  expected   (None, 32, 32, 1)  the image that this looks like\n"
        "  because    height 1 is smaller than the kernel's 8, and the last two axes are equal, as in a\n"
        "             channels_first image of 1 channel and 32×32 pixels\n"
        '  to mend    Input((32, 32, 1)), or Conv2D(..., data_format="channels_first")'
    )
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("shape", "kwargs"),
    [
        ((8, 8, 8), {"kernel_size": 3}),
        ((1, 1, 512), {"kernel_size": 1}),
        ((1, 100, 3), {"kernel_size": (1, 5)}),
        ((3, 32, 32), {"kernel_size": 3, "data_format": "channels_first"}),
    ],
)
def test_no_false_alarm(shape, kwargs):
    assert lamina.layers.Conv2D(4, padding="same", **kwargs)(lamina.Input(shape)).shape[0] is None


def test_feature_maps_may_have_any_proportions():
    x = lamina.Input((4, 64, 1))
    maps = lamina.layers.Conv2D(64, (3, 1))(x)
    assert lamina.layers.Conv2D(4, 3, padding="same")(maps).shape == (None, 2, 64, 4)


def test_the_mirrored_mistake():
    with pytest.warns(ShapeWarning, match="reads its input as a 32×3 image of 32 channels"):
        lamina.layers.Conv2D(4, 5, data_format="channels_first", padding="same")(lamina.Input((32, 32, 3)))


def test_a_kernel_larger_than_the_image():
    small = lamina.layers.MaxPooling2D(2, name="small")(lamina.Input((6, 6, 3)))
    with pytest.raises(ShapeError) as error:
        lamina.layers.Conv2D(4, 5, name="wide")(small)
    assert str(error.value) == (
        "Conv2D 'wide': along height, a window of 5 does not fit into 3.\n"
        "  received   (None, 3, 3, 3)  from MaxPooling2D 'small'\n"
        "  expected   height 5 or more\n"
        "  because    the window of 5 is larger than the 3 positions it slides over\n"
        '  to mend    padding="same", a smaller kernel, or a larger input\n'
        "  sizes      input_layer  InputLayer    (None, 6, 6, 3)\n"
        "             small        MaxPooling2D  (None, 3, 3, 3)"
    )


def test_another_number_of_channels():
    layer = lamina.layers.Conv2D(4, 3, name="conv")
    layer(torch.ones(1, 5, 5, 3))
    for x in (torch.ones(1, 5, 5, 1), lamina.Input((5, 5, 1))):
        with pytest.raises(ShapeError, match="'conv' needs 3 channels and got 1"):
            layer(x)


def test_another_rank_says_which_axis_is_missing():
    with pytest.raises(ShapeError, match="reads inputs of 4 axes and got 3") as error:
        lamina.layers.Conv2D(4, 3)(torch.ones(5, 5, 3))
    assert "x[None]" in error.value.mend


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"filters": 0, "kernel_size": 3}, "filters is a whole number above 0"),
        ({"filters": 4, "kernel_size": (3, 3, 3)}, "kernel_size is"),
        ({"filters": 4, "kernel_size": 3, "padding": "full"}, "padding is 'valid' or 'same'"),
        ({"filters": 4, "kernel_size": 3, "strides": 2, "dilation_rate": 2}, "cannot both be above 1"),
        ({"filters": 3, "kernel_size": 3, "groups": 2}, "multiple of groups"),
        ({"filters": 3, "kernel_size": 3, "data_format": "NHWC"}, "data_format is"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lamina.layers.Conv2D(**kwargs)


def test_a_masked_mean_counts_kept_steps_only(keras):
    x, mask = (
        np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32"),
        np.array([[1, 1, 0, 0, 1], [1] * 5], bool),
    )
    expected = keras.layers.GlobalAveragePooling1D()(x, mask=mask)
    got = lamina.layers.GlobalAveragePooling1D()(x, mask=torch.from_numpy(mask))
    np.testing.assert_allclose(got, expected, rtol=1e-6)

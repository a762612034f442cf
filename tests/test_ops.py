"""Every function of `lamina.ops` against `keras.ops`, a line a case: shape, type, values, gradients and symbols."""

from __future__ import annotations

import inspect
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

from lamina import ops
from lamina.base.errors import ShapeError, UnfinishedError
from lamina.base.registry import known_names, lookup
from lamina.engine.dtypes import standardize_dtype
from lamina.graph.keras_tensor import KerasTensor

random = np.random.default_rng(0)


def words(text):
    return text.split()


def floats(*shape, low=-2.0, high=2.0):
    return random.uniform(low, high, shape).astype("float32")


def integers(*shape, low=0, high=4):
    return random.integers(low, high, shape).astype("int32")


X, Y, V, W = floats(3, 4), floats(3, 4), floats(4), floats(6)
POSITIVE, UNIT = floats(3, 4, low=0.1), floats(3, 4, low=-0.9, high=0.9)
CUBE, SQUARE, BATCH = floats(2, 3, 4), floats(3, 3), floats(2, 3, 3)
DEFINITE = SQUARE @ SQUARE.T + 3 * np.eye(3, dtype="float32")
N, M, BITS = integers(3, 4), integers(3, 4, low=1), integers(3, 4, low=0, high=2).astype("bool")
GAPS = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 6.0]], "float32")
SEQUENCE, IMAGE, VOLUME = floats(2, 9, 4), floats(2, 7, 8, 4), floats(1, 4, 5, 4, 2)
LOGITS, CLASSES = floats(3, 5), integers(3, high=5)
PROBABILITIES, ONE_HOT = floats(3, 5, low=0.05, high=0.9), np.eye(5, dtype="float32")[CLASSES]
QUERY, KEY, SHARED = floats(2, 5, 4, 3), floats(2, 6, 4, 3), floats(2, 6, 2, 3)

CASES = []


def case(name, *args, **options):
    CASES.append(pytest.param(name, args, options, id=f"{name}-{len(CASES)}"))


# --- arithmetic
for name in words("add subtract multiply divide true_divide maximum minimum arctan2 logaddexp logaddexp2 fmax fmin"):
    case(name, X, Y)
    case(name, X, 2)
    case(name, CUBE, V)
    case(name, X, [1.0, 2.0, 3.0, 4.0])
    case(name, 2, X)
for name in words("less less_equal greater greater_equal equal not_equal isclose allclose"):
    case(name, X, Y)
    case(name, N, M)
    case(name, N, 2)
    case(name, X, N)
for name in words("logical_and logical_or logical_xor"):
    case(name, N, BITS)
    case(name, X, True)
for name in words("bitwise_and bitwise_or bitwise_xor gcd lcm left_shift right_shift"):
    case(name, N, M)
    case(name, N, 2)
for name in words("floor_divide mod fmod"):
    case(name, N, M)
    case(name, -N, 3)
    case(name, N, 1.5)
case("mod", X, 0.7)
case("fmod", X, 0.7)
case("floor_divide", X, 0.7, gradients=False)
case("power", POSITIVE, Y)
case("power", X, 2)
case("power", 2.0, X)
case("power", N, 2)
case("divide_no_nan", X, np.array([0, 1, 2, 0], "float32"), gradients=False)
case("hypot", X, Y)
case("heaviside", np.array([-1.0, 0.0, 2.0], "float32"), 0.5, gradients=False)
case("nextafter", X, Y, gradients=False)
case("ldexp", X, N)
case("isin", N, [1, 3])
case("isin", N, [1, 3], invert=True)
case("where", BITS, X, Y)
case("where", BITS, X, 0)
case("where", BITS, N, 1.5)
case("where", BITS, 1, 2)
case("select", [BITS, N > 1], [X, Y], default=7.0)
case("bitwise_not", N)
case("logical_not", N)

# --- elementwise
for name in words(
    "negative abs absolute sign square exp exp2 expm1 sin cos tan arctan sinh cosh tanh arcsinh sinc deg2rad rad2deg "
    "floor ceil trunc round erf erfc i0 fabs isnan isinf isfinite signbit conj conjugate real reciprocal angle"
):
    case(name, X)
    case(name, N, gradients=False)
for name in words("sqrt rsqrt log log10 log1p log2 cbrt"):
    case(name, POSITIVE)
    case(name, N, gradients=False)
for name in words("arcsin arccos arctanh erfinv"):
    case(name, UNIT)
case("arccosh", POSITIVE + 1)
case("isposinf", GAPS / 0.1)
case("isneginf", GAPS)
case("isreal", X)
case("round", X, 2)
case("round", N * 7, -1)
case("clip", X, -1.0, 1.0)
case("clip", N, 1, 2)
case("clip", N, 0.5, 2)
case("nan_to_num", GAPS)
case("nan_to_num", GAPS, nan=7.0)
case("polar", POSITIVE, X, gradients=False)
case("view_as_complex", floats(3, 2), gradients=False)

# --- reductions
for name in words("sum mean max min prod var std any all logsumexp median amax amin ptp"):
    smooth = name not in ("any", "all")
    for axis in (None, 0, -1, (0, 2)):
        case(name, CUBE, axis=axis, gradients=smooth)
        if axis is not None or name in ("mean", "std"):  # with axis=None Keras on torch forgets keepdims in the others
            case(name, CUBE, axis=axis, keepdims=True, gradients=smooth)
for name in words("nansum nanmean nanmax nanmin nanprod nanvar nanstd"):
    case(name, GAPS, gradients=False)
    case(name, GAPS, axis=1, gradients=False)
    case(name, N, axis=0)
for name in words("nanargmax nanargmin nancumsum nancumprod"):
    case(name, GAPS[:, 2:], axis=1, gradients=False)
for name in words("argmax argmin"):
    case(name, X)
    case(name, X, axis=1)
    case(name, N, axis=0, keepdims=True)
    case(name, X, keepdims=True)
for name in words("cumsum cumprod"):
    case(name, X)
    case(name, X, axis=1)
    case(name, N, axis=0)
    case(name, N, axis=0, dtype="float32")
case("count_nonzero", N)
case("count_nonzero", N, axis=1)
case("max", X, initial=1.0)
case("min", N, initial=-3)
case("average", X)
case("average", X, axis=1)
case("average", X, axis=1, weights=V)
for q in (0.3, [0.1, 0.9]):
    case("quantile", CUBE, q, axis=1)
    case("quantile", CUBE, q, axis=(0, 2), keepdims=True)
    case("quantile", N, q)
for method in words("lower higher midpoint nearest"):
    case("quantile", X, 0.3, axis=1, method=method, gradients=False)
case("percentile", X, 30, axis=0)
case("diff", X)
case("diff", N, n=2, axis=0)
case("trapezoid", X)
case("trace", CUBE)
case("norm", X)
case("norm", X, axis=1)
case("norm", X, ord=1, axis=0)
case("norm", X, ord="nuc")
case("norm", CUBE, ord="fro", axis=(1, 2), keepdims=True)
case("norm", X, ord=np.inf, axis=1)

# --- order and counting
case("sort", X)
case("sort", N, axis=0)
case("argsort", X)
case("argsort", N, axis=0)
case("top_k", X, 2)
case("in_top_k", CLASSES, LOGITS, 2)
case("searchsorted", np.sort(W), V)
case("searchsorted", [1, 2, 3], [2, 4], side="right")
case("digitize", X, [-1.0, 0.0, 1.0])
case("bincount", CLASSES, symbolic=False)
case("bincount", N, symbolic=False)
case("bincount", CLASSES, weights=floats(3), minlength=9, symbolic=False, gradients=False)
case("histogram", W, bins=4, symbolic=False, gradients=False)
case("nonzero", N, symbolic=False)
case("unique", N, symbolic=False)
case("unique", N, return_inverse=True, return_counts=True, symbolic=False)
case("unravel_index", N, (3, 5))
case("argpartition", W, 2, symbolic=False, values=False)

# --- creation
case("zeros", (2, 3))
case("ones", (2,), dtype="int32")
case("full", (2, 3), 7)
case("full", (2,), 3, dtype="int32")
for name in words("zeros_like ones_like"):
    case(name, X)
    case(name, N, dtype="bool")
case("full_like", N, 2.7)
case("arange", 5)
case("arange", 1, 2, 0.25)
case("arange", 7, 1, -2, dtype="float32")
case("linspace", 0, 10, 5)
case("linspace", 0, 10, 5, endpoint=False, retstep=True)
case("logspace", 0, 2, 4)
case("geomspace", 1, 100, 4)
case("eye", 3)
case("eye", 3, 4, k=1, dtype="int32")
case("identity", 3)
case("tri", 3, 4, k=-1)
case("vander", V, gradients=False)
case("vander", V, 3, increasing=True, gradients=False)
for name in words("bartlett blackman hamming hanning"):
    case(name, 7)
case("kaiser", 7, 14.0)

# --- structure
case("reshape", X, (2, -1))
case("reshape", X, (-1,))
case("ravel", X)
case("transpose", CUBE)
case("transpose", CUBE, (1, 0, 2))
case("swapaxes", CUBE, 0, 2)
case("moveaxis", CUBE, 0, -1)
case("moveaxis", CUBE, [0, 1], [2, 0])
case("squeeze", X[:, None, :, None])
case("squeeze", X[:, None], axis=1)
case("squeeze", X[:, None, :, None], axis=(1, 3))
case("expand_dims", X, -1)
case("expand_dims", X, (0, 3))
case("broadcast_to", V, (3, 4))
case("concatenate", [X, Y], axis=1)
case("concatenate", [X, N])
case("append", X, Y)
case("append", X, Y, axis=1)
case("stack", [X, Y])
case("stack", [X, N], axis=-1)
case("unstack", CUBE, axis=1)
for name in words("hstack vstack dstack"):
    case(name, [X, Y])
    case(name, [V, V])
case("split", X, 2, axis=1)
case("split", X, [1, 3], axis=1)
case("array_split", X, 3, axis=1)
case("hsplit", X, 2)
case("vsplit", IMAGE, 2)
case("dsplit", CUBE, 2)
case("flip", CUBE)
case("flip", CUBE, axis=(0, 2))
case("fliplr", X)
case("flipud", X)
case("rot90", X)
case("roll", X, 2)
case("roll", X, 1, axis=1)
case("repeat", X, 2)
case("repeat", X, 2, axis=1)
case("repeat", X, np.array([1, 2, 0, 3]), axis=1, symbolic=False)
case("tile", X, (2, 1))
case("tile", X, 2)
case("pad", X, ((1, 1), (1, 1)))
case("pad", X, ((0, 1), (2, 0)), constant_values=7)
case("pad", X, ((0, 0), (1, 2)), mode="reflect")
case("pad", CUBE, ((0, 0), (1, 1), (1, 1)), mode="symmetric")
case("meshgrid", V, W)
case("diag", V)
case("diag", X, k=1)
case("meshgrid", V, W, indexing="ij")
case("tril", CUBE)
case("triu", CUBE, k=1)
case("diagflat", V)
case("diagonal", CUBE, offset=1, axis1=1, axis2=2)
case("extract_sequences", SEQUENCE, 2, 1)
case("depth_to_space", IMAGE, 2)
case("space_to_depth", IMAGE[:, :6], 2)
case("depth_to_space", IMAGE.transpose(0, 3, 1, 2), 2, data_format="channels_first")
case("size", X)
case("cast", X, "int32", gradients=False)
case("saturate_cast", X * 200, "uint8", gradients=False)
case("copy", X)
case("stop_gradient", X)
case("convert_to_tensor", [[1, 2.5]])
case("view", X, "int32", gradients=False)

# --- indexing
case("take", X, [2, 0])
case("take", X, [[1, -1], [0, 2]], axis=1)
case("take", X, integers(3, 2), axis=1)
case("take_along_axis", X, integers(3, 2), axis=1)
case("take_along_axis", X, [3, 1])
case("slice", X, [1, 1], [2, 2])
case("slice", X, np.array([1, 0]), [2, 3])
case("slice_update", X, [1, 2], Y[:2, :2])
case("scatter", [[0, 1], [2, 0], [0, 1]], V[:3], (3, 2))
case("get_item", X, (slice(None), 1))
case("get_item", X, (slice(None), None, slice(0, 4, 2)))
case("get_item", CUBE, (..., -1))
case("scatter_update", X, [[0, 1], [2, 0]], V[:2])
case("scatter_update", X, [[0], [2]], Y[:2])
for reduction in words("add max min mul"):
    case("scatter_update", W, [[0], [2], [0]], V[:3], reduction=reduction, gradients=reduction == "add")
for name in words("segment_sum segment_max"):
    case(name, X, np.array([0, 0, 1]), num_segments=2)
    case(name, X, np.array([0, 3, 1]), num_segments=5)
    case(name, N, np.array([1, 0, 1]), 2)
case("segment_min", X, np.array([0, 0, 1]), num_segments=2)
case("segment_prod", X, np.array([0, 0, 1]), num_segments=2)
case("one_hot", N, 4)
case("one_hot", N, 4, axis=1, dtype="int32")
case("multi_hot", N, 4)
case("multi_hot", CLASSES, 5)

# --- linear algebra
case("matmul", X, Y.T)
case("matmul", CUBE, X.T)
case("matmul", V, X.T)
case("matmul", N, V)
case("matmul", BATCH, BATCH)
case("dot", X, Y.T)
case("dot", V, V)
case("dot", X, 2.0)
case("vdot", V, V)
case("inner", X, Y)
case("outer", V, W)
case("kron", X, V[None])
case("tensordot", CUBE, CUBE, axes=3)
case("tensordot", CUBE, X, axes=[[1, 2], [0, 1]])
case("tensordot", X, V, axes=1)
case("cross", X[:, :3], Y[:, :3], axis=1)
case("einsum", "bij,jk->bik", CUBE, X.T)
case("einsum", "...i,i->...", CUBE, V)
case("einsum", "ij->ji", N)
case("cross", SQUARE, SQUARE.T, axis=0)
case("cross", SQUARE, BATCH[0], axis=1)
for name in words("det inv slogdet pinv"):
    case(name, BATCH + 2 * np.eye(3, dtype="float32"))
case("solve", BATCH, BATCH * 2 + 1)
case("solve", SQUARE, floats(3))
case("cholesky", DEFINITE, symbolic="whole")
case("cholesky", DEFINITE, upper=True)
case("cholesky_inverse", DEFINITE)
case("logdet", DEFINITE)
case("solve_triangular", np.tril(DEFINITE), floats(3, 2), lower=True)
case("lstsq", floats(5, 3), floats(5, 2))
case("qr", X.T)
case("qr", X.T, mode="complete", gradients=False)
case("svd", X, compute_uv=False, symbolic="whole")
case("svd", X, values=False, gradients=False, symbolic="whole")
case("eigh", DEFINITE, values=False, gradients=False)
case("eig", DEFINITE, values=False, gradients=False)
case("lu_factor", DEFINITE, gradients=False)
case("matrix_rank", BATCH)
case("corrcoef", X)
case("cdist", X, Y)
for mode in words("valid same full"):
    case("correlate", W, V, mode=mode)
case("correlate", V, W, mode="full")
case("fft", (X, Y))
case("fft2", (X, Y))
case("ifft2", (X, Y))
case("rfft", X)
case("rfft", X, fft_length=6)
case("irfft", (X, Y))

# --- neural networks
for name in words(
    "relu relu6 sigmoid softplus softsign silu swish log_sigmoid leaky_relu hard_sigmoid hard_silu hard_swish "
    "hard_tanh hard_shrink soft_shrink tanh_shrink elu celu selu gelu glu squareplus sparse_sigmoid sparse_plus "
    "softmax log_softmax layer_normalization rms_normalization normalize"
):
    case(name, X)
case("gelu", X, False)
case("leaky_relu", X, 0.3)
case("celu", X, 2.0)
case("threshold", X, 0.5, 7.0)
case("elu", X, 2.0)
for name in words("softmax log_softmax"):
    case(name, CUBE, axis=1)
    case(name, CUBE, axis=(1, 2))
    case(name, CUBE, axis=None)
case("normalize", CUBE, axis=1, order=1)
case("normalize", CUBE, axis=1, order=3)
case("moments", CUBE, axes=[0])
case("moments", CUBE, axes=(0, 2), keepdims=True)
case("batch_normalization", X, V, POSITIVE[0], -1)
case("psnr", X, Y, 1.0)
case("batch_normalization", CUBE, SQUARE[0], POSITIVE[0, :3], 1, offset=SQUARE[1], scale=SQUARE[2], epsilon=0.1)
case("layer_normalization", CUBE, V, POSITIVE[0], epsilon=0.1)
case("layer_normalization", CUBE, axis=(1, 2))
case("rms_normalization", CUBE, V)
case("binary_crossentropy", ONE_HOT, PROBABILITIES)
case("binary_crossentropy", ONE_HOT, LOGITS, from_logits=True)
case("categorical_crossentropy", ONE_HOT, PROBABILITIES)
case("categorical_crossentropy", ONE_HOT, LOGITS, from_logits=True)
case("sparse_categorical_crossentropy", CLASSES, PROBABILITIES)
case("sparse_categorical_crossentropy", CLASSES, LOGITS, from_logits=True)
case("sparse_categorical_crossentropy", CLASSES[:, None], LOGITS, from_logits=True)
case("sparse_categorical_crossentropy", integers(2, 4, high=3), CUBE, from_logits=True, axis=1)
case("dot_product_attention", QUERY, KEY, KEY * 2)
case("dot_product_attention", QUERY, SHARED, SHARED)
case("dot_product_attention", QUERY, KEY, KEY, scale=0.3, is_causal=True)
case(
    "dot_product_attention", QUERY, KEY, KEY, mask=integers(2, 1, 5, 6, high=2).astype(bool) | np.eye(5, 6, dtype=bool)
)
case("dot_product_attention", QUERY, KEY, KEY, bias=floats(2, 4, 5, 6), flash_attention=False)

# --- convolutions and pools
for padding in ("valid", "same"):
    for x, kernel in ((SEQUENCE, (3,)), (IMAGE, (3, 2)), (VOLUME, (2, 2, 2))):
        channels, rank = x.shape[-1], len(kernel)
        first = np.moveaxis(x, -1, 1)
        weights, depthwise = floats(*kernel, channels, 6), floats(*kernel, channels, 2)
        case("conv", x, weights, 1, padding)
        case("conv", x, weights, 2, padding)
        case("conv", x, weights, 1, padding, dilation_rate=2 if rank < 3 else 1)
        case("conv", first, weights, 1, padding, "channels_first")
        case("conv", x, floats(*kernel, channels // 2, 6), 1, padding)
        case("conv_transpose", x, floats(*kernel, 5, channels), 2, padding)
        case("conv_transpose", x, floats(*kernel, 5, channels), 1, padding)
        case("max_pool", x, 2, padding=padding)
        case("max_pool", x, 3, 1, padding)
        case("average_pool", x, 2, padding=padding)
        case("average_pool", x, 3, 2 if padding == "valid" else 1, padding)
        case("max_pool", first, 2, padding=padding, data_format="channels_first")
        if rank < 3:
            case("depthwise_conv", x, depthwise, 1, padding)
            case("depthwise_conv", x, depthwise, 2, padding)
            case("separable_conv", x, depthwise, floats(*[1] * rank, 2 * channels, 3), 1, padding)
case("adaptive_average_pool", IMAGE, (2, 3))
case("adaptive_max_pool", SEQUENCE, 4)
case("adaptive_max_pool", IMAGE, 2)
case("unfold", IMAGE, 2)
case("fold", floats(1, 8, 9), (4, 4), 2)

# --- images
for mode in ("nearest", "bilinear", "bicubic"):
    case("image.resize", IMAGE, (5, 12), interpolation=mode)
    case("image.resize", IMAGE[0], (3, 3), interpolation=mode)
case("image.resize", IMAGE, (3, 3), antialias=True)
case("image.resize", (IMAGE * 50 + 100).astype("uint8"), (3, 10))
case("image.resize", IMAGE, (4, 4), crop_to_aspect_ratio=True)
case("image.resize", IMAGE, (4, 4), pad_to_aspect_ratio=True, fill_value=9.0)
case("image.resize", np.moveaxis(IMAGE, -1, 1), (4, 4), data_format="channels_first")
case("image.rgb_to_grayscale", IMAGE[..., :3])
case("image.pad_images", IMAGE, 1, 2, target_height=12, target_width=12)
case("image.crop_images", IMAGE, 1, 2, target_height=3, target_width=4)


# --- the comparison

# Keras's count_nonzero
KERAS_TRANSPOSES_OLDLY = pytest.mark.filterwarnings("ignore:.*T. on tensors of dim", "ignore:Tensor.T is deprecated")


def function(package, name):
    for part in name.split("."):
        package = getattr(package, part)
    return package


def leaves(result):
    if isinstance(result, list | tuple):
        return [leaf for one in result for leaf in leaves(one)]
    return [result]


def mapped(change, value):
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, list | tuple) and any(isinstance(one, np.ndarray) for one in value):
        return type(value)(mapped(change, one) for one in value)
    return value


def to_torch(arrays, gradients):
    def change(array):
        tensor = torch.tensor(array)
        arrays.append(tensor.requires_grad_(gradients and tensor.is_floating_point()))
        return tensor

    return change


def weighted(results):
    """One number that tells all elements of float results apart."""
    total = 0.0
    for result in results:
        if isinstance(result, torch.Tensor) and result.requires_grad:
            total = total + (result * torch.cos(torch.arange(result.numel()).reshape(result.shape))).sum()
    return total


def run(package, name, args, kwargs, gradients):
    inputs = []
    change = to_torch(inputs, gradients)
    args, kwargs = [mapped(change, one) for one in args], {key: mapped(change, one) for key, one in kwargs.items()}
    results = leaves(function(package, name)(*args, **kwargs))
    total = weighted(results) if gradients else 0.0
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    slopes = [None] * len(wanted)
    if isinstance(total, torch.Tensor):
        slopes = torch.autograd.grad(total, wanted, allow_unused=True)
    return results, [torch.zeros_like(x) if slope is None else slope for x, slope in zip(wanted, slopes, strict=True)]


def close(ours, theirs, tolerance=2e-5):
    assert tuple(ours.shape) == tuple(theirs.shape)
    ours, theirs = ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@KERAS_TRANSPOSES_OLDLY
@pytest.mark.parametrize(("name", "args", "options"), CASES)
def test_as_keras(name, args, options):
    options = dict(options)
    gradients, values = options.pop("gradients", True), options.pop("values", True)
    symbolic = options.pop("symbolic", True)
    ours, our_slopes = run(ops, name, args, options, gradients and values)
    theirs, their_slopes = run(keras.ops, name, args, options, gradients and values)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(other, torch.Tensor):
            assert standardize_dtype(one.dtype) == keras.backend.standardize_dtype(other.dtype)
            assert tuple(one.shape) == tuple(other.shape)
        if values:
            close(torch.as_tensor(one), torch.as_tensor(other))
    for one, other in zip(our_slopes, their_slopes, strict=True):
        close(one, other, 1e-4)
    if symbolic:
        check_symbolic(name, args, options, ours, whole=True)
        if symbolic != "whole" and len(args) and isinstance(args[0], np.ndarray) and args[0].ndim > 1:
            check_symbolic(name, args, options, ours, whole=False)


def check_symbolic(name, args, kwargs, real, whole):
    """The same call on symbols says the same shapes and types; with an open batch at least where it can run."""
    symbols = []

    def change(array):
        open_batch = not whole and array.ndim == args[0].ndim and array.shape[0] == args[0].shape[0]
        symbols.append(KerasTensor((None, *array.shape[1:]) if open_batch else array.shape, array.dtype.name))
        return symbols[-1]

    args_of, kwargs_of = (
        [mapped(change, one) for one in args],
        {key: mapped(change, one) for key, one in kwargs.items()},
    )
    if not symbols:
        return
    try:
        results = leaves(function(ops, name)(*args_of, **kwargs_of))
    except ShapeError:
        if whole:
            raise
        return  # this function does not take any size of that axis
    if not whole and len(results) != len(real):
        return
    for symbol, result in zip(results, real, strict=True):
        if isinstance(result, torch.Tensor):
            assert isinstance(symbol, KerasTensor)
            assert symbol.dtype == standardize_dtype(result.dtype)
            assert len(symbol.shape) == result.ndim
            assert all(size in (None, found) for size, found in zip(symbol.shape, result.shape, strict=True))
            assert not whole or None not in symbol.shape


# --- types

DTYPES = words("bool uint8 int8 int16 int32 float16 bfloat16 float32")
UNARY = words(
    "abs sign square sqrt exp log sin tanh floor ceil round negative reciprocal isnan logical_not sum mean prod max "
    "min var std any all argmax argmin cumsum cumprod median logsumexp sort argsort count_nonzero zeros_like ones_like "
    "diag trace relu sigmoid softmax erf rsqrt trunc sinc average norm size transpose diff ptp normalize nansum nanmean"
)
BINARY = words(
    "add subtract multiply divide true_divide floor_divide mod power maximum minimum equal less logical_and matmul dot "
    "inner outer tensordot arctan2 append logaddexp fmax bitwise_and hypot kron cross"
)


def dtype_of(call):
    try:
        result = call()
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    return standardize_dtype(result.dtype)


@KERAS_TRANSPOSES_OLDLY
@pytest.mark.parametrize("name", UNARY)
def test_types_of_one(name):
    for dtype in DTYPES:
        x = torch.ones(2, 2, dtype=getattr(torch, dtype))
        theirs = dtype_of(lambda: getattr(keras.ops, name)(x))  # noqa: B023
        if theirs is not None:
            assert dtype_of(lambda: getattr(ops, name)(x)) == theirs, dtype  # noqa: B023


@pytest.mark.parametrize("name", BINARY)
def test_types_of_two(name):
    size = 3 if name == "cross" else 2
    for first in DTYPES:
        x = torch.ones(size, size, dtype=getattr(torch, first))
        others = [torch.ones(size, size, dtype=getattr(torch, second)) for second in DTYPES]
        # Beside the other functions, Keras on torch makes a number a tensor of its own type first.
        numbers = (True, 2, 2.5) if name in BINARY[:13] else ()
        for y in (*others, *numbers):
            theirs = dtype_of(lambda: getattr(keras.ops, name)(x, y))  # noqa: B023
            if theirs is not None:
                assert dtype_of(lambda: getattr(ops, name)(x, y)) == theirs, (first, y)  # noqa: B023


@pytest.mark.parametrize(
    "value", [1, 1.5, True, [1, 2], [1, 2.5], [], 2**40, 1j, np.zeros(2), np.zeros(2, "uint16"), np.float64(2), (1, 2)]
)
def test_types_of_values(value):
    ours, theirs = ops.convert_to_tensor(value), keras.ops.convert_to_tensor(value)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape


@pytest.mark.parametrize("name", ["add", "maximum", "matmul"])
def test_64_bits_stay(name):
    for dtype in (torch.int64, torch.float64):
        x = torch.ones(2, 2, dtype=dtype)
        assert getattr(ops, name)(x, x).dtype == dtype
        assert getattr(ops, name)(x, torch.ones(2, 2, dtype=torch.int32)).dtype == dtype


# --- what only lamina does


def test_signatures_are_keras():
    for name in known_names("ops"):
        ours = inspect.signature(lookup("ops", name)).parameters
        theirs = inspect.signature(function(keras.ops, name)).parameters
        assert [one for one in ours if one != "kwargs"] == [one for one in theirs if one != "kwargs"], name


def test_every_name_of_keras_is_there_or_named():
    for name in dir(keras.ops):
        if name.startswith("_"):
            continue
        try:
            assert getattr(ops, name) is not None
        except UnfinishedError as error:
            assert name in str(error)  # noqa: PT017
    for module in ("image", "linalg", "nn"):
        for name in dir(getattr(keras.ops, module)):
            if not name.startswith("_"):
                try:
                    assert getattr(getattr(ops, module), name) is not None
                except UnfinishedError as error:
                    assert name in str(error)  # noqa: PT017


def test_unknown_names_show_the_nearest():
    with pytest.raises(AttributeError, match="Did you mean 'softmax'"):
        _ = ops.sofmax
    with pytest.raises(AttributeError, match="Did you mean 'resize'"):
        _ = ops.image.resise


def test_operators_of_symbols():
    x, y = KerasTensor((None, 4)), KerasTensor((None, 4))
    for result in (x + y, x - 1, 2 * x, 1 / x, x // 2, x % 3, x**2, 2**x, -x, abs(x), x[:, 1:]):
        assert result.shape[0] is None
        assert result.dtype == "float32"
    for result in (x < y, x <= 1, x > y, x >= 0, x != y, (x < 1) & (y > 2), (x < 1) | (y < 1), ~(x > 0)):
        assert result.shape == (None, 4)
        assert result.dtype == "bool"
    assert (x @ KerasTensor((4, 7))).shape == (None, 7)
    assert (KerasTensor((2,), "int32") / 2).dtype == "float32"


def test_no_op_reads_values_of_symbols():
    with pytest.raises(ShapeError, match="values"):
        ops.bincount(KerasTensor((None,), "int32"))


def test_where_keras_on_torch_errs():
    """Results that NumPy, or Keras on its other backends, gives and Keras on torch does not."""
    np.testing.assert_allclose(ops.take_along_axis(X, [3, -1]), np.take_along_axis(X, np.array([3, -1]), None))
    np.testing.assert_allclose(ops.average(X, weights=POSITIVE), np.average(X, weights=POSITIVE), rtol=1e-5)
    np.testing.assert_allclose(ops.pad(X, 1), np.pad(X, 1))
    for mode in ("symmetric", "edge", "wrap"):
        np.testing.assert_allclose(ops.pad(X, ((3, 1), (0, 2)), mode=mode), np.pad(X, ((3, 1), (0, 2)), mode=mode))
    for mode in ("valid", "same"):
        np.testing.assert_allclose(ops.correlate(V, W, mode), np.correlate(V, W, mode), rtol=1e-4)
    assert ops.sum(CUBE, keepdims=True).shape == (1, 1, 1)
    assert ops.slice(X, [1, 0], [2, -1]).shape == (2, 4)
    assert ops.linspace(0.0, V, 5, axis=1).shape == (4, 5)
    assert ops.dot(CUBE, torch.ones(5, 4, 6)).shape == (2, 3, 5, 6)
    np.testing.assert_allclose(ops.sum(ops.sparsemax(X), axis=-1), 1.0, rtol=1e-5)
    pooled = ops.average_pool(torch.arange(8.0).reshape(1, 8, 1), 3, 2, "same")
    assert pooled.flatten().tolist() == [1.0, 3.0, 5.0, 6.5]
    fewest = ops.segment_min(np.array([1, 2], "int32"), [0, 0], num_segments=2)
    assert fewest.tolist() == [1, 2**31 - 1]

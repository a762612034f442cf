"""Where Keras's configs say a thing otherwise than lamina's: classes and functions in private modules of Keras."""

from __future__ import annotations

from typing import Any

from lamina.base.errors import LaminaError

_FUNCTIONAL = "keras.src.models.functional"

# Functions of keras.ops are classes in files, named in camel case; those not listed here are in `numpy`.
_MODULES = {
    "nn": """
        adaptive_average_pool adaptive_max_pool average_pool binary_crossentropy categorical_crossentropy celu conv
        conv_transpose depth_to_space depthwise_conv dot_product_attention elu fold gelu glu hard_shrink hard_sigmoid
        hard_silu hard_tanh leaky_relu log_sigmoid log_softmax max_pool moments multi_hot normalize one_hot polar psnr
        relu relu6 selu separable_conv sigmoid silu soft_shrink softmax softplus softsign space_to_depth
        sparse_categorical_crossentropy sparse_plus sparse_sigmoid sparsemax squareplus tanh_shrink threshold unfold
    """,
    "math": """
        cdist erf erfc erfinv extract_sequences fft fft2 ifft2 in_top_k irfft logdet logsumexp rfft rsqrt segment_max
        segment_min segment_prod segment_sum top_k view_as_complex view_as_real
    """,
    "core": """
        associative_scan cast cond convert_to_tensor fori_loop map saturate_cast scan scatter scatter_update slice
        slice_update stop_gradient switch unstack vectorized_map while_loop
    """,
    "linalg": """
        cholesky cholesky_inverse det eig eigh inv jvp lstsq lu_factor matrix_rank norm pinv qr solve solve_triangular
        svd
    """,
}
_CLASSES = {
    "allclose": "AllClose",
    "cdist": "CDist",
    "isin": "IsIn",
    "searchsorted": "SearchSorted",
    **{name: name.upper() for name in ("fft", "fft2", "ifft2", "irfft", "jvp", "psnr", "rfft", "svd")},
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


def to_keras(config: Any) -> Any:
    """A config of lamina with the private names under which Keras finds a Functional model."""
    if isinstance(config, dict):
        changed = {key: to_keras(value) for key, value in config.items()}
        if (config.get("module"), config.get("class_name")) == ("keras", "Functional"):
            changed.update(module=_FUNCTIONAL, registered_name="Functional")
        return changed
    return [to_keras(item) for item in config] if isinstance(config, list | tuple) else config


def from_keras(config: Any) -> Any:
    """A config that Keras wrote without what lamina has no word for. Errors: a quantized layer is a LaminaError."""
    if isinstance(config, dict):
        if config.get("quantization_config") is not None:
            raise LaminaError(f"The layer {config.get('name')!r} is quantized, which lamina does not read.")
        return {key: from_keras(value) for key, value in config.items() if key != "quantization_config"}
    return [from_keras(item) for item in config] if isinstance(config, list | tuple) else config


def operation_class(name: str) -> tuple[str, str]:
    """The module and the class under which Keras's files know a function of `ops`.

    >>> operation_class("get_item")
    ('keras.src.ops.numpy', 'GetItem')
    """
    camel = "".join(word.capitalize() for word in name.split("_"))
    return f"keras.src.ops.{_MODULE_OF.get(name, 'numpy')}", _CLASSES.get(name, camel)

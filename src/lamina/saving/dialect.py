"""Where Keras's configs say a thing otherwise than lamina's: private modules, and the spellings of older versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from lamina.base.errors import LaminaError

_FUNCTIONAL = "keras.src.models.functional"

_ROOTS = ("keras", "tf_keras", "tensorflow")
_POLICIES = ("Policy", "PolicyV1", "FloatDTypePolicy", "DTypePolicy")
_POLICY = {"module": "keras", "class_name": "DTypePolicy", "registered_name": None}


@dataclass(frozen=True)
class OldSpelling:
    """What versions of Keras wrote otherwise: an argument with another name, or one that says nothing any more.

    Parameters: `written_by`, the versions; `classes`, a pattern of class names; `argument`; `today`, its name today or
    None if it is left out; `only`, the values of which this holds (others are kept, and refused by the class);
    `change`, what becomes of the value; `package`, the module in which the classes are; `but`, classes left alone.
    """

    written_by: str
    classes: str
    argument: str
    today: str | None = None
    only: tuple[Any, ...] | None = None
    change: Callable[[Any], Any] | None = None
    package: str = "layers"
    but: str = ""

    def concerns(self, module: str, name: str) -> bool:
        return self.package in module.split(".") and fnmatchcase(name, self.classes) and not fnmatchcase(name, self.but)

    def applied(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config in today's words; the same where it holds nothing of the kind."""
        if self.argument not in config:
            return config
        value = config[self.argument]
        if self.only is not None and all(value != one for one in self.only):
            return config
        kept = {key: one for key, one in config.items() if key != self.argument}
        if self.today is not None:
            kept.setdefault(self.today, self.change(value) if self.change else value)
        return kept


def _from_list(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


_CONVOLUTION = ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint")
# Arguments of layers that Keras 2, and some Keras 3, wrote for a base class of theirs, or that are no choice any more.
WITHOUT_MEANING: dict[str, tuple[str, ...]] = {
    "Conv?DTranspose": ("groups",),
    "DepthwiseConv?D": ("filters", *_CONVOLUTION),
    "SeparableConv?D": _CONVOLUTION,
    "BatchNormalization": ("virtual_batch_size", "fused", "adjustment"),
    "InputLayer": ("type_spec",),
    **dict.fromkeys(("LSTM*", "GRU*", "SimpleRNN*", "Local*"), ("implementation",)),
}
OLD_SPELLINGS = (
    OldSpelling("tf.keras 2", "InputLayer", "batch_input_shape", "batch_shape"),
    OldSpelling("tf.keras 2", "InputLayer", "ragged", only=(False, None)),
    OldSpelling("tf.keras 2", "BatchNormalization", "axis", "axis", change=_from_list),
    OldSpelling("tf.keras 2", "LayerNormalization", "axis", "axis", change=_from_list),
    OldSpelling("tf.keras 2", "Embedding", "input_length"),
    OldSpelling("tf.keras 2", "LeakyReLU", "alpha", "negative_slope"),
    *(
        OldSpelling("tf.keras 2", classes, argument)
        for classes, arguments in WITHOUT_MEANING.items()
        for argument in arguments
    ),
    OldSpelling("tf.keras 2", "*", "batch_input_shape", only=(None,)),
    *(
        OldSpelling("tf.keras 2", classes, "time_major", only=(False,))
        for classes in ("LSTM", "GRU", "SimpleRNN", "RNN")
    ),
    OldSpelling("tf.keras 2", "*", "jit_compile", package="optimizers"),
    OldSpelling("tf.keras 2", "*", "is_legacy_optimizer", package="optimizers"),
    OldSpelling("tf.keras 2", "*", "decay", only=(0, None), package="optimizers"),
    OldSpelling("tf.keras 2", "*", "epsilon", only=(None,), package="optimizers"),
    OldSpelling("tf.keras 2", "*", "reduction", "reduction", ("auto",), lambda value: "sum_over_batch_size", "losses"),
    *(OldSpelling("tf.keras 2", "*", "fn", but="*Wrapper", package=package) for package in ("losses", "metrics")),
)

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
    """A config of lamina with the private names under which Keras finds a Functional model.

    A call that never trains says `training: 0`: where Keras writes `false`, it means nothing (see `from_keras`).
    """
    if isinstance(config, dict):
        changed = {key: to_keras(value) for key, value in config.items()}
        if (config.get("module"), config.get("class_name")) == ("keras", "Functional"):
            changed.update(module=_FUNCTIONAL, registered_name="Functional")
        for call in config.get("inbound_nodes", []) if "class_name" in config else []:
            if isinstance(call, dict) and call["kwargs"].get("training") is False:
                changed["inbound_nodes"] = [_with_training(one, False, 0) for one in changed["inbound_nodes"]]
        return changed
    return [to_keras(item) for item in config] if isinstance(config, list | tuple) else config


def from_keras(config: Any, by_keras: bool = False) -> Any:
    """A config that any Keras from 2.13 on wrote into a `.keras` file or as JSON, in the words of today's.

    `by_keras`: lamina did not write it itself; then the batch size of a Sequential's input is no condition, as it is
    none for Keras, which keeps the one of the first batch it saw. Errors: a quantized layer is a LaminaError.
    """
    if isinstance(config, list | tuple):
        return [from_keras(item, by_keras) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("quantization_config") is not None:
        raise LaminaError(f"The layer {config.get('name')!r} is quantized, which lamina does not read.")
    today = {key: from_keras(value, by_keras) for key, value in config.items() if key != "quantization_config"}
    module = str(today.get("module") or "")
    if module.split(".")[0] in _ROOTS and isinstance(today.get("class_name"), str):
        today = _entry_today(today, module, by_keras)
    if isinstance(today.get("inbound_nodes"), list) and today["inbound_nodes"]:
        today["inbound_nodes"] = [_call_today(call) for call in today["inbound_nodes"]]
    compiled = today.get("compile_config")
    if isinstance(compiled, dict):  # jit_compile: what ran on another machine is no wish of whoever loads the file
        kept = {key: value for key, value in compiled.items() if key != "jit_compile" and value is not None}
        today["compile_config"] = kept
    return today


def _with_training(call: Any, before: Any, after: Any) -> Any:
    """A call with another `training`; None takes it out. (`0 == False`, so the types are compared too.)"""
    given = call["kwargs"].get("training") if isinstance(call, dict) and isinstance(call.get("kwargs"), dict) else None
    if given is None or type(given) is not type(before) or given != before:
        return call
    kept = {key: value for key, value in call["kwargs"].items() if key != "training"}
    return {**call, "kwargs": kept if after is None else {**kept, "training": after}}


def _call_today(call: Any) -> Any:
    """Keras writes `training: false` into every call of a layer that has this default, and overrides it whenever a
    model is told whether it trains. lamina keeps to what a call says: so what was not meant is left out."""
    call = _with_training(call, False, None)
    return _with_training(call, 0, False)


@lru_cache(maxsize=1024)  # a model has many layers of few classes
def _spellings_of(module: str, name: str) -> list[OldSpelling]:
    return [spelling for spelling in OLD_SPELLINGS if spelling.concerns(module, name)]


def _entry_today(entry: dict[str, Any], module: str, by_keras: bool) -> dict[str, Any]:
    """The description of one of Keras's own objects."""
    name = entry["class_name"].rpartition(">")[2]
    own = entry.get("config")
    if name in _POLICIES:
        return {**_POLICY, "config": {"name": own.get("name") if isinstance(own, dict) else own}}
    today = {**entry, "class_name": name, "module": ".".join(["keras", *module.split(".")[1:]])}
    if module.startswith("tensorflow."):
        today["module"] = "keras." + module.partition("keras.")[2]
    if name == "Functional":
        today.update(module="keras", registered_name=None)
    if not isinstance(own, dict):
        return today
    for spelling in _spellings_of(today["module"], name):
        own = spelling.applied(own)
    if name in ("Functional", "Sequential", "Model") and isinstance(own.get("layers"), list):
        own = _model_today(own, name, by_keras)
    return {**today, "config": own}


def _model_today(own: dict[str, Any], name: str, by_keras: bool) -> dict[str, Any]:
    """A model's own config: a graph of Keras 2, written as lists of places, as calls. For Keras a list of one input
    or output is that one, and the batch size of a Sequential's input no condition."""
    calls = [call for layer in own["layers"] if isinstance(layer, dict) for call in layer.get("inbound_nodes") or []]
    if "input_layers" in own and calls and not any(isinstance(call, dict) for call in calls):
        from lamina.saving.old_configs import graph_today

        return graph_today(own)
    if by_keras and name == "Sequential" and own["layers"]:
        return {**own, "layers": [_any_batch(own["layers"][0]), *own["layers"][1:]]}
    if by_keras:
        return {**own, **{key: _only(own[key]) for key in ("input_layers", "output_layers") if key in own}}
    return own


def _only(places: Any) -> Any:
    """The place in a list of one, as Keras takes it."""
    single = isinstance(places, list) and len(places) == 1 and isinstance(places[0], list)
    return places[0] if single else places


def _any_batch(first: Any) -> Any:
    inner = first.get("config") if isinstance(first, dict) and first.get("class_name") == "InputLayer" else None
    if not isinstance(inner, dict) or not isinstance(inner.get("batch_shape"), list) or not inner["batch_shape"]:
        return first
    return {**first, "config": {**inner, "batch_shape": [None, *inner["batch_shape"][1:]]}}


def operation_class(name: str) -> tuple[str, str]:
    """The module and the class under which Keras's files know a function of `ops`.

    >>> operation_class("get_item")
    ('keras.src.ops.numpy', 'GetItem')
    """
    camel = "".join(word.capitalize() for word in name.split("_"))
    return f"keras.src.ops.{_MODULE_OF.get(name, 'numpy')}", _CLASSES.get(name, camel)

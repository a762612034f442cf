"""Configs as Keras 1 and 2, and the `.h5` files of Keras 3, write them, in the words of today's. Data in, data out."""

from __future__ import annotations

import warnings
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from lamina.base.errors import LaminaError
from lamina.base.late import late
from lamina.base.registry import known_names
from lamina.base.trust import in_safe_mode, lambda_refused
from lamina.saving.dialect import WITHOUT_MEANING, operation_class

Config = dict[str, Any]

_MODELS = {"Model": "Functional", "Functional": "Functional", "Sequential": "Sequential"}
_MERGE_MODES = {"sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum"}
_OLD_PARTS = {  # Keras 1's regularizers and constraints: {"name": ..., its arguments}
    "WeightRegularizer": "L1L2",
    "ActivityRegularizer": "L1L2",
    "L1L2Regularizer": "L1L2",
    "MaxNorm": "MaxNorm",
    "NonNeg": "NonNeg",
    "UnitNorm": "UnitNorm",
}
_WITH_STATES = ("Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN")
_POLICIES = ("Policy", "PolicyV1", "DTypePolicy")


def model_config_today(config: Any) -> Config:
    """The config of a model, its layers and the models inside it in today's words.

    An entry that names its module is today's already. Errors: a LaminaError for what no config is, for a Lambda whose
    code is in the file, and for what has no counterpart.

    >>> old = {"class_name": "Dense", "config": {"name": "head", "output_dim": 2, "init": "zero"}}
    >>> model_config_today({"class_name": "Sequential", "config": [old]})["config"]["layers"][0]["config"]
    {'name': 'head', 'units': 2, 'kernel_initializer': 'zeros'}
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str) or "config" not in config:
        raise LaminaError("The description of the model is no config: it has no class_name and config.")
    return config if "module" in config else _entry(config)


def _entry(entry: Config) -> Config:
    """A layer, a model or a function of a graph, with its calls as they are."""
    name, own = entry["class_name"], entry["config"]
    outside = {key: value for key, value in entry.items() if key not in ("class_name", "config")}
    if name in _MODELS and isinstance(own, list):  # a Sequential of Keras 1
        own = {"layers": own}
    if not isinstance(own, dict):
        raise LaminaError(f"The config of {name!r} is a {type(own).__name__}; it has to be a dict.")
    if "layers" in own and isinstance(own["layers"], list):
        return {**outside, "class_name": _MODELS.get(name, name), "config": _model(own)}
    if _is_function(entry):
        module, class_name = operation_class(_functions()[_plain(name)])
        return {**outside, "module": module, "class_name": class_name, "config": own, "registered_name": class_name}
    class_name, own = _layer(name, own)
    # a class of the user's own is written by its registered name, which a config of today has beside the class's
    return {**outside, "class_name": class_name.rpartition(">")[2], "config": own, "registered_name": class_name}


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _is_function(entry: Config) -> bool:
    """Whether an entry of a graph of Keras 3 is a function of `ops`: it has no layer's settings. (`Add` is both.)"""
    own, calls = entry["config"], entry.get("inbound_nodes") or []
    no_layer = "trainable" not in own and "dtype" not in own and any(isinstance(call, dict) for call in calls)
    return no_layer and _plain(entry["class_name"]) in _functions()


@cache
def _functions() -> dict[str, str]:
    return {_plain(name): name for name in known_names("ops")}


def _model(own: Config) -> Config:
    layers = [layer if "module" in layer else _entry(layer) for layer in own["layers"]]
    config = {**own, "layers": layers}
    calls = [call for layer in layers for call in layer.get("inbound_nodes", [])]
    if "input_layers" not in own or any(isinstance(call, dict) for call in calls):
        return config
    return graph_today(config)


# -------------------------------------------------------------------------------------------------------------- graphs


def graph_today(config: Config) -> Config:
    """A graph of Keras 1 or 2: its calls are lists `[layer, call, tensor, keywords]`, one for each input."""
    layers = config["layers"]
    names = {layer["name"] for layer in layers}
    places = [*config["input_layers"], *config["output_layers"]] + [
        place for layer in layers for call in layer.get("inbound_nodes", []) for place in _places(call)
    ]
    # A model inside counts its calls from 1 there: its own graph was call 0.
    models = {layer["name"] for layer in layers if "layers" in layer["config"]}
    from_one = models - {place[0] for place in places if place[1] == 0}

    def today(place: Any) -> list[Any]:
        return [place[0], place[1] - (place[0] in from_one), place[2]]

    def tensor(place: Any) -> Config:
        return {"class_name": "__keras_tensor__", "config": {"keras_history": today(place)}}

    def keyword(value: Any) -> Any:
        is_place = isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str) and value[0] in names
        return tensor(value) if is_place and all(isinstance(number, int) for number in value[1:3]) else value

    for layer in layers:
        nodes: list[Config] = []
        for call in layer.get("inbound_nodes", []):
            tensors = [tensor(place) for place in _places(call)]
            states: list[Config] = []
            if layer["class_name"] in _WITH_STATES:
                tensors, states = tensors[:1], tensors[1:]
            keywords = {
                key: keyword(value)
                for place in _places(call)
                if len(place) > 3
                for key, value in (place[3] or {}).items()
            }
            if states:  # stood among the inputs
                keywords["initial_state"] = states
            nodes.append({"args": [tensors if len(tensors) > 1 else tensors[0]], "kwargs": keywords})
        layer["inbound_nodes"] = nodes
    inputs, outputs = ([today(place) for place in _places(config[key])] for key in ("input_layers", "output_layers"))
    return {
        **config,
        "input_layers": inputs if len(inputs) > 1 else inputs[0],
        "output_layers": outputs if len(outputs) > 1 else outputs[0],
    }


def _places(call: Any) -> list[Any]:
    """The inputs of a call. Errors: a LaminaError for anything but a list of places, or one place alone."""
    places = [call] if isinstance(call, list) and call and isinstance(call[0], str) else call
    if isinstance(places, list) and places and all(_is_place(place) for place in places):
        return places
    raise LaminaError(f"The config describes a call as {call!r:.100}, which lamina does not read.")


def _is_place(place: Any) -> bool:
    return (
        isinstance(place, list)
        and len(place) in (3, 4)
        and isinstance(place[0], str)
        and all(isinstance(number, int) for number in place[1:3])
    )


# -------------------------------------------------------------------------------------------------------------- layers


def _layer(name: str, own: Config) -> tuple[str, Config]:
    """The class and the arguments of a layer."""
    if name == "Lambda":
        return name, _lambda(own)
    if name in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"):
        raise LaminaError(
            f"The layer {own.get('name')!r} is a function of TensorFlow ({own.get('function', name)}), which Keras 3 "
            f"does not read either. Write the model anew with lamina.ops and load the weights with load_weights()."
        )
    left_out = {key for classes, keys in WITHOUT_MEANING.items() if fnmatchcase(name, classes) for key in keys}
    own = {key: _value(key, value) for key, value in own.items() if key not in left_out}
    if name == "Merge":
        name, own = _merge(own)
    own = _recurrent(name, own)
    if name != "Embedding":  # Keras 1 wrote what the shape of the batches says too, or None
        own = {
            key: one
            for key, one in own.items()
            if key not in ("input_dim", "input_length") or (one is not None and "batch_input_shape" not in own)
        }
    dtype = own.pop("input_dtype", None)
    if dtype is not None and (name == "InputLayer" or "batch_input_shape" in own):
        own.setdefault("dtype", dtype)
    return _spelled_today(name, own)


def _recurrent(name: str, own: Config) -> Config:
    """The arguments of a recurrent layer without what says nothing any more; other layers stay as they are. An old GRU
    had one bias, and its reset gate before the product.

    Errors: a LaminaError for sequences with the steps in front, and for constants beside the states.
    """
    if name in ("GRU", "GRUCell"):
        own = {"reset_after": False, **own}
    if name not in _WITH_STATES:
        return own
    for argument in ("time_major", "num_constants"):
        if own.get(argument):
            raise LaminaError(
                f"The {name} {own.get('name')!r} has {argument}={own[argument]}, which Keras 3 has no more. Write the "
                f"model anew for inputs (batch, steps, features) alone and load the weights with load_weights()."
            )
    return {key: value for key, value in own.items() if key not in ("time_major", "num_constants")}


def _spelled_today(name: str, own: Config) -> tuple[str, Config]:
    """A layer of Keras 1 by today's name and with today's keywords, by the tables of `compat`, without a warning: the
    spelling is the file's and not the user's."""
    spelling = late("compat").calls.SPELLINGS.get(name)
    if spelling is None or not (spelling.gone or spelling.today or spelling.old_names & own.keys()):
        return name, own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            _, own = late("compat").translate(name, (), own)
        except (TypeError, ValueError) as error:
            raise LaminaError(f"The config of the layer {own.get('name')!r} cannot be read: {error}") from error
    return spelling.today or name, own


def _lambda(own: Config) -> Config:
    """A Lambda, whose function is a registered one or, as a list, code. Errors: an UnsafeFileError for code in safe
    mode."""
    kept: Config = {key: own[key] for key in ("name", "trainable", "dtype", "arguments") if key in own}
    for argument in ("function", "output_shape", "mask"):
        value, is_code = own.get(argument), own.get(f"{argument}_type") == "lambda"
        if isinstance(value, list) and (is_code or any(isinstance(one, str) for one in value)):
            if in_safe_mode():
                raise lambda_refused()
            value = {
                "class_name": "__lambda__",
                "config": dict(zip(("code", "defaults", "closure"), value, strict=True)),
            }
        elif isinstance(value, str):
            value = {"module": None, "class_name": "function", "config": value, "registered_name": value}
        if value is not None:
            kept[argument] = value
    return kept


def _merge(own: Config) -> tuple[str, Config]:
    """Keras 1's Merge, as the merging layer of its mode."""
    mode = own.get("mode", "sum")
    kept: Config = {key: own[key] for key in ("name", "trainable") if key in own}
    if own.get("mode_type", "raw") == "raw" and not own.get("layers"):
        if mode == "concat":
            return "Concatenate", {**kept, "axis": own.get("concat_axis", -1)}
        if mode in ("dot", "cos"):
            axes = own.get("dot_axes", -1)
            axes = [axis[0] if isinstance(axis, list) else axis for axis in axes] if isinstance(axes, list) else axes
            return "Dot", {**kept, "axes": axes, "normalize": mode == "cos"}
        if mode in _MERGE_MODES:
            return _MERGE_MODES[mode], kept
    raise LaminaError(
        f"The Merge {own.get('name')!r} of Keras 1 holds code or layers of its own, which lamina does not read. Build "
        f"the model in Python and load the weights with load_weights()."
    )


def _value(key: str, value: Any) -> Any:
    """One argument of a layer."""
    if isinstance(value, dict) and "class_name" not in value and value.get("name") in _OLD_PARTS:
        arguments = {"max_value" if name == "m" else name: one for name, one in value.items() if name != "name"}
        return {"class_name": _OLD_PARTS[value["name"]], "config": arguments}
    if key == "cells" and isinstance(value, list):
        return [_value("cell", one) for one in value]
    if not isinstance(value, dict) or "class_name" not in value or "module" in value:
        return value[0] if key == "axis" and isinstance(value, list) and len(value) == 1 else value
    inner = value.get("config")
    if value["class_name"] in _POLICIES and isinstance(inner, dict):
        return inner.get("name")
    if key in ("layer", "backward_layer", "cell") or (
        isinstance(inner, dict) and "layers" in inner
    ):  # what a wrapper holds
        return _entry(value)
    if isinstance(inner, dict) and "initializer" in key:
        inner = {name: one for name, one in inner.items() if name != "dtype"}
        if value["class_name"] == "VarianceScaling" and inner.get("distribution") == "normal":
            inner["distribution"] = "truncated_normal"  # what "normal" meant
    return {**value, "config": inner}


# ------------------------------------------------------------------------------------------------------------- compile


def compile_arguments_today(training: Any) -> Config:
    """What `compile_from_config` takes, from the `training_config` of an `.h5` file.

    Errors: a LaminaError where it describes no optimizer.
    """
    optimizer = training.get("optimizer_config") if isinstance(training, dict) else None
    if not isinstance(optimizer, dict) or not isinstance(optimizer.get("config"), dict):
        raise LaminaError("The file's compile settings describe no optimizer; compile=False leaves them out.")
    name = str(optimizer.get("class_name"))
    settings = {
        key: value
        for key, value in optimizer["config"].items()
        if key not in ("jit_compile", "is_legacy_optimizer") and not (key == "epsilon" and value is None)
    }
    found: Config = {"optimizer": _described("optimizers", {**optimizer, "class_name": name, "config": settings})}
    for key, package in (("loss", "losses"), ("metrics", "metrics"), ("weighted_metrics", "metrics")):
        found[key] = _compiled(package, training.get(key))
    found["loss_weights"] = training.get("loss_weights")
    found |= {key: training[key] for key in ("run_eagerly", "steps_per_execution") if training.get(key) is not None}
    return found


def _compiled(package: str, value: Any) -> Any:
    """A loss or metric, or a list or dict of them; a name stays a name."""
    if isinstance(value, list):
        return [_compiled(package, one) for one in value]
    if isinstance(value, dict) and "class_name" in value:
        return _described(package, value)
    return {key: _compiled(package, one) for key, one in value.items()} if isinstance(value, dict) else value


def _described(package: str, value: Config) -> Config:
    """An object of a package in today's form. TensorFlow wrote its own optimizers as the user's: `Custom>Adam`."""
    if "module" in value:
        return value
    name, settings = value["class_name"], dict(value.get("config") or {})
    if settings.get("reduction") == "auto":
        settings["reduction"] = "sum_over_batch_size"
    function = settings.get("fn")
    if isinstance(function, str):
        settings["fn"] = {"module": None, "class_name": "function", "config": function, "registered_name": function}
    for key, inner in settings.items():  # a schedule
        if isinstance(inner, dict) and "class_name" in inner and "module" not in inner:
            settings[key] = _described(f"{package}.schedules", inner)
    own = name.rpartition(">")[2]
    return {"module": f"keras.{package}", "class_name": own, "config": settings, "registered_name": name}

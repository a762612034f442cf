"""Whole models in `.h5`, as Keras 1 and 2 wrote them and Keras 3 still does: the configs are attributes of the file."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lamina.base.errors import LaminaError, outside_frame
from lamina.base.registry import public_name
from lamina.base.serialization import serialize_keras_object
from lamina.losses import get as get_loss
from lamina.saving.dialect import from_keras
from lamina.saving.files import only_weights, opened_h5, written_whole
from lamina.saving.guard import parsed_config
from lamina.saving.legacy_h5 import KERAS_VERSION, read_legacy, text_of, texts, write_arrays, write_legacy_weights
from lamina.saving.loading import loading
from lamina.saving.old_configs import compile_arguments_today, model_config_today
from lamina.saving.pairs import assign, read_array
from lamina.saving.sections import new_h5

_FUNCTIONS = ("lamina.ops", "keras.src.ops.")

# ------------------------------------------------------------------------------------------------------------- writing


def save_legacy_model(model: Any, path: str, overwrite: bool = True, include_optimizer: bool = True) -> None:
    """Writes architecture, weights, compile settings and the optimizer's state into one `.h5` file.

    Errors: a subclassed model is a LaminaError: the format describes graphs only.
    """
    if not hasattr(model, "graph"):
        raise LaminaError(
            f"{model.title} is a subclassed model, and an .h5 file describes only graphs: Sequential and "
            f"Model(inputs, outputs). Save it as .keras, or its weights alone."
        )
    described = _as_written(serialize_keras_object(model))
    with written_whole(path, overwrite) as raw, new_h5(raw) as file:
        file.attrs["keras_version"] = KERAS_VERSION
        file.attrs["backend"] = "torch"
        file.attrs["model_config"] = json.dumps(described)
        if include_optimizer and model.compiled and model.optimizer is not None:
            file.attrs["training_config"] = json.dumps(training_config(model))
            variables = [(variable.path, variable) for variable in model.optimizer.variables]
            write_arrays(file.create_group("optimizer_weights"), variables)
        write_legacy_weights(model, file.create_group("model_weights"))


def _as_written(entry: dict[str, Any]) -> dict[str, Any]:
    """A layer or model with its class's name alone, as these files have it; a class of the user's own by its registered
    name. A function of a graph keeps its module: Keras finds it by nothing else."""
    if str(entry.get("module")).startswith(_FUNCTIONS):
        return entry
    outside: dict[str, Any] = {key: entry[key] for key in ("name", "inbound_nodes") if key in entry}
    name = entry["class_name"] if entry["module"] is not None else entry["registered_name"]
    config = entry["config"]
    if isinstance(config.get("layers"), list):
        config = {**config, "layers": [_as_written(layer) for layer in config["layers"]]}
    return {"class_name": name, "config": config, **outside}


def training_config(model: Any) -> dict[str, Any]:
    """What `compile` was given, as these files have it."""
    given = model._compile_config
    optimizer = _as_written(serialize_keras_object(given["optimizer"]))
    return {
        "loss": _written_part(given["loss"], is_loss=True),
        "loss_weights": given["loss_weights"],
        "metrics": _written_part(given["metrics"]),
        "weighted_metrics": _written_part(given["weighted_metrics"]),
        "run_eagerly": given["run_eagerly"],
        "steps_per_execution": given["steps_per_execution"],
        "jit_compile": given["jit_compile"],
        "optimizer_config": optimizer,
    }


def _written_part(value: Any, is_loss: bool = False) -> Any:
    """A loss or metric, or a list or dict of them."""
    if isinstance(value, list | tuple):
        return [_written_part(one, is_loss) for one in value]
    if isinstance(value, dict):
        return {key: _written_part(one, is_loss) for key, one in value.items()}
    if isinstance(value, str):
        return _whole_name(value) if is_loss else value
    described = serialize_keras_object(value)
    if not isinstance(described, dict):
        return described
    if described["class_name"] in ("function", "class"):
        return described["config"] if described["module"] else described["registered_name"]
    return _as_written(described)


def _whole_name(loss: str) -> str:
    """`"mean_squared_error"` for `"mse"`: Keras 3.15 does not find losses by their short names in these files."""
    if loss in ("crossentropy", "ce"):
        return loss
    found = public_name(get_loss(loss)) if not isinstance(get_loss(loss), type) else None
    return found[1] if found is not None else loss


# ------------------------------------------------------------------------------------------------------------- reading


def load_legacy_model(
    path: Path,
    compile: bool = True,
    custom_objects: dict[str, Any] | None = None,
    safe_mode: bool = True,
    memory_limit: int | None = None,
) -> Any:
    """The model in an `.h5` file of Keras 1, 2 or 3, or of lamina, compiled as it was, with its optimizer's state.

    Errors: a LaminaError for a file with weights alone, for an unknown class, for code in the file, and for weights
    that do not fit.
    """
    with loading(path, custom_objects, safe_mode, memory_limit) as load, opened_h5(path) as file:
        described = json_attribute(file, "model_config", path)
        if described is None:
            raise only_weights(path)
        training = json_attribute(file, "training_config", path) if compile else None
        model = load.build(from_keras(model_config_today(described)))
        assign(read_legacy(model, file))
        load.finish()
        if training is not None:
            _compile(model, training)
            if "optimizer_weights" in file:
                _restore(model, file["optimizer_weights"])
    return model


def json_attribute(file: h5py.File, name: str, path: Path) -> Any:
    """An attribute that holds JSON, read; None if the file has none. Errors: those of `guard.parsed_config`."""
    return parsed_config(text_of(file.attrs[name]), f"The {name} in {path}") if name in file.attrs else None


def _compile(model: Any, training: Any) -> None:
    settings = compile_arguments_today(training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # lr=, decay=: the file's spelling, not the user's
        model.compile_from_config(settings)


def _restore(model: Any, group: h5py.Group) -> None:
    """Gives the optimizer its stored state. One that does not fit starts anew, with a warning."""
    names = texts(group, "weight_names")
    stored = [group[name] for name in names if name in group]
    optimizer = model.optimizer
    if optimizer is None or not names:
        return
    values = None
    if len(stored) == len(names):
        values = _in_order(optimizer, stored) or _by_slots(model, optimizer, stored)
    if values is None:
        warnings.warn(
            f"The optimizer {optimizer.name!r} starts anew: the file's {len(names)} arrays of state are not those of "
            f"its {len(optimizer.variables)} variables.",
            stacklevel=outside_frame(),
        )
        return
    assign((variable, partial(read_array, one)) for variable, one in values)


Matched = list[tuple[Any, Any]]


def _fits(variables: list[Any], stored: list[Any]) -> Matched | None:
    """Each variable beside its array, if the shapes are equal."""
    if [tuple(one.shape) for one in variables] != [tuple(one.shape) for one in stored]:
        return None
    return list(zip(variables, stored, strict=True))


def _in_order(optimizer: Any, stored: list[Any]) -> Matched | None:
    """As Keras 3 and TensorFlow from 2.11 on write it. One saved before its first step may have no slots."""
    variables = optimizer.variables
    if len(stored) < len(variables) and len(stored) == 2 and not int(np.asarray(stored[0][()]).reshape(-1)[0]):
        variables = variables[:2]
    return _fits(variables, stored)


def _by_slots(model: Any, optimizer: Any, stored: list[Any]) -> Matched | None:
    """As Keras 1 and 2 write it: the number of steps (old ones without), then one kind of slot after the other."""
    weights = model.trainable_weights
    slots = [one for one in optimizer.variables if one.path.rpartition("/")[2] not in ("iteration", "learning_rate")]
    kinds: dict[str, list[Any]] = {}
    for slot in slots:
        owner = next((weight for weight in weights if slot.name.startswith(weight.path.replace("/", "_") + "_")), None)
        kinds.setdefault("" if owner is None else slot.name[len(owner.path) + 1 :], []).append(slot)
    by_kind = [slot for one in kinds.values() for slot in one]
    steps = [optimizer._iterations]
    without_unused = [one for one in stored if tuple(one.shape) != (1,)]  # slots of amsgrad that was not asked for
    for given in (stored, without_unused):
        for first in (steps, []):
            found = _fits(first + by_kind, given)
            if found is not None:
                return found
    return None

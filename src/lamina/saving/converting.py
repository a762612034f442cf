"""One model file into another: `.keras`, `.h5`, `.safetensors`, and files of weights alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.base.errors import LaminaError
from lamina.saving.archive import load_model, save_model
from lamina.saving.kinds import MODELS, kind_of
from lamina.saving.weight_files import load_weights, save_weights

_WHOLE = (".keras", ".h5", ".hdf5", ".safetensors")
_WEIGHTS = (".weights.h5", ".weights.json")
_ENDINGS = ".keras, .h5, .hdf5, .safetensors, .weights.h5 and .weights.json"


@dataclass(frozen=True)
class Conversion:
    """What was read and what was written. `left_out` are parts of the source that the target has no place for."""

    source: str
    source_kind: str
    target: str
    target_kind: str
    model: str
    weights: int
    parameters: int
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "left_out": list(self.left_out)}

    def __str__(self) -> str:
        lines = [
            f"{self.source}: {self.source_kind}",
            f"{self.target}: {self.target_kind}",
            f"{self.model} with {self.weights:,} weights of {self.parameters:,} numbers",
        ]
        if self.left_out:
            lines.append(f"left out: {', '.join(self.left_out)}")
        return "\n".join(lines)


def convert(
    source: str | Path,
    target: str | Path,
    model: Any = None,
    weights_only: bool = False,
    compile: bool = True,
    overwrite: bool = False,
    custom_objects: dict[str, Any] | None = None,
    memory_limit: int | None = None,
) -> Conversion:
    """Writes what is in one file into another, of the format that its name ends in.

    Parameters: `model`, the architecture for a source of weights alone: a built model, which then has those weights;
    `weights_only`, for a target `.h5` or `.safetensors` without the architecture; `compile=False` leaves out the
    compile settings and the optimizer's state; `custom_objects` and `memory_limit`, as in `load_model`.

    Errors, before anything is written: weights alone without `model`, an unknown ending, an existing target without
    `overwrite`, and those of reading.

    >>> import lamina, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> old, new = os.path.join(folder, "m.h5"), os.path.join(folder, "m.keras")
    >>> lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(2)], name="small").save(old)
    >>> convert(old, new).model, lamina.models.load_model(new).count_params()
    ("Sequential 'small'", 10)
    """
    source, target = Path(source), Path(target)
    kind = kind_of(source)
    whole = _is_whole(target, weights_only)
    if target.exists() and target.samefile(source):
        raise LaminaError(f"{target} is the file that is read; give the new one another name.")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already; overwrite=True, or --overwrite, replaces it.")
    if model is not None:
        load_weights(model, source)
    elif kind in MODELS:
        model = load_model(source, custom_objects, compile, memory_limit=memory_limit)
    else:
        raise LaminaError(
            f"{source.name} holds {kind} and no architecture. Say which model they belong to: model=, or --model with "
            f"an application, module:name or a file."
        )
    left_out = _left_out(model, target, whole) if kind in MODELS else ()
    if whole:
        save_model(model, target, overwrite)
    else:
        save_weights(model, target, overwrite)
    weights = model.weights
    return Conversion(
        str(source),
        kind,
        str(target),
        kind_of(target),
        model.title,
        len(weights),
        sum(weight.numel() for weight in weights),
        left_out,
    )


def _is_whole(target: Path, weights_only: bool) -> bool:
    """Whether the target gets the architecture too. Errors: a LaminaError for an ending that means no format."""
    name = target.name.lower()
    if name.endswith(_WEIGHTS):
        return False
    if not name.endswith(_WHOLE):
        raise LaminaError(f"{target.name} ends in nothing that lamina writes: {_ENDINGS}.")
    if weights_only and name.endswith(".keras"):
        raise LaminaError(f"A .keras file holds a whole model; weights alone go into {target.stem}.weights.h5.")
    return not weights_only


def _left_out(model: Any, target: Path, whole: bool) -> tuple[str, ...]:
    """What a whole model has and the target has not."""
    has_state = getattr(model, "optimizer", None) is not None
    if whole:
        keeps = target.suffix.lower() != ".safetensors"
        return () if keeps or not has_state else ("compile settings", "optimizer state")
    parts = ("architecture", "compile settings") if has_state else ("architecture",)
    keeps = target.name.endswith(_WEIGHTS)  # the optimizer's state lies beside the weights there
    return parts if keeps or not has_state else (*parts, "optimizer state")

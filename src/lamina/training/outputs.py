"""Several outputs by name: what belongs to which of them, of targets, losses, weights and metrics."""

from __future__ import annotations

from typing import Any

from lamina.base.registry import nearest


def named_outputs(y_pred: Any, names: list[str] | None) -> dict[str, Any]:
    """The outputs by name: the keys of a dict, the layers' names, or `output`, `output_1`, ..."""
    if isinstance(y_pred, dict):
        return {key: y_pred[key] for key in sorted(y_pred)}
    if not isinstance(y_pred, list | tuple):
        return {names[0] if names and len(names) == 1 else "output": y_pred}
    if names is None or len(names) != len(y_pred) or len(set(names)) != len(names):
        names = [f"output_{index}" if index else "output" for index in range(len(y_pred))]
    return dict(zip(names, y_pred, strict=True))


def spread(value: Any, names: list[str], what: str, *, same_for_all: bool = False) -> dict[str, Any]:
    """A user's value per output: a dict by name, a list by place, or (`same_for_all`) one value for every output.

    Errors: a ValueError for an unknown output name or a list of another length.
    """
    if isinstance(value, dict):
        unknown = [key for key in value if key not in names]
        if unknown:
            raise ValueError(
                f"{what} names the output {unknown[0]!r}; the model's outputs are {', '.join(map(repr, names))}."
                f"{nearest(str(unknown[0]), names)}"
            )
        return {name: value.get(name) for name in names}
    if isinstance(value, list | tuple) and not (same_for_all and len(names) == 1 and len(value) != 1):
        if len(value) != len(names):
            raise ValueError(
                f"{what} has {len(value)} entries and the model {len(names)} outputs ({', '.join(map(repr, names))})."
            )
        return dict(zip(names, value, strict=True))
    if same_for_all or len(names) == 1:
        return dict.fromkeys(names, value)
    raise ValueError(
        f"{what} is one value and the model has {len(names)} outputs ({', '.join(map(repr, names))}): "
        f"give a list or a dict."
    )

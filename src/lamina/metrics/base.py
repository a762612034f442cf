"""What all metrics share: variables that gather batches, and their life: update, result, reset."""

from __future__ import annotations

from typing import Any

import torch

from lamina import initializers
from lamina.base import config, names, tree
from lamina.base.registry import public
from lamina.base.serialization import Configurable
from lamina.engine import dtypes
from lamina.engine.variable import Variable


@public("metrics")
class Metric(Configurable):
    """A number that gathers over batches. Subclasses make variables with `add_variable` and write `update_state` and
    `result`; no gradients are recorded.

    Shapes: `update_state` takes targets and outputs of one batch (and `sample_weight`, which fits them from the left);
    `result` is mostly ().

    Parameters: `name`; `dtype` of the variables and of the arithmetic, else `floatx()`.

    >>> class Samples(Metric):
    ...     def __init__(self, **options):
    ...         super().__init__(**options)
    ...         self.seen = self.add_variable((), "zeros", name="seen")
    ...     def update_state(self, y_true, y_pred, sample_weight=None): self.seen.assign_add(len(y_pred))
    ...     def result(self): return self.seen.clone()
    >>> samples = Samples()
    >>> samples.update_state([1, 2], [1, 2]); samples([3], [3]).item()
    3.0
    """

    # Arguments that Keras leaves out of a config; they are written where they differ from these, their defaults.
    _unwritten: dict[str, Any] = {}

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "update_state" in vars(cls):
            cls.update_state = torch.no_grad()(cls.update_state)  # type: ignore[method-assign]

    def __init__(self, dtype: Any = None, name: str | None = None):
        self._variables: list[Variable] = []
        self._metrics: list[Metric] = []
        self.name = name or names.auto_name(type(self).__name__)
        self._dtype = dtypes.get(dtype or config.floatx()).compute_dtype

    @property
    def dtype(self) -> str:
        return self._dtype

    def add_variable(
        self,
        shape: Any = (),
        initializer: Any = None,
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """A variable of this shape that `update_state` changes; zeros unless an initializer says otherwise."""
        self._check_ready()
        make = initializers.get("zeros" if initializer is None else initializer)
        path = f"{self.name}/{name}" if name else None
        self._collect(
            variable := Variable(make, shape=tuple(shape), dtype=dtype, trainable=False, name=name, path=path)
        )
        return variable

    def add_weight(
        self, shape: Any = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """The same as `add_variable`."""
        return self.add_variable(shape=shape, initializer=initializer, dtype=dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The metric's variables and those of the metrics it holds."""
        return [*self._variables, *(variable for metric in self._metrics for variable in metric.variables)]

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Takes in a batch. Subclasses write it."""
        raise NotImplementedError(
            f"{type(self).__name__} must define update_state(y_true, y_pred, sample_weight=None)."
        )

    def result(self) -> Any:
        """The value over all batches since the last reset. Subclasses write it."""
        raise NotImplementedError(f"{type(self).__name__} must define result().")

    def reset_state(self) -> None:
        """Sets every variable to zero."""
        with torch.no_grad():
            for variable in self.variables:
                variable.zero_()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Takes in a batch and returns the result over all batches."""
        self._check_ready()
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        written = super().get_config()
        left_out = self._unwritten
        return {name: value for name, value in written.items() if name not in left_out or value != left_out[name]}

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if isinstance(value, Variable | Metric):
            self._check_ready()
            self._collect(value)
        elif isinstance(value, list | tuple | dict) and name not in ("_variables", "_metrics"):
            for part in tree.flatten(value):
                if isinstance(part, Variable | Metric):
                    self._check_ready()
                    self._collect(part)

    def _collect(self, part: Variable | Metric) -> None:
        store: list[Any] = self._variables if isinstance(part, Variable) else self._metrics
        if all(part is not known for known in store):
            store.append(part)

    def _check_ready(self) -> None:
        if "_variables" not in vars(self):
            raise RuntimeError(f"{type(self).__name__}.__init__ must call super().__init__() first.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"

"""Floor 11: what a model does to shapes, and why: explanations, findings, summaries and pictures.

`lamina.explain(layer, input_shape)` explains one layer; a model explains itself with `model.explain()`. The names below
are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.explain.arithmetic import LayerExplanation, ModelExplanation, explain_layer, explain_model
    from lamina.explain.checking import Finding, Findings, check_model, finding_page
    from lamina.explain.comparing import compare
    from lamina.explain.cutting import cut_model, find_cuts
    from lamina.explain.exploring import explore_model
    from lamina.explain.fields import ReceptiveField, receptive_field
    from lamina.explain.other_inputs import WhatIf, what_if
    from lamina.explain.plot import draw_model, model_to_drawing, plot_model
    from lamina.explain.smallest import MinimumInput, minimum_input
    from lamina.explain.summary import print_summary, summarize, summary_table

_NAMES: dict[str, str] = {
    "LayerExplanation": "arithmetic",
    "ModelExplanation": "arithmetic",
    "explain_layer": "arithmetic",
    "explain_model": "arithmetic",
    "what_if": "other_inputs",
    "minimum_input": "smallest",
    "receptive_field": "fields",
    "find_cuts": "cutting",
    "cut_model": "cutting",
    "compare": "comparing",
    "check_model": "checking",
    "finding_page": "checking",
    "Finding": "checking",
    "Findings": "checking",
    "MinimumInput": "smallest",
    "ReceptiveField": "fields",
    "WhatIf": "other_inputs",
    "explore_model": "exploring",
    "draw_model": "plot",
    "model_to_drawing": "plot",
    "plot_model": "plot",
    "print_summary": "summary",
    "summarize": "summary",
    "summary_table": "summary",
}

__all__ = sorted(_NAMES)


class _CallableModule(types.ModuleType):
    """`lamina.explain` is a package of functions and, called, the explanation of one layer."""

    def __call__(self, layer: Any, input_shape: Any = None) -> Any:
        """The explanation of a layer on an input shape (batch axis first), or of a whole model."""
        if input_shape is None:
            return layer.explain()
        return self.explain_layer(layer, input_shape)

    def __getattr__(self, name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(f"lamina.explain has no {name!r}.")
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_NAMES})


sys.modules[__name__].__class__ = _CallableModule

"""Floor 11: summaries, explanations and pictures of models."""

from lamina.explain.arithmetic import LayerExplanation, ModelExplanation, explain_layer, explain_model
from lamina.explain.plot import model_to_drawing, plot_model
from lamina.explain.summary import print_summary, summary_table

__all__ = [
    "LayerExplanation",
    "ModelExplanation",
    "explain_layer",
    "explain_model",
    "model_to_drawing",
    "plot_model",
    "print_summary",
    "summary_table",
]

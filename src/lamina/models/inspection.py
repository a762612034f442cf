"""What a model says of itself: the methods that reach up to `lamina.explain`."""

from __future__ import annotations

from typing import Any

from lamina.base.collecting import collector_paused
from lamina.base.late import late


class Inspected:
    """The methods with which a model explains, checks, cuts and draws itself: functions of `lamina.explain`."""

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Prints the table of layers, output shapes and parameters.

        `show="params|macs|rf|dtype|time|memory"` chooses the columns, `input_shape` builds a subclassed model first;
        the other options are Keras's (see `lamina.explain.print_summary`).
        """
        with collector_paused():
            late("explain").print_summary(self, *args, **kwargs)

    def explain(self, layer: Any = None) -> Any:
        """The arithmetic of every size and the formula of every parameter count; of one layer if it is named."""
        return late("explain").explain_model(self, layer)

    def what_if(self, input_shape: Any) -> Any:
        """This model's table beside the same model's on another input: what would change, or where it would fail.

        `input_shape` is one shape, with or without the batch axis, or a dict of shapes by the inputs' names.
        """
        return late("explain").what_if(self, input_shape)

    def minimum_input(self) -> Any:
        """The smallest height and width on which every layer has a position, and which layer sets them."""
        return late("explain").minimum_input(self)

    def receptive_field(self, layer: Any = None) -> Any:
        """Which positions of the input one position of a layer's output depends on; of the last layer by default."""
        return late("explain").receptive_field(self, layer)

    def check(self, ignore: Any = (), sample: Any = None) -> Any:
        """What can hardly be meant in this model: findings with a code, a reason and a remedy.

        `ignore` lists codes that are not to be reported; `sample`, a batch of inputs, lets their values be looked at.
        """
        return late("explain").check_model(self, ignore=ignore, sample=sample)

    def cuts(self) -> Any:
        """The places at which one tensor carries everything, where the model can be cut for feature extraction."""
        return late("explain").find_cuts(self)

    def cut(self, at: Any, force: bool = False) -> Any:
        """The model from the inputs to a layer. Errors: a cut inside a block is refused unless `force`."""
        return late("explain").cut_model(self, at, force=force)

    def plot(self, to_file: Any = None, **options: Any) -> Any:
        """A picture of the model, which a notebook shows; with `to_file`, an SVG or PNG file too.

        The options are those of `lamina.explain.plot_model`; layer names, shapes where they change and frames around
        residual blocks are on unless said otherwise.
        """
        return late("explain").draw_model(self, to_file, **options)

    def explore(self, to_file: Any = "model.html", **kwargs: Any) -> Any:
        """Writes a page that shows the model in a browser: one HTML file that needs no network."""
        return late("explain").explore_model(self, to_file=to_file, **kwargs)

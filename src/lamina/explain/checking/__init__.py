"""`model.check()`: what can hardly be meant in a model, each with a code, a place, a reason and a remedy.

A check is a function under `@check(code, name, summary)` in one of the modules below: it gets the `Subject` (the graphs
of the model and of those inside it, and a sample of data) and yields a `Problem` for each place. Letters of the codes:
S shapes, G graph, T training, W weights, D data.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lamina.explain.checking import data, graphs, shapes, training, weights
from lamina.explain.checking.findings import Finding, Findings
from lamina.explain.checking.registry import CHECKS, Check, Problem, check, chosen
from lamina.explain.checking.subject import subject_of
from lamina.models.sequential import Sequential

__all__ = ["CHECKS", "Check", "Finding", "Findings", "Problem", "check", "check_model", "chosen", "finding_page"]


def check_model(model: Any, ignore: str | Iterable[str] = (), sample: Any = None) -> Findings:
    """The findings of all checks but those in `ignore` (codes or names).

    `sample`: a batch of inputs `x`, or `(x, y)` with targets, as `fit` takes them: some mistakes show only in the data.
    Losses are looked at when the model is compiled. Errors: a ValueError for an unknown code, which shows the nearest;
    a ShapeError for a sample that the model cannot take.

    >>> import lamina
    >>> x = lamina.Input((28, 28, 1))
    >>> y = lamina.layers.Dense(1, activation="softmax", name="head")(lamina.layers.Flatten()(x))
    >>> print(check_model(lamina.Model(x, y, name="digits")))
    1 finding in the model 'digits'.
    <BLANKLINE>
    T305 one-class  head
      what     The output 'head' is (None, 1): softmax over one unit.
      why      the probabilities of all classes sum to 1, so that of the only class
               is always 1: nothing is learned
      to mend  Dense(1, activation="sigmoid") with binary_crossentropy for two
               classes; or a unit for each class
    <BLANKLINE>
    `lamina finding T305` shows a page on it; check(ignore=["T305"]) leaves it out.
    """
    checks = chosen(ignore)
    subject = subject_of(model, sample)
    found = [Finding(one.code, one.name, *problem) for one in checks for problem in one.look(subject)]
    return Findings(model.name, tuple(found), unseen="" if subject.top is not None else _unseen(model))


def finding_page(code: str) -> str:
    """The documentation page of a finding, by code or name, in Markdown: an example, why it matters, how to mend it.

    Errors: a ValueError for an unknown code, which shows the nearest.

    >>> finding_page("bias-before-normalization").splitlines()[0]
    '# W401 bias-before-normalization'
    """
    (found,) = set(CHECKS.values()) - set(chosen(code))
    installed = Path(__file__).parent / "pages"
    folder = installed if installed.is_dir() else Path(__file__).parents[4] / "docs" / "findings"
    return (folder / f"{found.code}.md").read_text(encoding="utf-8")


def _unseen(model: Any) -> str:
    if isinstance(model, Sequential):
        return f"{model.title} is not built, so there was little to look at: give it an Input, or build(input_shape)."
    return (
        f"{model.title} is a subclassed model: the sizes in it, and how its layers are connected, could not be looked "
        f"at; models inside it that are graphs were."
    )

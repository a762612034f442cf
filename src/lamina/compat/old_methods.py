"""Methods that models had in Keras 1 and 2. `install()` puts them on `Model`; they call today's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.compat.calls import deprecate, translate
from lamina.compat.rows import words

# Keywords by which a fit_generator call shows that its second positional argument counts samples, not steps.
_KERAS_1 = frozenset(words("nb_epoch nb_val_samples nb_worker max_q_size pickle_safe"))


def fit_generator(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Keras 1's and 2's training on a generator: today `fit`, which takes one as `x`. Returns the `History`."""
    if _KERAS_1 & kwargs.keys() and len(args) == 2:
        kwargs = {"samples_per_epoch": args[1], **kwargs}
        args = args[:1]
    args, kwargs = translate("Model.fit_generator", args, kwargs)
    return self.fit(*args, **kwargs)


def evaluate_generator(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Keras 1's and 2's evaluation on a generator: today `evaluate`."""
    args, kwargs = translate("Model.evaluate_generator", args, kwargs)
    return self.evaluate(*args, **kwargs)


def predict_generator(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Keras 1's and 2's prediction on a generator: today `predict`."""
    args, kwargs = translate("Model.predict_generator", args, kwargs)
    return self.predict(*args, **kwargs)


def predict_classes(self: Any, x: Any, batch_size: int = 32, verbose: int = 0) -> np.ndarray:
    """The likeliest class of each row: of a softmax's (batch, classes) the largest, of a sigmoid's whether over 0.5."""
    today = "model.predict(x).argmax(axis=-1), or (model.predict(x) > 0.5)"
    deprecate("model.predict_classes(x)", "Keras 2", today)
    scores = self.predict(x, batch_size=batch_size, verbose=verbose)
    return scores.argmax(axis=-1) if scores.shape[-1] > 1 else (scores > 0.5).astype("int32")


def predict_proba(self: Any, x: Any, batch_size: int = 32, verbose: int = 0) -> np.ndarray:
    """Keras 1's and 2's second name of `predict`."""
    deprecate("model.predict_proba(x)", "Keras 2", "model.predict(x)")
    return self.predict(x, batch_size=batch_size, verbose=verbose)


OLD_METHODS: dict[str, Callable[..., Any]] = {
    method.__name__: method
    for method in (fit_generator, evaluate_generator, predict_generator, predict_classes, predict_proba)
}

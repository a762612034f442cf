"""T: what a model ends in, against its loss and its targets; and what training changes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lamina import losses
from lamina.explain.checking.endings import Ending, endings
from lamina.explain.checking.registry import Problem, check
from lamina.explain.checking.subject import Subject
from lamina.layers.normalization import BatchNormalization
from lamina.losses.shapes import SPARSE_TWINS

_BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
_CATEGORICAL = ("categorical_crossentropy", "categorical_focal_crossentropy")
_SPARSE = ("sparse_categorical_crossentropy",)
_ACTIVATION_FOR = dict.fromkeys(_BINARY, "sigmoid") | dict.fromkeys((*_CATEGORICAL, *_SPARSE), "softmax")
# Activations whose results are no probabilities.
_UNBOUNDED = "linear relu relu6 leaky_relu elu selu gelu silu softplus tanh softsign".split()


@check("T301", "activation-and-from-logits", "softmax or sigmoid before a loss with from_logits=True")
def activation_and_from_logits(subject: Subject) -> Iterator[Problem]:
    for end in endings(subject):
        if not end.from_logits or end.activation not in ("softmax", "sigmoid"):
            continue
        classes = 2 if end.activation == "sigmoid" else end.classes
        least = f" (a perfect output still costs {math.log1p((classes - 1) / math.e):.2f})" if classes else ""
        yield Problem(
            end.layer,
            f"The output {end.output!r} ends in {end.activation}, and its loss {end.loss_name} has from_logits=True.",
            f"the loss applies its {_ACTIVATION_FOR.get(end.loss_name, end.activation)} to what is a probability "
            f"already: the loss cannot come near 0{least}, and the gradients are small",
            "from_logits=False, or no activation in the last layer",
        )


@check("T302", "logits-without-from-logits", "no softmax or sigmoid before a loss of probabilities")
def logits_without_from_logits(subject: Subject) -> Iterator[Problem]:
    for end in endings(subject):
        wanted = _ACTIVATION_FOR.get(end.loss_name)
        if wanted is None or end.from_logits or end.activation not in _UNBOUNDED:
            continue
        so = "has no activation" if end.activation == "linear" else f"ends in {end.activation}"
        yield Problem(
            end.layer,
            f"The output {end.output!r} {so}, and its loss {end.loss_name} takes probabilities.",
            "what is no probability is cut off before the logarithm: there the loss is wrong and has no gradient",
            f'activation="{wanted}" in the last layer, or from_logits=True in the loss',
        )


@check("T303", "class-numbers-for-categorical-loss", "class numbers as targets of a loss that takes one-hot rows")
def class_numbers(subject: Subject) -> Iterator[Problem]:
    return _target_problems(subject, "T303")


@check("T304", "one-hot-for-sparse-loss", "one-hot rows as targets of a loss that takes class numbers")
def one_hot(subject: Subject) -> Iterator[Problem]:
    return _target_problems(subject, "T304")


@check("T307", "targets-do-not-fit", "targets whose shape is not that of the output")
def targets_do_not_fit(subject: Subject) -> Iterator[Problem]:
    return _target_problems(subject, "T307")


def _target_problems(subject: Subject, code: str) -> Iterator[Problem]:
    """What `fit` would say of the sample's targets, as far as it goes under this code."""
    for end in endings(subject):
        if end.targets is None or end.loss is None:
            continue
        targets = tuple(end.targets.shape)
        found = losses.target_problem(end.loss, targets, end.shape)
        if found is None or _code(end, targets) != code:
            continue
        yield Problem(
            end.layer,
            f"{end.loss_name} of the output {end.output!r} gets targets {targets} for outputs {end.shape}.",
            str(found.because),
            str(found.mend).split("\n")[0],
        )


def _code(end: Ending, targets: tuple[int, ...]) -> str:
    """Under which code targets go that do not fit."""
    kind = losses.output_kind(targets, end.shape)
    if end.loss_name in SPARSE_TWINS and kind == "sparse":
        return "T303"
    if end.loss_name in _SPARSE and kind == "categorical":
        return "T304"
    return "T306" if end.loss_name in _BINARY and kind == "sparse" else "T307"


@check("T305", "one-class", "probabilities over a single class, which are always 1")
def one_class(subject: Subject) -> Iterator[Problem]:
    for end in endings(subject):
        if end.activation == "softmax" and end.classes == 1:
            so = "softmax over one unit"
        elif end.loss_name in (*_CATEGORICAL, *_SPARSE) and end.units == 1:
            so = f"one unit, and its loss is {end.loss_name}"
        else:
            continue
        yield Problem(
            end.layer,
            f"The output {end.output!r} is {end.shape}: {so}.",
            "the probabilities of all classes sum to 1, so that of the only class is always 1: nothing is learned",
            'Dense(1, activation="sigmoid") with binary_crossentropy for two classes; or a unit for each class',
        )


@check("T306", "binary-loss-on-classes", "a binary loss on an output whose softmax chooses one of several classes")
def binary_loss_on_classes(subject: Subject) -> Iterator[Problem]:
    for end in endings(subject):
        if end.loss_name not in _BINARY or not end.units or end.units < 2:
            continue
        if end.activation == "softmax":
            so = f"ends in softmax over {end.units} classes"
            why = "the binary loss asks each class alone whether it is true, and softmax lets only one be"
        elif end.targets is not None and losses.output_kind(tuple(end.targets.shape), end.shape) == "sparse":
            so = f"has {end.units} units, and its targets {tuple(end.targets.shape)} are one number an example"
            why = "the binary loss compares each unit with a target of its own"
        else:
            continue
        yield Problem(
            end.layer,
            f"The output {end.output!r} {so}; its loss is {end.loss_name}.",
            why,
            "one class of several: softmax with categorical_crossentropy (one-hot rows) or "
            "sparse_categorical_crossentropy (class numbers); several at once: sigmoid and a target for each unit; one "
            "of two: Dense(1)",
        )


@check("T308", "class-number-out-of-range", "class numbers for which the output has no unit")
def class_number_out_of_range(subject: Subject) -> Iterator[Problem]:
    for end in endings(subject):
        if end.targets is None or end.loss_name not in _SPARSE or end.units is None or not end.targets.numel():
            continue
        ignored = getattr(end.loss, "ignore_class", None)
        numbers = end.targets if ignored is None else end.targets[end.targets != ignored]
        if not numbers.numel() or losses.output_kind(tuple(end.targets.shape), end.shape) != "sparse":
            continue
        least, most = int(numbers.min()), int(numbers.max())
        if least >= 0 and most < end.units:
            continue
        yield Problem(
            end.layer,
            f"The output {end.output!r} has {end.units} units, and the sample's class numbers go from {least} to "
            f"{most}.",
            f"class numbers count from 0, so {end.units} units stand for 0 to {end.units - 1}",
            "y - 1 for classes counted from 1"
            if least == 1 and most == end.units
            else f"{most + 1} units in the last layer"
            if least >= 0
            else "number the classes from 0, or name the number to skip: ignore_class=",
        )


@check("T309", "frozen-normalization-updates", "BatchNormalization whose weights are frozen, but not the layer")
def frozen_normalization_updates(subject: Subject) -> Iterator[Problem]:
    fixed = {
        id(layer)
        for _, _, layer in subject.calls(BatchNormalization)
        if all(node.kwargs.get("training") is False for node in layer._inbound_nodes)
    }
    for path, layer in subject.layers():
        if not isinstance(layer, BatchNormalization) or not layer.trainable or id(layer) in fixed:
            continue
        weights = [weight for weight in (layer.gamma, layer.beta) if weight is not None]
        if weights and not any(weight.requires_grad for weight in weights):
            yield Problem(
                path,
                f"The weights of {layer.title} are frozen one by one, and the layer is not: its trainable is True.",
                "fit still normalizes with each batch's mean and variance and moves moving_mean and moving_variance "
                "with them: the layer changes, and so does what follows it",
                "layer.trainable = False freezes weights and statistics",
            )

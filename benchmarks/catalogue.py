"""What is measured: one `Workload` a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CONVNETS = ("ResNet50", "DenseNet121", "MobileNetV2", "EfficientNetB0")
KERAS = ("keras-tensorflow", "keras-jax", "keras-torch")
FRAMEWORKS = ("lamina", "torch", *KERAS)
ALL = (*FRAMEWORKS, "onnxruntime", "openvino")
UNITS = {"ms": 1e-3, "µs": 1e-6, "s": 1.0, "MB": 1e6}  # of the measured seconds and bytes


@dataclass(frozen=True)
class Workload:
    """A row: its name, the function that makes its case (`kind`) with its options, its unit, the engines that run it.

    `keras_options` replace options for Keras, where it would take too long; `tiny` replaces them in tests.
    """

    name: str
    title: str
    kind: str
    options: dict[str, Any]
    unit: str = "ms"
    engines: tuple[str, ...] = FRAMEWORKS
    keras_options: dict[str, Any] = field(default_factory=dict)
    tiny: dict[str, Any] = field(default_factory=dict)

    @property
    def is_fresh(self) -> bool:
        """A new process for each measurement."""
        return self.kind.startswith(("fresh_", "memory_"))

    def options_of(self, engine: str, tiny: bool = False) -> dict[str, Any]:
        options = {**self.options, **(self.keras_options if engine in KERAS else {})}
        return {**options, **self.tiny} if tiny else options


_SMALL = {"size": 32, "batch": 2}


def _training() -> list[Workload]:
    made = []
    for policy, short in (("float32", "float32"), ("mixed_bfloat16", "bfloat16")):
        for network in CONVNETS:
            options = {"network": network, "size": 128, "batch": 8, "policy": policy}
            title = f"train {network}, batch 8" + ("" if short == "float32" else ", bfloat16")
            made.append(Workload(f"train/{network}/{short}", title, "train", options, tiny=_SMALL))
    sequence = {"units": 128, "batch": 32, "steps": 100, "features": 64}
    for cell in ("LSTM", "GRU"):
        made.append(
            Workload(
                f"train/{cell}",
                f"train {cell}(128) on (32, 100, 64)",
                "train_recurrent",
                {"cell": cell, **sequence},
                tiny={"units": 4, "batch": 2, "steps": 3, "features": 5},
            )
        )
    block = {"width": 128, "heads": 4, "tokens": 128, "batch": 16}
    title = "train transformer block (d 128, 4 heads, 128 tokens, batch 16)"
    tiny = {"width": 8, "heads": 2, "tokens": 3, "batch": 2}
    made.append(Workload("train/transformer", title, "train_transformer", block, tiny=tiny))
    tiny = {"batch": 4, "steps": 2}
    made.append(
        Workload(
            "fit/encoder", "fit MNIST encoder, batch 256, a step", "fit_encoder", {"batch": 256, "steps": 16}, tiny=tiny
        )
    )
    title, options = "fit perceptron 4-32-16-1, batch 32, a step", {"batch": 32, "steps": 500}
    made.append(Workload("fit/perceptron", title, "fit_perceptron", options, unit="µs", tiny=tiny))
    return made


def _predicting() -> list[Workload]:
    made = []
    for network in CONVNETS:
        for batch in (8, 1):
            options = {"network": network, "size": 128, "batch": batch}
            name = f"predict/{network}/float32/{batch}"
            made.append(
                Workload(name, f"predict {network}, batch {batch}", "predict", options, engines=ALL, tiny={"size": 32})
            )
    for network in CONVNETS:
        options = {"network": network, "size": 128, "batch": 8, "policy": "mixed_bfloat16"}
        title = f"predict {network}, batch 8, bfloat16"
        engines = (*FRAMEWORKS, "openvino")
        made.append(
            Workload(f"predict/{network}/bfloat16/8", title, "predict", options, engines=engines, tiny={"size": 32})
        )
    calls, few = {"calls": 1000}, {"calls": 20}
    for kind, title in (("predict", "`predict` on one sample, a call"), ("call", "`model(x)` on one sample, a call")):
        made.append(Workload(f"overhead/{kind}", title, f"overhead_{kind}", calls, "µs", keras_options=few, tiny=few))
    return made


def _processes() -> list[Workload]:
    network = {"network": "ResNet50"}
    training = {**network, "size": 128, "batch": 8}
    build, first = "fresh process: import, build ResNet50, summary", "fresh process to first training step done"
    return [
        Workload("fresh/import", "import", "fresh_import", {}, "s"),
        Workload("fresh/build", build, "fresh_build", network, "s"),
        Workload("fresh/step", first, "fresh_step", training, "s", tiny=_SMALL),
        Workload("files/save", "save ResNet50", "save", network, "s"),
        Workload("files/load", "load ResNet50", "load", network, "s"),
        Workload("memory/train", "memory, train ResNet50", "memory_train", {**training, "steps": 4}, "MB", tiny=_SMALL),
        Workload(
            "memory/predict", "memory, predict ResNet50", "memory_predict", {**training, "steps": 4}, "MB", tiny=_SMALL
        ),
    ]


WORKLOADS = {workload.name: workload for workload in (*_training(), *_predicting(), *_processes())}


def chosen(only: str) -> list[Workload]:
    """The workloads that a list such as "predict,train/ResNet50,GRU" names: parts of names that stand in a row.

    >>> [workload.name for workload in chosen("train/resnet50, gru")]
    ['train/ResNet50/float32', 'train/ResNet50/bfloat16', 'train/GRU']
    """
    wanted = [part.strip().lower() for part in only.split(",") if part.strip()]
    known = {part: [] for part in wanted}
    for workload in WORKLOADS.values():
        for part in wanted:
            if f"/{part}/" in f"/{workload.name.lower()}/":
                known[part].append(workload.name)
    unknown = [part for part in wanted if not known[part]]
    if unknown:
        raise SystemExit(f"No workload is called {', '.join(unknown)}. The workloads:\n  " + "\n  ".join(WORKLOADS))
    names = {name for found in known.values() for name in found}
    return [workload for workload in WORKLOADS.values() if not wanted or workload.name in names]

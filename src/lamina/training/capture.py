"""The captured step: a training step whose operations are recorded once and then run without layers and autograd.

For small models most of a step's time is Python's: layers, autograd's graph, losses, metrics. A captured step runs the
same ATen operations in the same order, so its results are equal to the bit; the optimizer steps outside it, with the
learning rate of the moment. What cannot be captured runs eagerly, and `model.captured_step` says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lamina.base import tree
from lamina.base.errors import outside_frame
from lamina.callbacks import CallbackList, History, ProgbarLogger
from lamina.data.loaders import ArrayLoader
from lamina.training import cuda_graph
from lamina.training.cuda_graph import GraphedStep
from lamina.training.flat_program import FlatProgram, below_autograd
from lamina.training.purity import Settings, foreign_part, generators_of, hook_on
from lamina.training.recording import Recording

_WARM_STEPS = {True: 1, "auto": 4}  # eager steps before a shape is captured: a short fit is not worth it
_MOST_SHAPES = 8
_MOST_RENEWALS = 10

Step = Callable[[Any], dict[str, Any]]


class CapturedStep:
    """The captured programs of `fit` or `evaluate`, one for each shape of the batches.

    Attributes: `shapes` that are captured, `reason` why it runs eagerly, or None. `str()` says both.
    """

    def __init__(self, phase: str, asked: bool | str = "auto"):
        self.phase, self.asked = phase, asked
        self.reason: str | None = None
        self._programs: dict[Any, FlatProgram] = {}
        self._pool: Any = None  # the memory that the graphs share
        self._shapes: dict[Any, str] = {}
        self._seen: dict[Any, int] = {}
        self._settings: Settings | None = None
        self._weights: list[Any] = []
        self._renewals = 0
        self._watches = True
        self._warned = False

    @property
    def shapes(self) -> list[str]:
        return list(self._shapes.values())

    @property
    def method(self) -> str:
        return "fit" if self.phase == "train" else "evaluate"

    def __str__(self) -> str:
        if self._programs:
            sizes = {len(program.calls) for program in self._programs.values()}
            captured = (
                f"{self.method}: captured, {max(sizes)} operations a step, for batches of {'; '.join(self.shapes)}."
            )
            graphs = [str(program.graph) for program in self._programs.values() if program.graph is not None]
            return " ".join(dict.fromkeys([captured, *graphs]))
        if self.reason is not None:
            return f"{self.method}: runs eagerly: {self.reason}."
        return f"{self.method}: not captured yet: that comes after some steps with batches of one shape."

    def __deepcopy__(self, memo: Any) -> CapturedStep:
        return CapturedStep(self.phase, self.asked)  # a copy of the model has weights of its own

    def __reduce__(self) -> Any:
        return CapturedStep, (self.phase, self.asked)

    def stepper(self, model: Any, loader: Any = None, chain: CallbackList | None = None) -> Step:
        """What runs the steps of one epoch, or without a loader a single step; the model's own step where nothing can
        be captured."""
        # Code of the user's between the steps may change the model, which is then compared before every step.
        self._watches = type(loader) is not ArrayLoader or self._is_listened_to(chain)
        eager: Step = getattr(model, f"{self.phase}_step")
        if self._settings is not None and not self._settings.hold(model):
            self.forget()
        reason = self._standing_reason(model)
        if reason is not None:
            self.forget()
            self._refuse(reason)
        return eager if self.reason is not None else lambda data: self._step(model, data, eager)

    def _is_listened_to(self, chain: CallbackList | None) -> bool:
        callbacks = [] if chain is None else chain.callbacks
        listeners = CallbackList([one for one in callbacks if type(one) not in (History, ProgbarLogger)])
        return any(listeners.wants(f"on_{self.phase}_batch_{end}") for end in ("begin", "end"))

    def forget(self) -> None:
        """Drops all programs: what they hold is not so any more."""
        self._programs.clear()
        self._pool = None
        self._shapes.clear()
        self._seen.clear()
        self._settings, self.reason = None, None

    def _refuse(self, reason: str) -> None:
        self.reason = reason
        if self.asked is True and self.phase == "train" and not self._warned:
            self._warned = True
            warnings.warn(
                f"jit_compile=True: {self.method} runs eagerly, which changes no result: {reason}.",
                stacklevel=outside_frame(),
            )

    def _standing_reason(self, model: Any) -> str | None:
        """What can be said before the first step."""
        for name in (f"{self.phase}_step", "compute_loss", "compute_metrics", "_forward_pass"):
            if not _ours(getattr(type(model), name)) or name in vars(model):
                return f"{type(model).__name__} writes its own {name}()"
        if model.run_eagerly:
            return "compile() got run_eagerly=True"
        if self.asked is False:
            return "compile() got jit_compile=False"
        if self.phase == "train" and not _ours(model.optimizer.scale_loss):
            return f"{type(model.optimizer).__name__} writes its own scale_loss()"
        return _around() or hook_on(model)

    def _step(self, model: Any, data: Any, eager: Step) -> dict[str, Any]:
        key, leaves = _described(data)
        program = self._programs.get(key)
        if program is None:
            return self._warm(model, data, eager, key)
        if (self._watches and not self._is_current(model)) or (program.reads and not program.holds()):
            return self._renew(data, eager, key)
        graph = None if program.graph is None else _graph_that_holds(program, model.optimizer)
        try:
            with below_autograd():
                gradients = (program if graph is None else graph).run(*leaves)
        except (RuntimeError, IndexError, ValueError) as error:
            _explain(model, data, self.phase, error)
            raise
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        if gradients and (graph is None or not graph.learns):
            self._learn(model.optimizer, gradients, program)
        if program.graph is None and cuda_graph.has_graphs(leaves[0]):
            self._pool = self._pool or cuda_graph.new_pool()
            program.graph = GraphedStep(program, leaves, program.learn, generators_of(model), self._pool)
        return {} if model._skips_results else model.get_metrics_result()  # type: ignore[no-any-return]

    def _learn(self, optimizer: Any, gradients: list[Any], program: FlatProgram) -> None:
        step = program.learn
        if step is None or not step.belongs_to(optimizer):
            optimizer.apply(gradients, self._weights)
            program.learn = optimizer.prepared(gradients, self._weights) if hasattr(optimizer, "prepared") else None
            return
        with below_autograd():
            step(gradients)

    def _is_current(self, model: Any) -> bool:
        return self._settings is not None and self._settings.hold(model) and hook_on(model) is None

    def _renew(self, data: Any, eager: Step, key: Any) -> dict[str, Any]:
        """A step in which something was changed runs eagerly; what changes all the time is not captured again."""
        if self._watches:
            self.forget()
        self._programs.pop(key, None)
        self._shapes.pop(key, None)
        self._renewals += 1
        if self._renewals > _MOST_RENEWALS:
            self.forget()
            self._refuse("what the step depends on changes again and again between the steps")
        return eager(data)

    def _warm(self, model: Any, data: Any, eager: Step, key: Any) -> dict[str, Any]:
        """Eager steps first: they build what is missing, and show whether capture pays."""
        seen = self._seen.get(key, 0)
        if self.reason is not None or key is None or (seen == 0 and len(self._seen) >= _MOST_SHAPES):
            return eager(data)
        if seen >= _WARM_STEPS[self.asked]:
            if self._settings is None:
                found = None if self.asked is True else foreign_part(model)
                self._settings = Settings(model)
                if found is not None:
                    self._refuse(found)
                    return eager(data)
            elif not self._is_current(model):
                return self._renew(data, eager, key)
            return self._record(model, data, key)
        self._seen[key] = seen + 1
        return eager(data)

    def _record(self, model: Any, data: Any, key: Any) -> dict[str, Any]:
        """A step that runs eagerly and is recorded while it runs."""
        leaves, spec = tree.flatten_spec(data)
        inputs = [leaf.detach() for leaf in leaves]
        if any(leaf.requires_grad or "_keras_mask" in leaf.__dict__ for leaf in leaves):
            self._refuse("the inputs carry masks or gradients")
        weights = (model._weights_in_fit or model.trainable_weights) if self.phase == "train" else []
        if self.phase == "train" and not weights:
            self._refuse("the model has no trainable weights")
        if self.reason is not None:
            return getattr(model, f"{self.phase}_step")(data)  # type: ignore[no-any-return]
        skipped, model.__dict__["_skips_results"] = model._skips_results, True
        gradients: list[Any] = []
        recording = Recording(inputs, generators_of(model))
        try:
            with recording:
                loss, _ = model._forward_pass(tree.unflatten(spec, inputs), training=self.phase == "train")
                if weights:
                    scaled = model.optimizer.scale_loss(loss)
                    gradients = list(torch.autograd.grad(scaled, weights, allow_unused=True))
        finally:
            model.__dict__["_skips_results"] = skipped
            recording.clear_marks()
        if recording.problem is None:
            with below_autograd():
                self._programs[key] = FlatProgram(recording, gradients)
            self._shapes[key] = ", ".join(str(tuple(leaf.shape)) for leaf in leaves)
            self._weights = weights
        else:
            self._refuse(recording.problem)
        recording.clear_marks(gradients)
        model._clear_losses()  # they hold the graph of this one step
        if weights:
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            model.optimizer.apply(gradients, weights)
        return {} if skipped else model.get_metrics_result()  # type: ignore[no-any-return]


class CapturedSteps:
    """`model.captured_step`: what of `fit` and `evaluate` is captured, and why not. `print` it."""

    def __init__(self, asked: bool | str = "auto"):
        self.fit, self.evaluate = CapturedStep("train", asked), CapturedStep("test", asked)

    def __str__(self) -> str:
        return f"{self.fit}\n{self.evaluate}"

    __repr__ = __str__


def _ours(method: Any) -> bool:
    return str(getattr(method, "__module__", "")).startswith("lamina.")


def _graph_that_holds(program: FlatProgram, optimizer: Any) -> GraphedStep | None:
    """The program's graph, if it may run; one that does not hold any more is given up."""
    graph: GraphedStep = program.graph
    if graph.problem is not None:
        return None
    if not graph.holds(optimizer):
        program.graph = None
    return program.graph  # type: ignore[no-any-return]


def _described(data: Any) -> tuple[Any, Any]:
    """A batch's structure, shapes, memory order, types and devices, and its tensors; None for no plain batch."""
    leaves: Any = data
    described: list[Any] = []
    if type(data) is not tuple or any(type(leaf) is not torch.Tensor for leaf in data):
        leaves, spec = tree.flatten_spec(data)
        described.append(spec)
    for leaf in leaves:
        if type(leaf) is not torch.Tensor:
            return None, leaves
        described += (leaf.shape, leaf.stride(), leaf.dtype, leaf.device)
    return tuple(described), leaves


def _around() -> str | None:
    """What around the step sees or changes every operation."""
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        return "torch.autocast is on"
    if torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack():
        return "a torch mode watches every operation"
    if torch.is_anomaly_enabled():
        return "torch.autograd's anomaly detection is on"
    return None


def _explain(model: Any, data: Any, phase: str, error: Exception) -> None:
    """Raises the error of an eager step in place of a captured one's, which knows no layer; leaves no other trace."""
    with _kept(model):
        try:
            model._forward_pass(data, training=phase == "train")
        except Exception as explained:
            raise explained from error


@contextmanager
def _kept(model: Any) -> Iterator[None]:
    """What a forward pass changes, put back: statistics, metrics, random streams."""
    variables = [*model.non_trainable_weights, *(one for metric in model.metrics for one in metric.variables)]
    values = [variable.detach().clone() for variable in variables]
    streams = [(generator, generator.get_state()) for generator in generators_of(model)]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        with torch.no_grad():
            for variable, value in zip(variables, values, strict=True):
                variable.copy_(value)
        for generator, state in streams:
            generator.set_state(state)

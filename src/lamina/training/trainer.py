"""`Trainer`: compile, fit, evaluate, predict. `Model` is a Trainer and a Layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from lamina import callbacks as callbacks_package
from lamina import data as data_package
from lamina import losses, optimizers
from lamina import metrics as metrics_package
from lamina.base import tree
from lamina.base.errors import LaminaError, ShapeError, outside_frame
from lamina.base.serialization import deserialize_keras_object, serialize_keras_object
from lamina.base.spellings import accept_old_keywords
from lamina.data.arrays import is_array_like, to_tensors
from lamina.engine import changes
from lamina.engine.allocator import keep_freed_memory
from lamina.engine.dtypes import standardize_dtype
from lamina.graph.keras_tensor import KerasTensor
from lamina.layers.layer import Layer
from lamina.training.batches import pack_x_y_sample_weight, unpack_x_y_sample_weight
from lamina.training.capture import CapturedSteps, Step
from lamina.training.compiled import CompiledLoss, CompiledMetrics
from lamina.training.steps import (
    ResultClock,
    as_list,
    batch_size_of,
    grouped,
    in_order,
    is_due,
    joined,
    plain,
    statistics_kept_on_error,
    warn_of_nan,
    warn_of_slow_bfloat16,
)

_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")  # names whose class the targets decide


def _refuse_unknown_names(settings: dict[str, Any]) -> None:
    """Looks the names of losses and metrics up now; `compile` does it at the first step. Errors: those of `get`."""
    finders = (("loss", losses.get), ("metrics", metrics_package.get), ("weighted_metrics", metrics_package.get))
    for key, find in finders:
        for name in tree.flatten(settings.get(key)):
            if isinstance(name, str) and name not in _BY_SHAPE:
                find(name)


class Trainer:
    """The part of a `Model` that concerns training."""

    optimizer: Any
    compiled: bool
    stop_training: bool
    run_eagerly: bool
    steps_per_execution: int
    history: Any
    _compiled_loss: CompiledLoss | None
    _compiled_metrics: CompiledMetrics | None
    _loss_tracker: Any
    _compile_config: dict[str, Any] | None
    _weights_in_fit: list[Any] | None  # lists that would cost every step a walk over all layers
    _metrics_in_fit: list[Any] | None
    _skips_results: bool  # whether nobody looks at the metrics after the present step
    _captured: CapturedSteps

    def __init__(self) -> None:
        own = self.__dict__
        own["optimizer"] = None
        own["compiled"] = False
        own["stop_training"] = False
        own["_compiled_loss"] = None
        own["_compiled_metrics"] = None
        own["_loss_tracker"] = metrics_package.Mean(name="loss")
        own["_compile_config"] = None
        own["_weights_in_fit"] = own["_metrics_in_fit"] = None
        own["_skips_results"] = False
        own["_captured"] = CapturedSteps()
        own["run_eagerly"] = False
        own["steps_per_execution"] = 1
        own["history"] = None

    # Compiling.

    @accept_old_keywords("Model.compile")
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Sets how the model is trained.

        Parameters: `optimizer`, `loss`, `metrics`: names, configs, classes, instances or functions; losses and metrics
        of several outputs as a list, or a dict by output name; `loss_weights` likewise; `weighted_metrics` see the
        sample weights; `steps_per_execution`, training steps between two calls of the callbacks; `jit_compile`: "auto"
        captures steps (see `captured_step`), which changes their speed and no result; True takes
        the word that a Python of yours in layers, losses and metrics only computes on tensors, captures it too, and
        warns where that cannot be; False and `run_eagerly=True` capture nothing.
        """
        chosen = optimizers.get(optimizer)
        policy = getattr(self, "dtype_policy", None)
        scales = auto_scale_loss and policy is not None and policy.name == "mixed_float16"
        if scales and not isinstance(chosen, optimizers.LossScaleOptimizer):
            chosen = optimizers.LossScaleOptimizer(chosen, name="loss_scale_optimizer")
        if steps_per_execution < 1:
            raise ValueError(f"steps_per_execution is a whole number above 0; got {steps_per_execution!r}.")
        if jit_compile not in (True, False, "auto"):
            raise ValueError(f'jit_compile is True, False or "auto"; got {jit_compile!r}.')
        names = self._output_names()
        own = self.__dict__
        own["_compile_config"] = {
            "optimizer": chosen,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
        }
        own["optimizer"] = chosen
        own["_compiled_loss"] = CompiledLoss(loss, loss_weights, names) if loss is not None else None
        compiled = CompiledMetrics(metrics, weighted_metrics, names, own["_compiled_loss"])
        own["_compiled_metrics"] = compiled if compiled else None
        own["_loss_tracker"] = metrics_package.Mean(name="loss")
        own["run_eagerly"], own["steps_per_execution"] = run_eagerly, steps_per_execution
        own["_captured"] = CapturedSteps(jit_compile)
        graph = getattr(self, "graph", None)
        if graph is not None:
            graph.forget_program()  # layers may have changed since it was planned
        own["compiled"] = True

    def _output_names(self) -> list[str] | None:
        return self.output_names if getattr(self, "graph", None) is not None else None  # type: ignore[attr-defined]

    @property
    def loss(self) -> Any:
        return (self._compile_config or {}).get("loss")

    @property
    def jit_compile(self) -> bool:
        return (self._compile_config or {}).get("jit_compile") is True

    @property
    def captured_step(self) -> CapturedSteps:
        """What of `fit` and `evaluate` runs as a captured step, and for which shapes, or why it runs eagerly: print it.

        A captured step runs the operations of an eager one, recorded once, without the Python around them; its results
        are equal to the bit. With `compile(jit_compile="auto")` that is done where all Python in the step is lamina's.
        On an NVIDIA card it becomes a CUDA graph, with the optimizer in it where that can be (then to seven digits, for
        the learning rate on the card is float32).

        >>> import lamina
        >>> model = lamina.Sequential([lamina.Input((3,)), lamina.layers.Dense(2)])
        >>> model.compile("sgd", "mse", jit_compile=False)
        >>> history = model.fit(torch.zeros(8, 3), torch.zeros(8, 2), verbose=0)
        >>> print(model.captured_step.fit)
        fit: runs eagerly: compile() got jit_compile=False.
        """
        return self._captured

    @property
    def metrics(self) -> list[Any]:
        """As in Keras: the running loss, the compiled metrics as one, a running loss per output, what layers hold."""
        found: list[Any] = [self._loss_tracker] if self.compiled else []
        if self._compiled_metrics is not None:
            found.append(self._compiled_metrics)
        if self._compiled_loss is not None:
            found += self._compiled_loss.trackers.values()
        return found + self._metrics_of_layers()

    def _metrics_of_layers(self) -> list[Any]:
        """The metrics in attributes, without those by which the model, or a model inside, counts its own training."""
        if self._metrics_in_fit is not None:
            return self._metrics_in_fit
        modules = [module for module in self.modules() if isinstance(module, Trainer)]  # type: ignore[attr-defined]
        own = {id(one) for module in modules for one in (module._loss_tracker, module._compiled_metrics)}
        return [metric for metric in super().metrics if id(metric) not in own]  # type: ignore[misc]

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` returns, in its order; the metrics' are known after the first batch."""
        return list(in_order(self.get_metrics_result(), self.metrics))

    def reset_metrics(self) -> None:
        for metric in self.metrics:
            metric.reset_state()

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was given, in plain values; None if it was not called."""
        return serialize_keras_object(self._compile_config) if self.compiled else None

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` described it."""
        settings = {key: deserialize_keras_object(value) for key, value in config.items()}
        _refuse_unknown_names(settings)
        self.compile(**settings)
        if getattr(self, "built", False) and self.optimizer is not None:
            self.optimizer.build(self.trainable_weights)  # type: ignore[attr-defined]

    def _needs_compile(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"{method}() needs a compiled model: call model.compile(optimizer, loss, ...) first.")

    # What a subclass may override.

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> torch.Tensor:
        """The scalar that training minimises: the compiled loss and everything that layers added."""
        parts = []
        if self._compiled_loss is not None and y is not None:
            try:
                parts.append(self._compiled_loss(y, y_pred, sample_weight))
            except ShapeError as error:
                raise self._of_model(error) from error.__cause__
        parts.extend(self.losses)  # type: ignore[attr-defined]
        if not parts:
            raise ValueError(
                "There is nothing to minimise: compile() got no loss, or fit() no targets, and no layer added a loss."
            )
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Updates the compiled metrics and returns all current values by name."""
        if self._compiled_metrics is not None and y is not None:
            try:
                self._compiled_metrics.update_state(y, y_pred, sample_weight)
            except ShapeError as error:
                raise self._of_model(error) from error.__cause__
        if self._skips_results:
            return {}
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """The current values of all metrics by name."""
        results: dict[str, Any] = {}
        for metric in self.metrics:
            value = metric.result()
            results.update(value if isinstance(value, dict) else {metric.name: value})
        return results

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step on one batch; returns the metrics' values. Override it for a training of your own."""
        weights = self._weights_in_fit or self.trainable_weights  # type: ignore[attr-defined]
        for weight in weights:
            weight.grad = None
        loss, results = self._forward_pass(data, training=True)
        weights = weights or self.trainable_weights  # type: ignore[attr-defined]
        if weights:
            self.optimizer.scale_loss(loss).backward()
            self.optimizer.apply([weight.grad for weight in weights], weights)
        else:
            warnings.warn("The model has no trainable weights: nothing is learned.", stacklevel=outside_frame())
        return results

    def _forward_pass(self, data: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        """The loss (None in an evaluation that has none) and the metrics' values, updated before anything is learned: a
        metric that cannot take the targets leaves the weights as they are."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=training)  # type: ignore[operator]
        loss = None
        if training or (self._compiled_loss is not None and y is not None) or self.losses:  # type: ignore[attr-defined]
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
            self._track_loss(loss, x)
        return loss, self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _track_loss(self, loss: torch.Tensor, x: Any) -> None:
        """`Mean.update_state(loss, sample_weight=samples)` without its conversions, for every step has it."""
        samples = batch_size_of(x)
        with torch.no_grad():
            self._loss_tracker.total.add_(loss.detach(), alpha=samples)
            self._loss_tracker.count.add_(samples)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The evaluation of one batch; returns the metrics' values."""
        return self._forward_pass(data, training=False)[1]

    def predict_step(self, data: Any) -> Any:
        """The outputs of one batch."""
        x, _, _ = unpack_x_y_sample_weight(data)
        return self.infer(x)  # type: ignore[attr-defined]

    # The loops.

    @accept_old_keywords("Model.fit")
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | list[int] = 1,
    ) -> Any:
        """Trains for a number of epochs and returns the `History`.

        Parameters: as in Keras. `x`, `y`: arrays, tensors, data frames, nested lists or dicts of them, a generator, a
        torch DataLoader or Dataset, a PyDataset. Errors, before the first step and with nothing changed: arrays of
        different lengths, no samples, targets whose shape the loss cannot take.
        """
        self._needs_compile("fit")
        with self._inputs_first(x, Trainer.train_step):
            if validation_split and validation_data is None:
                (x, y, sample_weight), validation_data = data_package.train_validation_split(
                    (x, y, sample_weight), validation_split
                )
            loader = data_package.make_loader(
                x,
                y,
                sample_weight,
                batch_size=batch_size,
                steps=steps_per_epoch,
                shuffle=shuffle,
                class_weight=class_weight,
            )
        self._check_data(loader, Trainer.train_step)
        validation = None
        if validation_data is not None:
            validation = self._validation_loader(validation_data, validation_batch_size or batch_size, validation_steps)
        chain = self._callback_list(callbacks, verbose, epochs, loader.num_batches, add_history=True)
        self.stop_training = False
        chain.on_train_begin()
        logs = self._train_epochs(range(initial_epoch, epochs), loader, chain, validation, validation_freq)
        self.optimizer.finalize_variable_values(self.trainable_weights)  # type: ignore[attr-defined]
        chain.on_train_end(logs)
        return self.history

    def _train_epochs(
        self, epochs: range, loader: Any, chain: Any, validation: Any, validation_freq: int | list[int]
    ) -> dict[str, Any]:
        """The last epoch's values."""
        logs: dict[str, Any] = {}
        was_nan = False
        with self._mode(training=True):
            for epoch in epochs:
                logs = self._train_epoch(epoch, loader, chain)
                was_nan = was_nan or warn_of_nan(logs, epoch, chain)
                if validation is not None and is_due(epoch, validation_freq):
                    with self._mode(training=False):
                        values = self._run_evaluation(validation(), chain)
                    logs.update({f"val_{name}": value for name, value in values.items()})
                chain.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        return logs

    def _train_epoch(self, epoch: int, loader: Any, chain: Any) -> dict[str, Any]:
        self.reset_metrics()
        chain.on_epoch_begin(epoch)
        logs: dict[str, Any] = {}
        move = self._mover()
        clock = self._result_clock("train", chain)
        run = self._captured.fit.stepper(self, loader, chain)
        with self._lists_kept():
            for step, batches in grouped(loader, self.steps_per_execution):
                chain.on_train_batch_begin(step)
                self.__dict__["_skips_results"] = clock is not None and not clock.is_due()
                for batch in batches:
                    logs = self._first_step(move(batch), run) if step == 0 else run(move(batch))
                chain.on_train_batch_end(step + len(batches) - 1, logs)
                if self.stop_training:
                    break
        loader.on_epoch_end()
        if loader.exhausted:
            self.stop_training = True
        return plain(logs if clock is None else self.get_metrics_result())

    def _first_step(self, batch: Any, run: Step) -> dict[str, Any]:
        with statistics_kept_on_error(self):
            logs = run(batch)
        warn_of_slow_bfloat16(self)
        return logs

    def _result_clock(self, phase: str, chain: Any) -> ResultClock | None:
        """None where a step of the user's own returns what the logs shall hold."""
        cls, step = type(self), f"{phase}_step"
        if getattr(cls, step) is not getattr(Trainer, step) or cls.compute_metrics is not Trainer.compute_metrics:
            return None
        return ResultClock(chain, f"on_{phase}_batch_end")

    @contextmanager
    def _lists_kept(self) -> Iterator[None]:
        """The trainable weights and the layers' metrics, listed once an epoch (not before the layers are built)."""
        own = self.__dict__
        if getattr(self, "built", False):
            own["_weights_in_fit"] = self.trainable_weights  # type: ignore[attr-defined]
            own["_metrics_in_fit"] = self._metrics_of_layers()
        try:
            yield
        finally:
            own["_weights_in_fit"] = own["_metrics_in_fit"] = None
            own["_skips_results"] = False

    @accept_old_keywords("Model.evaluate")
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and the metrics on data: a number, a list, or a dict by name with `return_dict=True`."""
        self._needs_compile("evaluate")
        with self._inputs_first(x, Trainer.test_step):
            loader = data_package.make_loader(
                x, y, sample_weight, batch_size=batch_size, steps=steps, purpose="evaluate"
            )
        self._check_data(loader, Trainer.test_step)
        chain = self._callback_list(callbacks, verbose, 1, loader.num_batches)
        with self._mode(training=False):
            logs = self._run_evaluation(loader, chain)
        return logs if return_dict else as_list(in_order(logs, self.metrics))

    def _run_evaluation(self, loader: Any, chain: Any) -> dict[str, Any]:
        self.reset_metrics()
        chain.on_test_begin()
        logs: dict[str, Any] = {}
        move = self._mover()
        clock = self._result_clock("test", chain)
        run = self._captured.evaluate.stepper(self, loader, chain)
        with torch.no_grad(), self._lists_kept():
            for step, batch in enumerate(loader):
                chain.on_test_batch_begin(step)
                self.__dict__["_skips_results"] = clock is not None and not clock.is_due()
                logs = run(move(batch))
                chain.on_test_batch_end(step, logs)
        loader.on_epoch_end()
        logs = plain(logs if clock is None else self.get_metrics_result())
        chain.on_test_end(logs)
        return logs

    @accept_old_keywords("Model.predict")
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for all samples as NumPy arrays, in the structure of the model's outputs."""
        loader = data_package.make_loader(x, batch_size=batch_size, steps=steps, purpose="predict")
        self._check_data(loader, Trainer.predict_step)
        chain = self._callback_list(callbacks, verbose, 1, loader.num_batches)
        chain.on_predict_begin()
        results: list[Any] = []
        move = self._mover()
        with self._predicting(), torch.inference_mode() if getattr(self, "built", False) else torch.no_grad():
            for step, batch in enumerate(loader):
                chain.on_predict_batch_begin(step)
                outputs = self.predict_step(move(batch))
                results.append(outputs)
                chain.on_predict_batch_end(step, {"outputs": outputs})
        chain.on_predict_end()
        return tree.map_structure(joined, results[0], *results[1:])

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One training step on one batch; this batch's metrics as a number, a list, or a dict."""
        self._needs_compile("train_on_batch")
        self.reset_metrics()
        batch = self._single_batch(x, y, sample_weight, class_weight)
        with self._mode(training=True):
            logs = plain(self._first_step(batch, self._captured.fit.stepper(self)))
        return logs if return_dict else as_list(in_order(logs, self.metrics))

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and the metrics on one batch."""
        self._needs_compile("test_on_batch")
        self.reset_metrics()
        batch = self._single_batch(x, y, sample_weight, None)
        with self._mode(training=False), torch.no_grad():
            logs = plain(self.test_step(batch))
        return logs if return_dict else as_list(in_order(logs, self.metrics))

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch as NumPy arrays."""
        batch = self._single_batch(x, None, None, None)
        with self._predicting(), torch.no_grad():
            return tree.map_structure(joined, self.predict_step(batch))

    # Helpers.

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        """The modules' `training` for the block; restored module by module behind it."""
        keep_freed_memory()
        before = [(module, module.__dict__["training"]) for module in self._all_modules()[0]]
        for module, _ in before:
            module.__dict__["training"] = training
        try:
            yield
        finally:
            for module, was in before:
                module.__dict__["training"] = was
                graph = module.__dict__.get("graph") if training else None
                if graph is not None:
                    graph.forget_folded()

    def _predicting(self) -> AbstractContextManager[None]:
        """`_mode(training=False)` for `predict`, without a look at every layer where all are lamina's own: those are
        told `training=False` by their call, and read nothing else."""
        if type(self).predict_step is Trainer.predict_step and self._all_modules()[1]:
            keep_freed_memory()
            return nullcontext()
        return self._mode(training=False)

    def _all_modules(self) -> tuple[list[torch.nn.Module], bool]:
        """`modules()`, and whether lamina wrote them all; found once for as long as nothing changes. Layers say when,
        other modules do not."""
        mark = changes.mark()
        found: tuple[Any, Any] | None = self.__dict__.get("_modules_found")
        if found is not None and found[0] is mark:
            return found[1]  # type: ignore[no-any-return]
        modules = list(self.modules())  # type: ignore[attr-defined]
        are_ours = all(isinstance(one, Layer) and type(one).__module__.startswith("lamina.") for one in modules)
        answer = modules, are_ours
        is_told = all(isinstance(module, Layer) for module in modules)
        self.__dict__["_modules_found"] = (mark, answer) if is_told else None
        return answer

    def _callback_list(
        self, callbacks: Any, verbose: str | int, epochs: int, steps: int | None, add_history: bool = False
    ) -> callbacks_package.CallbackList:
        """The callbacks as one, with the progress bar that `verbose` asks for ("auto" is 1)."""
        if isinstance(callbacks, callbacks_package.CallbackList):
            return callbacks
        verbose = 1 if verbose == "auto" else verbose
        options = {"verbose": verbose, "epochs": epochs, "steps": steps}
        return callbacks_package.CallbackList(callbacks, add_history, bool(verbose), self, **options)

    def _validation_loader(self, data: Any, batch_size: int | None, steps: int | None) -> Callable[[], Any]:
        """A function that gives the loader for a validation, which begins each time at the first sample."""
        is_arrays = isinstance(data, list | tuple) and len(data) in (2, 3)
        x, y, weight = (*data, None)[:3] if is_arrays else (data, None, None)

        def make() -> Any:
            return data_package.make_loader(x, y, weight, batch_size=batch_size, steps=steps, purpose="evaluate")

        first = make()
        self._check_data(first, Trainer.test_step)
        waiting = [first]
        restarts = steps is not None and first.restartable  # without `steps` every pass begins anew by itself
        return lambda: waiting.pop() if waiting and restarts else make() if restarts else first

    def _single_batch(self, x: Any, y: Any, sample_weight: Any, class_weight: Any) -> Any:
        size = len(tree.flatten(x)[0])
        loader = data_package.make_loader(x, y, sample_weight, batch_size=size, class_weight=class_weight)
        return self._mover()(next(iter(loader)))

    def _mover(self) -> Callable[[Any], Any]:
        """Packs a batch as `train_step` gets it, and moves it to where the model's weights lie."""
        modules, _ = self._all_modules()
        weights = (weight for module in modules for weight in module._parameters.values() if weight is not None)
        weight = next(weights, None)
        device = torch.device("cpu") if weight is None else weight.device
        if device.type == "meta":
            raise LaminaError(
                "The model was built on the meta device and has no weights: call model.materialize() first."
            )
        if device.type == "cpu":
            return lambda batch: pack_x_y_sample_weight(*batch)

        def move(batch: Any) -> Any:
            batch = pack_x_y_sample_weight(*batch)
            return tree.map_structure(
                lambda t: t.to(device, non_blocking=True) if isinstance(t, torch.Tensor) else t, batch
            )

        return move

    def _of_model(self, error: ShapeError) -> ShapeError:
        """The error of a loss or metric with the model's name on its path; a single output without a name has no
        other."""
        if error.layer == "output":
            error.layer = self.name  # type: ignore[attr-defined]
            return error
        return error.place(path=f"{self.name}/{error.layer}")  # type: ignore[attr-defined, no-any-return]

    def _checks(self, step: Callable[..., Any]) -> bool:
        """Whether the data's shapes can be held against a graph: a step of the user's own may take any other."""
        return getattr(self, "graph", None) is not None and getattr(type(self), step.__name__) is step

    @contextmanager
    def _inputs_first(self, x: Any, step: Callable[..., Any]) -> Iterator[None]:
        """Numbers of samples that differ often come from an x without its batch axis, which is then what to say."""
        try:
            yield
        except ShapeError:
            if self._checks(step) and is_array_like(x):
                self.check_input_shapes(to_tensors(x))  # type: ignore[attr-defined]
            raise

    def _check_data(self, loader: Any, step: Callable[..., Any]) -> None:
        """Inputs that the graph cannot take, and targets that the loss cannot, are an error before anything is
        computed."""
        if not self._checks(step):
            return
        x, y, _ = loader.look()
        self.check_input_shapes(x)  # type: ignore[attr-defined]
        if y is None or self._compiled_loss is None or step is Trainer.predict_step:
            return
        symbols = tree.map_structure(lambda tensor: KerasTensor(tensor.shape, standardize_dtype(tensor.dtype)), x)
        values = self._match_inputs(symbols)  # type: ignore[attr-defined]
        if any(a.ndim != b.ndim for a, b in zip(values, self.inputs, strict=True)):  # type: ignore[attr-defined]
            return  # a trailing axis of 1 comes or goes in the call
        problem = self._compiled_loss.problem(y, self.compute_output_spec(symbols))  # type: ignore[attr-defined]
        if problem is not None:
            raise self._of_model(problem)

"""The hooks of training, and the list that calls only those that somebody wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

Logs = dict[str, Any]

_RUN_HOOKS = tuple(f"on_{phase}_{edge}" for phase in ("train", "test", "predict") for edge in ("begin", "end"))
_EPOCH_HOOKS = ("on_epoch_begin", "on_epoch_end")
_BATCH_HOOKS = tuple(f"on_{phase}_batch_{edge}" for phase in ("train", "test", "predict") for edge in ("begin", "end"))
_OLD_BATCH_HOOKS = ("on_batch_begin", "on_batch_end")
HOOKS = (*_RUN_HOOKS, *_EPOCH_HOOKS, *_BATCH_HOOKS, *_OLD_BATCH_HOOKS)


class Callback:
    """Base of what looks on while a model trains: subclass it and write the hooks that you need.

    Hooks: `on_{train,test,predict}_{begin,end}(logs)`, `on_epoch_{begin,end}(epoch, logs)`,
    `on_{train,test,predict}_batch_{begin,end}(batch, logs)`; `on_batch_{begin,end}` are old names of the training pair.
    `logs` holds the metrics so far as numbers (as tensors at batches, if the class says `takes_tensors = True`); what a
    hook writes into the logs of an epoch, later callbacks and the history see.

    Attributes: `model`, which `fit` sets (`model.stop_training = True` ends training); `params`, with `verbose`,
    `epochs` and `steps`.

    >>> class Print(Callback):
    ...     def on_epoch_end(self, epoch, logs=None): print(epoch, logs)
    >>> CallbackList([Print()]).on_epoch_end(0, {"loss": 0.5})
    0 {'loss': 0.5}
    """

    takes_tensors = False
    params: dict[str, Any]

    def __init__(self) -> None:
        self.params = {}
        self._model: Any = None

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def set_model(self, model: Any) -> None:
        self._model = model

    @property
    def model(self) -> Any:
        # Subclasses may forget super().__init__(); a callback that was never attached has no model.
        return getattr(self, "_model", None)

    def on_train_begin(self, logs: Logs | None = None) -> None: ...

    def on_train_end(self, logs: Logs | None = None) -> None: ...

    def on_test_begin(self, logs: Logs | None = None) -> None: ...

    def on_test_end(self, logs: Logs | None = None) -> None: ...

    def on_predict_begin(self, logs: Logs | None = None) -> None: ...

    def on_predict_end(self, logs: Logs | None = None) -> None: ...

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


def to_python(value: Any) -> Any:
    """A number for a tensor or array of one value; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 else value.detach().cpu().numpy()
    return value.item() if getattr(value, "shape", None) == () else value


def python_logs(logs: Mapping[str, Any] | None) -> Logs:
    """A copy with numbers for tensors, by name, those of validation last: the order in which Keras shows them."""
    entries = sorted((logs or {}).items(), key=lambda entry: (entry[0].startswith("val_"), entry[0]))
    return {name: to_python(value) for name, value in entries}


_NO_HOOKS: dict[str, tuple[Callable[..., None], ...]] = dict.fromkeys(HOOKS, ())
_NOTHING_TO_CONVERT = dict.fromkeys(_BATCH_HOOKS, False)


class CallbackList:
    """Calls the hooks of several callbacks in order, and costs nothing for hooks that none of them wrote.

    Parameters: `callbacks`, one, or a (nested) list; `add_history`, `add_progbar`, to add a `History` and a
    `ProgbarLogger` unless there is one; `model`, set on each; the rest are the `params` of each.

    Attributes: `callbacks`, `history` (the `History` or None), `params`. `wants(hook)` says whether anybody listens, so
    that a training loop need not compute logs in vain.

    Errors: TypeError for an entry that is no callback.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        from lamina.callbacks.records import History, ProgbarLogger  # they are built on this module

        self.callbacks: list[Any] = list(_flat(callbacks))
        if add_history and not any(isinstance(callback, History) for callback in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(callback, ProgbarLogger) for callback in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self.history = next((callback for callback in self.callbacks if isinstance(callback, History)), None)
        self.params: dict[str, Any] = {}
        self.model: Any = None
        self._find_hooks()
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def _find_hooks(self) -> None:
        self._hooks: dict[str, tuple[Callable[..., None], ...]]
        self._converts: dict[str, bool]
        if not self.callbacks:  # a prediction for one sample takes less time than to look for hooks
            self._hooks, self._converts = _NO_HOOKS, _NOTHING_TO_CONVERT
            return
        self._hooks = {hook: tuple(_written(hook, self.callbacks)) for hook in HOOKS}
        # Tensors are turned into numbers at a batch (which waits for the device) only for callbacks that need it.
        self._converts = {
            hook: any(_written(hook, (callback for callback in self.callbacks if not _takes_tensors(callback))))
            for hook in _BATCH_HOOKS
        }

    def append(self, callback: Any) -> None:
        self.callbacks.extend(_flat(callback))
        self._find_hooks()

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)
        if self.history is not None and model is not None:
            model.history = self.history

    def wants(self, hook: str) -> bool:
        return bool(self._hooks[hook])

    def _call_batch(self, hook: str, batch: int, logs: Mapping[str, Any] | None) -> None:
        listeners = self._hooks[hook]
        if not listeners:
            return
        given = python_logs(logs) if self._converts[hook] else logs or {}
        for listener in listeners:
            listener(batch, given)

    def _call_epoch(self, hook: str, epoch: int, logs: Mapping[str, Any] | None) -> None:
        given = python_logs(logs)
        for listener in self._hooks[hook]:
            listener(epoch, given)

    def _call_run(self, hook: str, logs: Mapping[str, Any] | None) -> None:
        given = python_logs(logs)
        for listener in self._hooks[hook]:
            listener(given)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._call_run("on_train_begin", logs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._call_run("on_train_end", logs)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._call_run("on_test_begin", logs)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._call_run("on_test_end", logs)

    def on_predict_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._call_run("on_predict_begin", logs)

    def on_predict_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._call_run("on_predict_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_epoch("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_epoch("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_batch("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_batch("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._call_batch("on_predict_batch_end", batch, logs)

    on_batch_begin = on_train_batch_begin
    on_batch_end = on_train_batch_end


def _flat(callbacks: Any) -> Iterable[Any]:
    if callbacks is None:
        return
    if isinstance(callbacks, list | tuple):
        for callback in callbacks:
            yield from _flat(callback)
    elif isinstance(callbacks, type) or not hasattr(callbacks, "set_model"):
        hint = f"; make one: {callbacks.__name__}()" if isinstance(callbacks, type) else ""
        raise TypeError(f"callbacks takes instances of Callback; got {callbacks!r}{hint}.")
    else:
        yield callbacks


def _takes_tensors(callback: Any) -> bool:
    return getattr(callback, "takes_tensors", False)


def _written(hook: str, callbacks: Iterable[Any]) -> Iterator[Callable[..., None]]:
    """The hook of each callback that does something: its class or the instance replaces the empty one."""
    aliases = {f"on_train_batch_{edge}": f"on_batch_{edge}" for edge in ("begin", "end")}
    for callback in callbacks:
        for name in filter(None, (hook, aliases.get(hook))):
            if name in vars(callback) or getattr(type(callback), name, None) is not getattr(Callback, name):
                if hasattr(callback, hook):
                    yield getattr(callback, hook)
                break

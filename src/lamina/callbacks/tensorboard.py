"""`TensorBoard`: metrics, weights and the graph of a training as event files that TensorBoard shows."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lamina.base.errors import UnfinishedError
from lamina.base.optional import optional
from lamina.callbacks.base import Callback, Logs, python_logs

_MOST_IMAGES = 3  # of one weight


class TensorBoard(Callback):
    """Writes event files for TensorBoard (`tensorboard --logdir logs`), with the tags and steps of Keras.

    Under `log_dir/train`: `epoch_<metric>` and `epoch_learning_rate`, at the epoch's number; `batch_<metric>`, at the
    number of training batches so far, if `update_freq` asks for them; weights and the graph. Under
    `log_dir/validation`: `epoch_<metric>`, and `evaluation_<metric>_vs_iterations`, at the optimizer's steps, of every
    evaluation. The files are written by the package `tensorboard`; TensorFlow is not needed.

    Parameters: `log_dir`; `histogram_freq`, every how many epochs the weights' histograms are written (0: never), with
    `write_images` also images of weights of up to three axes, from the smallest value in black to the largest in white;
    `write_graph`, the graph of a Functional or Sequential model; `write_steps_per_second`; `update_freq`, "epoch",
    "batch" or every how many batches; `embeddings_freq`, every how many epochs the tables of Embedding layers are
    written for the projector, as tab-separated values (the last ones stay); `embeddings_metadata`, a file with a label
    a row for all tables, or a dict of files by layer name.

    Errors: ValueError for other values and for a layer that the model has not; an UnfinishedError for a
    `profile_batch` other than 0; a MissingPackageError without `tensorboard`.

    >>> import tempfile, lamina
    >>> model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = model.fit(np.ones((4, 2)), np.ones(4), verbose=0, callbacks=[TensorBoard(folder)])
    ...     [path.name for path in Path(folder).iterdir()]
    ['train']
    """

    takes_tensors = True  # most batches write nothing

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: int | Literal["batch", "epoch"] = "epoch",
        profile_batch: int | tuple[int, int] = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
    ):
        super().__init__()
        if profile_batch:
            raise UnfinishedError(
                "TensorBoard(profile_batch=...) is not there yet; torch.profiler.profile around fit() measures batches."
            )
        if update_freq != "epoch" and update_freq != "batch" and not (_is_count(update_freq) and update_freq):
            raise ValueError(f"update_freq is 'epoch', 'batch' or a positive number; got {update_freq!r}.")
        for name, number in (("histogram_freq", histogram_freq), ("embeddings_freq", embeddings_freq)):
            if not _is_count(number):
                raise ValueError(f"{name} of TensorBoard is a number of epochs, or 0 for never; got {number!r}.")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq: int | str = 1 if update_freq == "batch" else update_freq
        self.embeddings_freq = embeddings_freq
        self.embeddings_metadata = embeddings_metadata
        self._files = _EventFiles(Path(self.log_dir))
        self._step = 0  # training batches so far, over all calls of fit
        self._in_fit = False
        self._batch_began = self._epoch_began = 0.0
        self._step_of_epoch = 0
        self._graph_of: Any = None

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        if self.embeddings_freq:
            self._labels_by_layer()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True
        if self.write_graph and self._graph_of is not self.model and getattr(self.model, "graph", None) is not None:
            self._files.graph("train", self.model.to_json())
            self._graph_of = self.model

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False
        self._files.close()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._batch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._step += 1
        if isinstance(self.update_freq, str) or self._step % self.update_freq:
            return
        scalars = {f"batch_{name}": value for name, value in python_logs(logs).items()}
        if self.write_steps_per_second:
            scalars["batch_steps_per_second"] = 1 / (time.perf_counter() - self._batch_began)
        self._files.scalars("train", scalars, self._step)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_began, self._step_of_epoch = time.perf_counter(), self._step

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = python_logs(logs)
        train = {f"epoch_{name}": value for name, value in logs.items() if not name.startswith("val_")}
        validation = {f"epoch_{name[4:]}": value for name, value in logs.items() if name.startswith("val_")}
        rate = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        if rate is not None:
            train["epoch_learning_rate"] = float(rate)
        if self.write_steps_per_second:
            steps = self._step - self._step_of_epoch
            train["epoch_steps_per_second"] = steps / (time.perf_counter() - self._epoch_began)
        self._files.scalars("train", train, epoch)
        self._files.scalars("validation", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings()

    def on_test_end(self, logs: Logs | None = None) -> None:
        steps = int(getattr(getattr(self.model, "optimizer", None), "iterations", 0))
        scalars = {f"evaluation_{name}_vs_iterations": value for name, value in python_logs(logs).items()}
        self._files.scalars("validation", scalars, steps)
        if not self._in_fit:
            self._files.close()

    def _write_weights(self, epoch: int) -> None:
        for weight in self.model.weights:
            values = weight.detach().float().cpu().numpy()
            self._files.histogram("train", f"{weight.path}/histogram", values, epoch)
            if self.write_images:
                self._files.images("train", f"{weight.path}/image", _planes(values), epoch)

    def _embedding_layers(self) -> Iterator[Any]:
        for layer in self.model.modules():
            if any(kind.__name__ == "Embedding" for kind in type(layer).__mro__):
                yield layer

    def _labels_by_layer(self) -> dict[str, str]:
        """The file with the labels of each table, by the layer's name."""
        names = [layer.name for layer in self._embedding_layers()]
        given = self.embeddings_metadata
        if not isinstance(given, Mapping):
            return {} if given is None else dict.fromkeys(names, os.fspath(given))
        unknown = sorted(set(given) - set(names))
        if unknown:
            known = ", ".join(names) or "none"
            raise ValueError(f"embeddings_metadata names {unknown[0]!r}; the Embedding layers are: {known}.")
        return {name: os.fspath(file) for name, file in given.items()}

    def _write_embeddings(self) -> None:
        folder, labels = Path(self.log_dir) / "train", self._labels_by_layer()
        config = optional("tensorboard.plugins.projector.projector_config_pb2", "tensorboard", "TensorBoard")
        projector = config.ProjectorConfig()
        for layer in self._embedding_layers():
            file = f"{layer.path.replace('/', '_')}_embeddings.tsv"
            table = layer.embeddings.detach().float().cpu().numpy()
            np.savetxt(folder / file, table, delimiter="\t", fmt="%.7g")
            entry = projector.embeddings.add(tensor_name=layer.path, tensor_path=file)
            if layer.name in labels:
                entry.metadata_path = os.path.abspath(labels[layer.name])
        (folder / "projector_config.pbtxt").write_text(str(projector), encoding="utf-8")


class _EventFiles:
    """One event file a run, opened when it gets its first event."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._writers: dict[str, Any] = {}
        self._events = _part("compat.proto.event_pb2")
        self._summaries = _part("compat.proto.summary_pb2")

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def scalars(self, run: str, values: Mapping[str, Any], step: int) -> None:
        make = _part("plugins.scalar.summary_v2").scalar_pb
        for tag, value in values.items():
            if np.ndim(value) == 0:  # a metric may give an array: it is no point of a curve
                self._add(run, make(tag, float(value)), step)

    def histogram(self, run: str, tag: str, values: Any, step: int) -> None:
        finite = values[np.isfinite(values)]  # the buckets of the others have no ends
        self._add(run, _part("plugins.histogram.summary_v2").histogram_pb(tag, finite), step)

    def images(self, run: str, tag: str, planes: list[Any], step: int) -> None:
        if planes:
            height, width = planes[0].shape
            data = [str(width).encode(), str(height).encode(), *map(_png, planes)]
            metadata = _part("plugins.image.metadata").create_summary_metadata(display_name=None, description="")
            self._add_strings(run, tag, data, [len(data)], metadata, step)

    def graph(self, run: str, config: str) -> None:
        """The model's config, which TensorBoard's page of graphs reads."""
        metadata = self._summaries.SummaryMetadata()
        metadata.plugin_data.plugin_name, metadata.plugin_data.content = "graph_keras_model", b"1"
        self._add_strings(run, "keras", [config.encode()], [], metadata, 0)

    def _add_strings(self, run: str, tag: str, data: list[bytes], shape: list[int], metadata: Any, step: int) -> None:
        shapes = _part("compat.proto.tensor_shape_pb2").TensorShapeProto
        tensor = _part("compat.proto.tensor_pb2").TensorProto(
            dtype=_part("compat.proto.types_pb2").DT_STRING,
            string_val=data,
            tensor_shape=shapes(dim=[shapes.Dim(size=size) for size in shape]),
        )
        summary = self._summaries.Summary()
        summary.value.add(tag=tag, tensor=tensor, metadata=metadata)
        self._add(run, summary, step)

    def _add(self, run: str, summary: Any, step: int) -> None:
        if run not in self._writers:
            make = _part("summary.writer.event_file_writer").EventFileWriter
            self._writers[run] = make(str(self.folder / run), filename_suffix=".v2")
        self._writers[run].add_event(self._events.Event(wall_time=time.time(), step=step, summary=summary))


def _part(module: str) -> Any:
    return optional(f"tensorboard.{module}", "tensorboard", "lamina.callbacks.TensorBoard")


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _planes(values: Any) -> list[Any]:
    """A weight as at most three grey images: up to two axes as one, three as one for each place on the last axis."""
    values = values.squeeze()
    if values.ndim == 1:
        return [values[:, np.newaxis]]
    if values.ndim == 2:
        return [values.T if values.shape[0] > values.shape[1] else values]
    return list(np.moveaxis(values, -1, 0)[:_MOST_IMAGES]) if values.ndim == 3 else []


def _png(plane: Any) -> bytes:
    from PIL import Image

    plane = np.nan_to_num(plane)
    reach = plane.max() - plane.min()
    grey = (plane - plane.min()) / (reach or 1) * 255
    stream = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()

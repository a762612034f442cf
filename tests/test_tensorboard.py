"""Event files of `TensorBoard`, read back by the package tensorboard, and the curves of `History.plot`.

Tags, steps and kinds are those that Keras 3.15.1 wrote on TensorFlow 2.21 for the same calls (its callback needs
TensorFlow, which these tests do not).
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lamina
from lamina import layers
from lamina.base.errors import LaminaError, UnfinishedError
from lamina.callbacks import History, TensorBoard

pytest.importorskip("tensorboard")
X, Y = np.random.default_rng(0).random((96, 4)), np.random.default_rng(1).random((96, 1))


def model(*inner: Any) -> Any:
    inner = inner or (layers.Dense(3, name="d1"),)
    built = lamina.Sequential([lamina.Input((4,)), *inner, layers.Dense(1, name="d2")], name="seq")
    built.compile("adam", "mse", metrics=["mae"])
    return built


def read(folder: Path) -> dict[str, tuple[str, dict[int, Any]]]:
    """tag → (plugin, step → value) of all event files in a folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found: dict[str, tuple[str, dict[int, Any]]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                entry = found.setdefault(value.tag, (plugin, {}))
                entry[1][event.step] = tensor_util.make_ndarray(value.tensor)
    return found


def steps(found: dict[str, Any]) -> dict[str, list[int]]:
    return {tag: list(values) for tag, (_, values) in found.items()}


def test_metrics_of_epochs_and_evaluations(tmp_path: Path) -> None:
    built = model()
    callback = TensorBoard(tmp_path, write_graph=False)
    history = built.fit(X, Y, epochs=3, validation_data=(X, Y), callbacks=[callback], verbose=0).history
    train, validation = read(tmp_path / "train"), read(tmp_path / "validation")
    assert steps(train) == {f"epoch_{name}": [0, 1, 2] for name in ("loss", "mae", "learning_rate")}
    assert steps(validation) == {
        "evaluation_loss_vs_iterations": [3, 6, 9],
        "evaluation_mae_vs_iterations": [3, 6, 9],
        "epoch_loss": [0, 1, 2],
        "epoch_mae": [0, 1, 2],
    }
    assert {plugin for plugin, _ in (*train.values(), *validation.values())} == {"scalars"}
    for name in ("loss", "mae"):
        assert list(train[f"epoch_{name}"][1].values()) == pytest.approx(history[name])
        assert list(validation[f"epoch_{name}"][1].values()) == pytest.approx(history[f"val_{name}"])
        evaluated = validation[f"evaluation_{name}_vs_iterations"][1]
        assert list(evaluated.values()) == pytest.approx(history[f"val_{name}"])
    assert train["epoch_learning_rate"][1][0] == pytest.approx(0.001)


def test_an_evaluation_alone(tmp_path: Path) -> None:
    loss, _ = model().evaluate(X, Y, callbacks=[TensorBoard(tmp_path)], verbose=0)
    found = read(tmp_path / "validation")
    assert steps(found) == {"evaluation_loss_vs_iterations": [0], "evaluation_mae_vs_iterations": [0]}
    assert found["evaluation_loss_vs_iterations"][1][0] == pytest.approx(loss)


@pytest.mark.parametrize(("every", "written"), [(2, [2, 4, 6, 8]), ("batch", list(range(1, 10))), (100, None)])
def test_metrics_of_batches(tmp_path: Path, every: Any, written: list[int] | None) -> None:
    callback = TensorBoard(tmp_path, update_freq=every, write_steps_per_second=True)
    model().fit(X, Y, epochs=3, callbacks=[callback], verbose=0)
    found = read(tmp_path / "train")
    for tag in ("batch_loss", "batch_mae", "batch_steps_per_second"):
        assert steps(found).get(tag) == written
    assert all(value > 0 for value in found["epoch_steps_per_second"][1].values())
    assert steps(found)["epoch_steps_per_second"] == [0, 1, 2]


def test_weights_as_histograms_and_images(tmp_path: Path) -> None:
    convolution = layers.Conv2D(2, 2, padding="same", name="c")
    built = model(layers.Reshape((2, 2, 1)), convolution, layers.BatchNormalization(name="bn"), layers.Flatten())
    built.fit(X, Y, epochs=3, callbacks=[TensorBoard(tmp_path, histogram_freq=2, write_images=True)], verbose=0)
    found = read(tmp_path / "train")
    paths = [weight.path for weight in built.weights]
    assert {f"{path}/histogram" for path in paths} == {tag for tag, (kind, _) in found.items() if kind == "histograms"}
    assert paths[0] == "seq/c/kernel"
    for weight in built.weights:
        counts = found[f"{weight.path}/histogram"][1]
        assert list(counts) == [0, 2]
        assert counts[2].shape == (30, 3)
        assert counts[2][:, 2].sum() == weight.numel()
        assert counts[2][0, 0] == pytest.approx(weight.min().item())
    kinds, shown = found["seq/c/kernel/image"]
    assert kinds == "images"
    width, height, *planes = shown[2]
    assert (width, height, len(planes)) == (b"2", b"2", 2)
    kernel = built.get_layer("c").get_weights()[0][:, :, 0, 0]
    with Image.open(io.BytesIO(planes[0])) as image:
        grey = np.asarray(image)
    assert (grey.min(), grey.max()) == (0, 255)
    assert np.argmax(grey) == np.argmax(kernel)
    assert list(found["seq/c/bias/image"][1][0][:2]) == [b"1", b"2"]
    assert list(found["seq/d2/kernel/image"][1][0][:2]) == [b"1", b"8"]
    assert "seq/d2/bias/image" not in found


def test_the_graph_is_one_that_tensorboard_reads(tmp_path: Path) -> None:
    from tensorboard.plugins.graph import keras_util

    start = lamina.Input((4,), name="start")
    inner = layers.Dense(4, name="inner")(start)
    built = lamina.Model(start, layers.Add(name="sum")([start, inner]), name="fun")
    built.compile("sgd", "mse")
    callback = TensorBoard(tmp_path)
    for _ in range(2):
        built.fit(X, X, callbacks=[callback], verbose=0)
    plugin, values = read(tmp_path / "train")["keras"]
    assert (plugin, list(values)) == ("graph_keras_model", [0])
    graph = keras_util.keras_model_to_graph_def(json.loads(values[0].item()))
    assert {node.name: list(node.input) for node in graph.node} == {
        "fun/start": [],
        "fun/inner": ["fun/start"],
        "fun/sum": ["fun/start", "fun/inner"],
    }


def test_embeddings_for_the_projector(tmp_path: Path) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    (tmp_path / "words.tsv").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    words = {"words": tmp_path / "words.tsv"}
    built = model(layers.Embedding(5, 3, name="words"), layers.Flatten())
    callback = TensorBoard(tmp_path / "logs", embeddings_freq=1, embeddings_metadata=words)
    built.fit(np.zeros((8, 4)), np.zeros(8), callbacks=[callback], verbose=0)
    folder = tmp_path / "logs" / "train"
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(encoding="utf-8"), ProjectorConfig())
    (entry,) = config.embeddings
    assert entry.metadata_path == str(tmp_path / "words.tsv")
    table = np.loadtxt(folder / entry.tensor_path, delimiter="\t")
    assert table == pytest.approx(built.get_layer("words").get_weights()[0], abs=1e-6)
    callback = TensorBoard(tmp_path, embeddings_freq=1, embeddings_metadata={"word": "x.tsv"})
    with pytest.raises(ValueError, match="embeddings_metadata names 'word'; the Embedding layers are: words"):
        built.fit(np.zeros((8, 4)), np.zeros(8), callbacks=[callback], verbose=0)


def test_arguments_are_keras_ones() -> None:
    import inspect

    import keras

    ours, theirs = (inspect.signature(c.__init__).parameters for c in (TensorBoard, keras.callbacks.TensorBoard))
    assert {name: p.default for name, p in ours.items()} == {name: p.default for name, p in theirs.items()}
    for wrong in ("often", 0, -1, True):
        with pytest.raises(ValueError, match="update_freq"):
            TensorBoard(update_freq=wrong)
    with pytest.raises(ValueError, match="histogram_freq"):
        TensorBoard(histogram_freq=-1)
    with pytest.raises(UnfinishedError, match=r"profile_batch.*torch\.profiler"):
        TensorBoard(profile_batch=(2, 4))


def test_missing_packages_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorboard.compat.proto.event_pb2", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LaminaError, match=r"pip install lamina\[tensorboard\]"):
        TensorBoard()
    history = History()
    history.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(ImportError, match=r"History\.plot\(\) needs .*'matplotlib'.*pip install lamina\[plot\]"):
        history.plot()


# ---------------------------------------------------------------------------------------------------- curves


def test_the_curves_of_a_training(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = model().fit(X, Y, epochs=4, validation_data=(X, Y), validation_freq=2, verbose=0)
    figure = history.plot(tmp_path / "curves.png")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "mae"]
    for name, axes in zip(("loss", "mae"), figure.axes, strict=True):
        train, validation = axes.lines
        assert train.get_xdata().tolist() == [1, 2, 3, 4]
        assert train.get_ydata().tolist() == history.history[name]
        assert validation.get_xdata().tolist() == [2, 4]
        assert validation.get_ydata().tolist() == history.history[f"val_{name}"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > image.height > 300
    assert figure._repr_png_()[:4] == b"\x89PNG"  # what a notebook shows
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_other_curves() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(LaminaError, match="no curves to draw"):
        History().plot()
    history = History()
    for epoch in range(3):
        logs = {"loss": 1.0, "learning_rate": 10.0**-epoch, "confusion": np.eye(2), "val_top": 0.5}
        history.on_epoch_end(epoch, logs)
    loss, rate, top = history.plot().axes
    assert [axes.get_title() for axes in (loss, rate, top)] == ["loss", "learning rate", "top"]
    assert (loss.get_yscale(), rate.get_yscale()) == ("linear", "log")
    history.on_epoch_end(0, {"loss": 0.5})  # of a second fit
    assert history.plot().axes[0].lines[0].get_xdata().tolist() == [1, 2, 3, 4]
    assert loss.get_legend() is None
    assert top.get_legend() is not None

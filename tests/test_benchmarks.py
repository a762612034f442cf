"""The benchmark: its networks compute what lamina's do, engines take turns, bars judge, the report is as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from golden import check_golden

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import driver, plain_torch, report, workloads  # noqa: E402
from benchmarks.bars import BARS, Bar, judged, limit_text  # noqa: E402
from benchmarks.catalogue import CONVNETS, WORKLOADS, chosen  # noqa: E402
from benchmarks.engines import ENGINES, requirements  # noqa: E402

NORMALIZATION = lamina.layers.BatchNormalization
PLAN = driver.Plan(rounds=2, seconds=0.0, warm_up=0.0, tiny=True, python=lambda environment: Path(sys.executable))


@pytest.fixture(autouse=True)
def _separate_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "BENCH", tmp_path)


def convolutions(model):
    kinds = (lamina.layers.Conv2D, lamina.layers.DepthwiseConv2D)
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def normalized_bias(layer) -> bool:
    """Whether a convolution has a bias in front of a batch normalisation; those of a gate have none behind them."""
    return layer.use_bias and "_se_" not in layer.name


def with_random_weights(model, gain: float):
    """Weights that let the image through: too small a gain forgets it, too large a one multiplies rounding."""
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, NORMALIZATION):
            shape = layer.get_weights()[0].shape
            layer.set_weights(
                [
                    generator.uniform(0.8, 1.2, shape),
                    generator.uniform(-0.1, 0.1, shape),
                    generator.uniform(-0.1, 0.1, shape),
                    generator.uniform(0.8, 1.2, shape),
                ]
            )
    for layer in convolutions(model):
        kernel, *biases = layer.get_weights()
        depthwise = isinstance(layer, lamina.layers.DepthwiseConv2D)
        products = np.prod(kernel.shape[: 2 if depthwise else 3])  # so many are added up; the values keep their scale
        drawn = generator.normal(0, np.sqrt(gain / products), kernel.shape)
        layer.set_weights([drawn, *(generator.uniform(-0.1, 0.1, bias.shape) for bias in biases)])
    return model


def carry_weights(model, network: torch.nn.Module) -> None:
    """From a lamina model into the plain-torch network; a bias that has no place there goes into the mean behind it."""
    modules = list(network.modules())

    def of(kind):
        return [module for module in modules if isinstance(module, kind)]

    norms = [layer for layer in model.layers if isinstance(layer, NORMALIZATION)]
    removed = [layer.get_weights()[1] if normalized_bias(layer) else None for layer in convolutions(model)]
    for layer, module in zip(convolutions(model), of(torch.nn.Conv2d), strict=True):
        kernel, *bias = layer.get_weights()
        depthwise = isinstance(layer, lamina.layers.DepthwiseConv2D)
        module.weight.data = torch.from_numpy(kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).copy())
        if module.bias is not None:
            module.bias.data = torch.from_numpy(bias[0])
    behind = removed if any(bias is not None for bias in removed) else [None] * len(norms)
    for layer, module, bias in zip(norms, of(torch.nn.BatchNorm2d), behind, strict=True):
        gamma, beta, mean, variance = (torch.from_numpy(array) for array in layer.get_weights())
        module.weight.data, module.bias.data = gamma, beta
        module.running_mean.copy_(mean if bias is None else mean - torch.from_numpy(bias))
        module.running_var.copy_(variance)
    kernel, bias = model.layers[-1].get_weights()
    network.top.dense.weight.data, network.top.dense.bias.data = (
        torch.from_numpy(kernel.T.copy()),
        torch.from_numpy(bias),
    )


@pytest.mark.parametrize("name", CONVNETS)
def test_plain_torch_computes_what_lamina_does(name):
    gain = 6 if name == "EfficientNetB0" else 2  # its gates halve the values
    built = getattr(lamina.applications, name)(weights=None, input_shape=(64, 64, 3), classifier_activation=None)
    model = with_random_weights(built, gain)
    network = plain_torch.CONVNETS[name](padding="keras").eval()
    carry_weights(model, network)
    biases = sum(layer.get_weights()[1].size for layer in convolutions(model) if normalized_bias(layer))
    trainable = sum(weight.shape.numel() for weight in model.trainable_weights)
    assert sum(parameter.numel() for parameter in network.parameters()) == trainable - biases
    x = np.random.default_rng(2).uniform(0, 255 if name == "EfficientNetB0" else 1, (2, 64, 64, 3)).astype("float32")
    x[1, 10:40] = 0
    wanted = model.predict(x, verbose=0)
    logits: list[np.ndarray] = []
    network.top.dense.register_forward_hook(lambda module, inputs, output: logits.append(output.numpy()))
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(x).permute(0, 3, 1, 2))
    (given,) = logits
    np.testing.assert_allclose(probabilities.sum(-1), [1, 1], rtol=1e-5)
    assert given.shape == wanted.shape == (2, 1000)
    np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    difference = np.abs(wanted[0] - wanted[1]).max() / np.abs(wanted).max()
    assert difference > 1e-2  # what comes out depends on the image, by far more than is allowed above


@pytest.mark.parametrize("name", CONVNETS)
def test_the_two_paddings_give_the_same_sizes(name):
    x = torch.zeros(1, 3, 64, 64, device="meta")
    with torch.device("meta"):
        shapes = {
            tuple(plain_torch.CONVNETS[name](padding).train()(x.expand(2, -1, -1, -1)).shape)
            for padding in ("torch", "keras")
        }
    assert shapes == {(2, 1000)}


def test_small_networks_have_the_parameters_of_their_twins():
    assert count(plain_torch.encoder()) == workloads.encoder(lamina).count_params()
    assert count(plain_torch.perceptron()) == workloads.perceptron(lamina).count_params()


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_engines_take_turns_and_a_failure_is_a_row():
    results = driver.measure(WORKLOADS["fit/perceptron"], ["lamina", "torch"], PLAN)
    assert [len(result.values) for result in results.values()] == [2, 2]
    assert all(value > 0 for result in results.values() for value in result.values)
    bad = driver.Workload("bad", "bad", "predict", {"network": "NoSuchNet", "size": 32, "batch": 1}, engines=("torch",))
    failed = driver.measure(bad, ["lamina", "torch"], PLAN)
    assert list(failed) == ["torch"]
    assert failed["torch"].to_dict() == {"failed": "KeyError: 'NoSuchNet'"}


def test_a_worker_that_dies_gives_its_last_words():
    engine = ENGINES["torch"]
    with driver.Process(engine, Path("/bin/false")) as gone:
        with pytest.raises(driver.WorkerError, match="ended with 1: it said nothing"):
            gone.ask(do="round", seconds=0.0)
    with driver.Process(engine, Path(sys.executable)) as waiting:
        with pytest.raises(driver.WorkerError, match="no answer in 0 s"):
            waiting.ask(limit=0.0, do="round", seconds=0.0)


def test_fresh_processes_give_seconds_and_bytes():
    seconds = driver.measure(WORKLOADS["fresh/import"], ["torch"], PLAN)["torch"].to_dict()
    assert len(seconds["rounds"]) == 2
    assert 0.05 < seconds["value"] < 300
    made = driver.fresh_value(WORKLOADS["memory/predict"], "torch", PLAN)
    assert 50e6 < made < 4e9  # ResNet50's weights alone are 100 MB


def test_order_changes_from_round_to_round():
    assert driver.rotated(["a", "b", "c"], 1) == ["b", "c", "a"]
    assert driver.rotated([], 5) == []
    assert len(driver.cores()) <= 2


def test_only_names_parts_of_names():
    assert [workload.name for workload in chosen("predict/ResNet50/float32")] == [
        "predict/ResNet50/float32/8",
        "predict/ResNet50/float32/1",
    ]
    assert len(chosen("")) == len(WORKLOADS)
    with pytest.raises(SystemExit, match="No workload is called nothing"):
        chosen("nothing,predict")


def result(value: float, **facts: float) -> dict:
    return {"value": value, "rounds": [value], "also": {}, "facts": facts}


def test_a_bar_is_met_missed_or_not_measured():
    bar = Bar("train/ResNet50/float32", ("keras-jax", "keras-torch"), 0.9)
    rows = {"lamina": result(0.45), "keras-jax": result(0.6), "keras-torch": result(0.5)}
    verdict = judged(bar, {bar.workload: rows})
    assert (verdict.state, verdict.best, verdict.limit) == ("met", "keras-torch", pytest.approx(0.45))
    assert judged(bar, {bar.workload: {**rows, "lamina": result(0.46)}}).state == "missed"
    assert judged(bar, {}).why == "lamina was not run"
    assert judged(bar, {bar.workload: {**rows, "lamina": {"failed": "no LSTM"}}}).why == "no LSTM"
    alone = judged(bar, {bar.workload: {"lamina": result(0.4), "keras-jax": {"failed": "died"}}})
    assert (alone.state, alone.why) == ("not measured", "no result of keras-jax, keras-torch")
    partly = judged(bar, {bar.workload: {"lamina": result(0.4), "keras-jax": result(0.5)}})
    assert (partly.state, partly.why) == ("met", "without keras-torch")


def test_bars_of_offsets_and_facts():
    rows = {"overhead/call": {"lamina": result(60e-6, growth=2e6), "torch": result(31e-6)}}
    states = {bar.fact: judged(bar, rows).state for bar in BARS if bar.workload == "overhead/call"}
    assert states == {"": "met", "growth": "missed"}
    assert judged(Bar("overhead/call", fact="nothing"), rows).state == "not measured"


def test_every_bar_names_a_workload_its_engines_run():
    for bar in BARS:
        assert set(bar.against) <= set(WORKLOADS[bar.other or bar.workload].engines), bar
        assert limit_text(bar)


def store_with_numbers(path: Path) -> report.Store:
    store = report.Store(path)
    store.keep(
        "train/ResNet50/float32",
        {"lamina": result(0.42), "torch": result(0.43), "keras-jax": {"failed": "ValueError: no"}},
        "2026-01-02",
    )
    specialists = {"lamina": {**result(0.101), "also": {"predict_on_batch": 0.0995}}, "torch": result(0.126)}
    specialists |= {"onnxruntime": result(0.102), "openvino": result(0.09)}
    store.keep("predict/ResNet50/float32/8", specialists, "2026-01-03")
    store.keep("overhead/predict", {"lamina": result(250e-6, growth=0), "torch": result(42e-6)}, "2026-01-03")
    store.keep("fresh/import", {"lamina": result(1.2), "torch": result(1.07)}, "2026-01-03")
    store.machine = {
        "processor": "a processor",
        "processors": 2,
        "system": "Linux x86_64",
        "versions": {"torch": "2.13.0"},
        "rates": {"float32": 250e9, "bfloat16": 500e9},
        "operations": {name: {"train": int(8e9), "predict": int(2.6e9)} for name in CONVNETS},
    }
    return store


def test_the_report(tmp_path):
    store = store_with_numbers(tmp_path / "results.json")
    check_golden("benchmarks/results", report.text_of(store))
    check_golden("benchmarks/terminal", report.bars_text(store))


def test_rows_of_an_earlier_run_stay(tmp_path, capsys):
    store = store_with_numbers(tmp_path / "results.json")
    assert not store.keep("fresh/import", {"lamina": result(0.5)}, "2026-02-02")
    assert "has torch too" in capsys.readouterr().out
    assert store.keep("fresh/build", {"lamina": result(1.5)}, "2026-02-02")
    again = report.Store(tmp_path / "results.json")
    assert again.dates["fresh/import"] == "2026-01-03"
    assert again.rows["fresh/import"]["torch"]["value"] == 1.07
    assert set(again.rows) == set(store.rows)


def test_lines_of_the_terminal_fit():
    row = {"lamina": result(0.42), "torch": {"failed": "an error of many words " * 9}}
    lines = report.lines_of(WORKLOADS["train/ResNet50/float32"], row).splitlines()
    assert lines[0] == "train ResNet50, batch 8, ms"
    assert lines[1].split() == ["lamina", "420", "(420", "to", "420)", "1.00"]
    assert lines[2].startswith("  plain torch   failed: an error")
    assert all(len(line) <= 80 for line in lines)


def test_requirements_are_pinned():
    for environment in {engine.environment for engine in ENGINES.values()}:
        assert requirements(environment)
        assert all("==" in line for line in requirements(environment))


def test_the_machine_is_described():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.machine"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert set(said["operations"]) == set(CONVNETS)
    # 1.27 thousand million multiply-adds at 128×128, twice as many operations, three times as many to train
    assert said["operations"]["ResNet50"]["predict"] == pytest.approx(2 * 1.27e9, rel=0.03)
    assert said["operations"]["ResNet50"]["train"] == pytest.approx(6 * 1.27e9, rel=0.06)
    assert min(said["rates"].values()) > 1e8

"""The benchmark for a GPU at tiny sizes on the processor: every row is there, and both networks compute the same.

No time is looked at. What needs a card (its clock, its memory, CUDA graphs) is not tested here."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import gpu, gpu_networks, report

PLAN = gpu.Plan(torch.device("cpu"), gpu_networks.TINY, batch=2, rounds=1, seconds=0.0, tiny=True)
HAS_JAX = all(importlib.util.find_spec(name) for name in ("jax", "flax", "optax"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A whole run in lamina and plain torch, and what is small under torch.compile."""
    folder = tmp_path_factory.mktemp("gpu")
    gpu.main(["--tiny", "--engines", "lamina,torch,jax", "--out", str(folder)])
    for name in ("perceptron", "ViT-B"):
        gpu.main(["--tiny", "--engines", "compile", "--only", name, "--out", str(folder / name)])
    data, *small = (json.loads((folder / name / gpu.RESULTS.name).read_text()) for name in (".", "perceptron", "ViT-B"))
    return data, (folder / gpu.SECTION.name).read_text(), small[0]["rows"] | small[1]["rows"]


def test_every_engine_has_every_row(results):
    data, text, compiled = results
    names = [workload.name for workload in gpu.workloads(PLAN)]
    assert list(data["rows"]) == names
    assert len(names) == 7
    timed = [row[engine] for row in data["rows"].values() for engine in ("lamina", "torch")]
    timed += [row["compile"] for row in compiled.values()]
    assert len(timed) == 18
    for result in timed:
        assert math.isfinite(result["seconds"]), result
        assert result["seconds"] > 0
        assert len(result["rounds"]) == 1
    lines = text.splitlines()
    for name in names:
        (line,) = [one for one in lines if one.startswith(f"| {name} |")]
        assert line.count("|") == len(gpu.ENGINES) + 3
    assert "the times mean nothing" in text
    assert ": met" not in text
    assert ": missed" not in text
    assert "not measured" not in text
    assert data["tiny"] is True


@pytest.mark.skipif(HAS_JAX, reason="JAX is installed")
def test_what_is_not_installed_is_not_run_and_says_why(results):
    data, text, _ = results
    for name, row in data["rows"].items():
        assert row["jax"] == {"not_run": "jax is not installed"}
        assert f"- {name}: JAX, flax: jax is not installed" in text


@pytest.mark.skipif(not HAS_JAX, reason="needs JAX, flax and optax")
def test_jax_has_every_row(results):
    assert all(math.isfinite(row["jax"]["seconds"]) for row in results[0]["rows"].values())


def test_lamina_and_plain_torch_compute_the_same(results):
    found = results[0]["differences"]
    assert list(found) == ["ResNet-50", "ViT-B/16", "perceptron"]
    assert all(value < 1e-4 for value in found.values()), found


def test_another_weight_is_seen(monkeypatch):
    def other(network, model, module):
        carried(network, model, module)
        with torch.no_grad():
            [one for one in module.parameters() if one.dim() == 2][-1].mul_(1.1)

    carried = gpu_networks.carry
    monkeypatch.setattr(gpu, "carry", other)
    for network in ("ViT-B/16", "perceptron"):
        assert gpu.difference(network, PLAN) > 1e-3


def test_the_full_networks_are_the_known_ones():
    with torch.device("meta"):
        counts = [
            sum(one.numel() for one in gpu_networks.plain(network, gpu_networks.FULL).parameters())
            for network in gpu_networks.NETWORKS
        ]
    assert counts == [
        25_557_032,
        86_567_656,
        4 * 32 + 32 + 32 * 16 + 16 + 16 + 1,
    ]  # ViT-B/16 of torchvision has as many


def test_bars_are_judged():
    trained, fitted = gpu.workloads(PLAN)[0].name, gpu.workloads(PLAN)[2].name
    rows = {trained: {"lamina": {"seconds": 2.0}, "compile": {"seconds": 1.0}}}
    rows[fitted] = {"lamina": {"seconds": 0.2}, "torch": {"seconds": 1.0}}
    missed, met = gpu.bars(PLAN, rows)
    assert missed.endswith("of torch.compile: missed: 2.00")
    assert met.endswith("of plain torch: met: 0.20")
    assert gpu.bars(PLAN, {trained: {"lamina": {"failed": "out of memory"}}})[0].endswith("not measured")


def test_an_engine_that_fails_is_a_row(monkeypatch, capsys):
    def broken(*arguments, **options):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(gpu, "torch_engine", broken)
    data, text = gpu.run(PLAN, ["lamina", "torch"], "perceptron")
    (row,) = data["rows"].values()
    assert row["torch"] == {"failed": "RuntimeError: out of memory"}
    assert math.isfinite(row["lamina"]["seconds"])
    assert ": plain torch: RuntimeError: out of memory" in text
    assert "plain torch failed" in capsys.readouterr().out


def test_without_a_card_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, words in (([], "--tiny runs the program"), (["--tiny", "--engines", "x"], "no engine is called x")):
        with pytest.raises(SystemExit):
            gpu.main(arguments)
        assert words in capsys.readouterr().err


def test_results_take_in_the_section(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "GPU_SECTION", tmp_path / "gpu_results.md")
    assert report.on_a_gpu()[2].endswith("not measured: no GPU")
    (tmp_path / "gpu_results.md").write_text("## On a GPU\n\na card\n")
    assert report.on_a_gpu() == ["## On a GPU", "", "a card"]

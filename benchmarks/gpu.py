"""lamina on one NVIDIA GPU beside plain torch, torch.compile and JAX: `python -m benchmarks.gpu`.

Needs torch, NumPy and lamina (3.12 and torch 2.11 are what the rows are meant for); JAX, flax and optax for their
rows. Writes `benchmarks/gpu_results.json` and `gpu_results.md`, which `RESULTS.md` takes in. `--tiny` runs the same
code at tiny sizes, also on a CPU, and writes only where `--out` says.

Every engine takes its turn once in a round, and the order changes from round to round; the first round does not count;
the number is the median. The clock stands between two synchronisations of the device, so the work of the processor
and of the card are both in it. Training reads a batch that lies on the card; `predict` goes from array to array.
Memory is the peak of the first steps, beyond what lay there before.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.gpu_networks import FULL, TINY, Sizes, build, carry, plain
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).resolve().parent
RESULTS, SECTION = HERE / "gpu_results.json", HERE / "gpu_results.md"
ENGINES = {"lamina": "lamina", "torch": "plain torch", "compile": "torch.compile", "jax": "JAX, flax"}
PERCEPTRON_BATCH, PERCEPTRON_STEPS = 32, 64
_IMAGES = ("ResNet-50", "ViT-B/16")


class NotRunError(Exception):
    """An engine that cannot run here, and why."""


@dataclass(frozen=True)
class Plan:
    """What to run: on which device, at which sizes, how often."""

    device: torch.device
    sizes: Sizes = FULL
    batch: int = 256
    rounds: int = 7
    seconds: float = 2.0
    tiny: bool = False


@dataclass(frozen=True)
class Workload:
    """A row. `kind`: "train", "fit" or "predict"; `batch`: rows in a step."""

    name: str
    kind: str
    network: str
    batch: int
    unit: str = "ms"


@dataclass
class Case:
    """An engine made ready for a workload: `run(steps)` does so many, `wait()` until the device is done."""

    run: Callable[[int], Any]
    wait: Callable[[], Any]
    memory: Callable[[], int | None]


def workloads(plan: Plan) -> list[Workload]:
    trained = [Workload(f"train {name}, bfloat16, batch {plan.batch}", "train", name, plan.batch) for name in _IMAGES]
    fitted = Workload(f"fit perceptron, batch {PERCEPTRON_BATCH}, a step", "fit", "perceptron", PERCEPTRON_BATCH, "µs")
    predicted = [
        Workload(f"predict {name}, bfloat16, batch {batch}", "predict", name, batch)
        for name in _IMAGES
        for batch in (1, plan.batch)
    ]
    return [*trained, fitted, *predicted]


# ------------------------------------------------------------------------------------------------------------ engines


def images(workload: Workload, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """(batch, height, width, channels) and class numbers."""
    rng = np.random.default_rng(0)
    side = plan.sizes.image
    x = rng.random((workload.batch, side, side, 3), dtype="float32")
    return x, rng.integers(0, 1000, workload.batch)


def rows() -> tuple[np.ndarray, np.ndarray]:
    """The data of the perceptron, for all the steps of an epoch."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(PERCEPTRON_BATCH * PERCEPTRON_STEPS, 4)).astype("float32")
    return x, (x.sum(1, keepdims=True) > 0).astype("float32")


def whole_epochs(steps: int) -> int:
    return max(1, round(steps / PERCEPTRON_STEPS))


def case_of(plan: Plan, run: Callable[[int], Any], before: int) -> Case:
    if plan.device.type != "cuda":
        return Case(run, lambda: None, lambda: None)
    return Case(run, torch.cuda.synchronize, lambda: torch.cuda.max_memory_allocated() - before)


def lamina_engine(workload: Workload, plan: Plan) -> Callable[[int], Any]:
    import lamina

    model = build(workload.network, plan.sizes, "float32" if workload.kind == "fit" else "mixed_bfloat16")
    if workload.kind == "predict":
        x, _ = images(workload, plan)
        return lambda steps: [model.predict(x, batch_size=workload.batch, verbose=0) for _ in range(steps)]
    if workload.kind == "fit":
        loss = lamina.losses.BinaryCrossentropy(from_logits=True)
        model.compile(lamina.optimizers.Adam(), loss, metrics=[lamina.metrics.BinaryAccuracy(threshold=0.0)])
        x, y = (torch.from_numpy(one).to(plan.device) for one in rows())
        options: dict[str, Any] = {"batch_size": workload.batch, "verbose": 0}
        return lambda steps: model.fit(x, y, epochs=whole_epochs(steps), **options)
    loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(lamina.optimizers.SGD(0.01, momentum=0.9), loss)
    batch = tuple(torch.from_numpy(one).to(plan.device) for one in images(workload, plan))
    return lambda steps: model.fit(itertools.repeat(batch), steps_per_epoch=steps, verbose=0)


def torch_engine(workload: Workload, plan: Plan, compiles: bool = False) -> Callable[[int], Any]:
    module = plain(workload.network, plan.sizes).to(plan.device)
    if workload.network in _IMAGES:
        module = module.to(memory_format=torch.channels_last)
    if workload.kind == "predict":
        return plain_predict(module.to(torch.bfloat16).eval(), workload, plan, compiles)
    return (plain_fit if workload.kind == "fit" else plain_train)(module.train(), workload, plan, compiles)


def compiled(module: nn.Module, plan: Plan, graphs: bool) -> Any:
    """torch.compile, with CUDA graphs where launches are what takes the time. At tiny sizes nothing is generated."""
    if plan.tiny:
        return torch.compile(module, backend="eager")
    return torch.compile(module, mode="reduce-overhead" if graphs else "default")


def plain_train(module: nn.Module, workload: Workload, plan: Plan, compiles: bool) -> Callable[[int], Any]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, fused=True)
    call = compiled(module, plan, graphs=False) if compiles else module
    x, y = (torch.from_numpy(one).to(plan.device) for one in images(workload, plan))
    x = x.permute(0, 3, 1, 2)  # a view, channels_last already

    def run(steps: int) -> float:
        total = torch.zeros((), device=plan.device)
        for _ in range(steps):
            with torch.autocast(plan.device.type, torch.bfloat16):
                logits = call(x)
            loss = functional.cross_entropy(logits.float(), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
        return float(total) / steps

    return run


def plain_fit(module: nn.Module, workload: Workload, plan: Plan, compiles: bool) -> Callable[[int], Any]:
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    call = compiled(module, plan, graphs=True) if compiles else module
    x, y = (torch.from_numpy(one).to(plan.device) for one in rows())

    def epoch() -> tuple[float, float]:
        total, correct = (torch.zeros((), device=plan.device) for _ in range(2))
        for chosen in torch.randperm(len(x), device=plan.device).split(workload.batch):
            wanted = y[chosen]
            logits = call(x[chosen])
            loss = functional.binary_cross_entropy_with_logits(logits, wanted)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
            correct += ((logits.detach() > 0) == (wanted > 0)).sum()
        return float(total) / PERCEPTRON_STEPS, float(correct) / len(x)

    return lambda steps: [epoch() for _ in range(whole_epochs(steps))]


def plain_predict(module: nn.Module, workload: Workload, plan: Plan, compiles: bool) -> Callable[[int], Any]:
    call = compiled(module, plan, graphs=True) if compiles else module
    host, _ = images(workload, plan)

    def once() -> np.ndarray:
        x = torch.from_numpy(host).to(plan.device).to(torch.bfloat16).permute(0, 3, 1, 2)
        result: Tensor = call(x)
        return result.float().cpu().numpy()

    @torch.inference_mode()
    def run(steps: int) -> list[np.ndarray]:
        return [once() for _ in range(steps)]

    return run


def jax_case(workload: Workload, plan: Plan) -> Case:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes three quarters of the card
    try:
        from benchmarks import gpu_jax
    except ImportError as error:
        raise NotRunError(f"{error.name} is not installed") from error
    if plan.device.type == "cuda" and gpu_jax.platform() != "gpu":
        raise NotRunError("this JAX has no GPU")
    data = rows() if workload.kind == "fit" else images(workload, plan)
    run, wait = gpu_jax.ready(workload.kind, workload.network, workload.batch, plan.sizes, data)
    return Case(run, wait, gpu_jax.memory)


def case(engine: str, workload: Workload, plan: Plan) -> Case:
    """An engine with its network built and warm. Errors: a NotRunError says why there is none here."""
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if plan.device.type == "cuda" else 0
    if engine == "jax":
        made = jax_case(workload, plan)
    elif engine == "lamina":
        made = case_of(plan, lamina_engine(workload, plan), before)
    else:
        made = case_of(plan, torch_engine(workload, plan, compiles=engine == "compile"), before)
    for _ in range(1 if plan.tiny else 3):
        made.run(1 if plan.tiny else 5)
    made.wait()
    return made


# ------------------------------------------------------------------------------------------------------------- rounds


def seconds_a_step(ready: Case, steps: int) -> float:
    ready.wait()
    start = time.perf_counter()
    ready.run(steps)
    ready.wait()
    return (time.perf_counter() - start) / steps


def measured(workload: Workload, plan: Plan, engines: list[str]) -> dict[str, dict[str, Any]]:
    """Engine → its median, or why it has none: one engine's failure is a row, and the others go on."""
    results: dict[str, dict[str, Any]] = {engine: {} for engine in engines}
    cases: dict[str, Case] = {}
    steps: dict[str, int] = {}
    times: dict[str, list[float]] = {engine: [] for engine in engines}
    least = PERCEPTRON_STEPS if workload.kind == "fit" else 1

    def make_ready(engine: str) -> None:
        cases[engine] = case(engine, workload, plan)
        results[engine]["memory"] = cases[engine].memory()
        steps[engine] = least * max(1, int(plan.seconds / seconds_a_step(cases[engine], least) / least))

    def take_turn(engine: str) -> None:
        if plan.device.type == "cuda":  # the room of the one before; then this one's again
            torch.cuda.empty_cache()
            cases[engine].run(least)
        times[engine].append(seconds_a_step(cases[engine], steps[engine]))

    for number in range(plan.rounds + 2):  # in the first they are made, the second does not count
        turn = number % len(engines)
        for engine in engines[turn:] + engines[:turn]:
            try:
                if number == 0:
                    make_ready(engine)
                elif engine in steps:
                    take_turn(engine)
            except NotRunError as reason:
                results[engine] = {"not_run": str(reason)}
            except Exception as error:
                results[engine] = {"failed": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}
                steps.pop(engine, None)
                cases.pop(engine, None)
    for engine in steps:
        counted = times[engine][1:]
        results[engine] |= {"seconds": statistics.median(counted), "rounds": counted}
    return results


def difference(network: str, plan: Plan) -> float:
    """The largest difference of the outputs of lamina and plain torch with the same weights, in float32, in parts of
    the largest output."""
    model, module = build(network, plan.sizes, "float32"), plain(network, plan.sizes)
    rng = np.random.default_rng(1)
    moved = [one + rng.uniform(-0.05, 0.05, one.shape) * (one.ndim < 3) for one in model.get_weights()]
    model.set_weights(moved)  # or all biases are 0
    carry(network, model, module)
    module.to(plan.device).eval()
    side = plan.sizes.image
    x = rng.normal(size=(2, 4) if network == "perceptron" else (2, side, side, 3)).astype("float32")
    given = torch.from_numpy(x).to(plan.device)
    with torch.inference_mode():
        other = module(given if x.ndim == 2 else given.permute(0, 3, 1, 2)).cpu().numpy()
    mine = model.predict(x, verbose=0)
    return float(np.abs(mine - other).max() / np.abs(other).max())


# ------------------------------------------------------------------------------------------------------------- report


def about(plan: Plan) -> dict[str, Any]:
    card = torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else f"no GPU ({platform.machine()})"
    return {
        "date": datetime.date.today().isoformat(),
        "card": card,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "sizes": vars(plan.sizes),
        "tiny": plan.tiny,
    }


def cell(workload: Workload, result: dict[str, Any] | None) -> str:
    if result is None or "seconds" not in result:
        return "" if result is None else "failed" if "failed" in result else "not run"
    value = result["seconds"] * (1e6 if workload.unit == "µs" else 1e3)
    text = f"{value:.3g}" if value < 100 else f"{value:.0f}"
    rate = f" ({workload.batch / result['seconds']:.0f}/s)" if workload.kind == "train" else ""
    memory = result.get("memory")
    return text + rate + ("" if memory is None else f", {memory / 2**30:.2f} GiB")


def ratio(row: dict[str, Any], other: str) -> float | None:
    """The seconds of lamina in parts of another's."""
    both = [row.get(name, {}).get("seconds") for name in ("lamina", other)]
    return None if None in both else both[0] / both[1]


def bars(plan: Plan, table: dict[str, Any]) -> list[str]:
    """The bars of the issue, met or missed."""
    trained, fitted = workloads(plan)[0].name, workloads(plan)[2].name
    lines = []
    for name, other, limit in ((trained, "compile", 1.0), (fitted, "torch", 0.3)):
        found = ratio(table.get(name, {}), other)
        said = "not measured" if found is None else f"{'met' if found <= limit else 'missed'}: {found:.2f}"
        lines.append(f"- {name}: at most {limit:.2f} of {ENGINES[other]}: {said}")
    return lines


def section(plan: Plan, said: dict[str, Any], table: dict[str, Any], agree: dict[str, float]) -> str:
    """What RESULTS.md takes in."""
    head = f"{said['date']}, {said['card']}, Python {said['python']}, torch {said['torch']}, CUDA {said['cuda']}."
    lines = ["## On a GPU", "", head]
    lines += ["Tiny sizes, to try the program: the times mean nothing."] if plan.tiny else []
    lines += ["", f"| workload | {' | '.join(ENGINES.values())} | unit |", f"|---|{'--:|' * len(ENGINES)}---|"]
    for workload in workloads(plan):
        if workload.name in table:
            cells = [cell(workload, table[workload.name].get(engine)) for engine in ENGINES]
            lines.append(f"| {' | '.join([workload.name, *cells, workload.unit])} |")
    lines += [
        "",
        "Lower is better; in brackets images a second; then the peak of memory (JAX's: since the start).",
        "",
        *([] if plan.tiny else bars(plan, table)),
        "",
    ]
    lines += [f"- {name}: lamina and plain torch differ by {value:.1e}" for name, value in agree.items()]
    for name, row in table.items():
        lines += [
            f"- {name}: {ENGINES[engine]}: {result.get('failed') or result['not_run']}"
            for engine, result in row.items()
            if "failed" in result or "not_run" in result
        ]
    return "\n".join(lines) + "\n"


def run(plan: Plan, engines: list[str], only: str = "") -> tuple[dict[str, Any], str]:
    """Everything: the data of `gpu_results.json` and the text of `gpu_results.md`."""
    torch.backends.cudnn.benchmark = True
    chosen = [workload for workload in workloads(plan) if only in workload.name]
    table, agree, said = {}, {}, about(plan)
    for network in dict.fromkeys(workload.network for workload in chosen):
        agree[network] = difference(network, plan)
    for workload in chosen:
        table[workload.name] = measured(workload, plan, engines)
        shown = [f"{ENGINES[name]} {cell(workload, result)}" for name, result in table[workload.name].items()]
        print(f"{workload.name}, {workload.unit}", *shown, sep="\n  ", flush=True)
    return {**said, "rows": table, "differences": agree}, section(plan, said, table, agree)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="lamina on one GPU beside plain torch, torch.compile and JAX")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, also without a GPU")
    parser.add_argument("--only", default="", help="a part of the names of workloads")
    parser.add_argument("--engines", default=",".join(ENGINES), help="some of %(default)s")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=256, help="images of a step, for a card with less memory")
    parser.add_argument("--out", type=Path, help="the folder of the results; benchmarks/, with --tiny none")
    given = parser.parse_args(arguments)
    engines = given.engines.split(",")
    if unknown := sorted(set(engines) - set(ENGINES)):
        parser.error(f"no engine is called {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type != "cuda" and not given.tiny:
        parser.error("torch finds no GPU here. --tiny runs the program on the processor, at tiny sizes.")
    plan = Plan(device, batch=given.batch, rounds=given.rounds)
    if given.tiny:
        plan = Plan(device, TINY, batch=2, rounds=1, seconds=0.0, tiny=True)
    data, text = run(plan, engines, given.only)
    print(text)
    folder = given.out or (None if given.tiny else HERE)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULTS.name).write_text(json.dumps(data, indent=1))
        (folder / SECTION.name).write_text(text)


if __name__ == "__main__":
    main()

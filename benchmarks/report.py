"""The table, the bars and `RESULTS.md`, from results that are kept in `.bench/results.json`."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bars import Verdict, limit_text, number, verdicts
from benchmarks.catalogue import CONVNETS, WORKLOADS, Workload
from benchmarks.engines import BENCH, ENGINES, ROOT, interpreter, variables

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
GPU_SECTION = ROOT / "benchmarks" / "gpu_results.md"  # written by `benchmarks.gpu` where there is a card
GPU_ROWS = (
    "ResNet-50 at 224×224, training, bfloat16, batch 256",
    "ViT-B/16, training",
    "perceptron, `fit`, a step",
    "predict at batch 1 and 256",
)
Row = dict[str, dict[str, Any]]  # engine → result


class Store:
    """The last results of every workload, each row with the day and the machine of its run."""

    def __init__(self, path: Path = BENCH / "results.json"):
        self.path = path
        kept = json.loads(path.read_text()) if path.exists() else {}
        self.rows: dict[str, Row] = kept.get("rows", {})
        self.dates: dict[str, str] = kept.get("dates", {})
        self.machine: dict[str, Any] = kept.get("machine", {})

    def keep(self, name: str, row: Row, date: str = "") -> bool:
        """Takes the row of a workload, unless the one that is there knows more engines: their ratios would be lost."""
        missing = set(self.rows.get(name, {})) - set(row)
        if missing:
            print(f"  not kept: the row of {name} from {self.dates[name]} has {', '.join(sorted(missing))} too")
            return False
        self.rows[name] = row
        self.dates[name] = date or datetime.date.today().isoformat()
        self.save()
        return True

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        begun = self.path.with_suffix(".new")
        kept = {"rows": self.rows, "dates": self.dates, "machine": self.machine}
        begun.write_text(json.dumps(kept, indent=1))
        begun.replace(self.path)

    def measure_machine(self) -> None:
        """Asks the torch environment for the processor, the versions, the rates of matrix products."""
        done = subprocess.run(
            [str(interpreter("torch")), "-m", "benchmarks.machine"],
            cwd=ROOT,
            env=variables(ENGINES["torch"]),
            capture_output=True,
            text=True,
            check=True,
        )
        self.machine = json.loads(done.stdout.splitlines()[-1])
        self.save()


def cell(workload: Workload, result: Mapping[str, Any] | None) -> str:
    if result is None:
        return ""
    return "failed" if "failed" in result else number(result["value"], workload.unit)


def ratio(row: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The median of lamina in parts of an engine's."""
    values = [row.get(engine, {}).get("value") for engine in ("lamina", name)]
    return f"{values[0] / values[1]:.2f}" if None not in values and values[1] else ""


def lines_of(workload: Workload, row: Row) -> str:
    """A workload for the terminal: a line an engine, with the spread of the rounds."""
    lines = [f"{workload.title}, {workload.unit}"]
    for name, result in row.items():
        title = f"  {ENGINES[name].title:<13}"
        if "failed" in result:
            lines.append(f"{title} failed: {result['failed']}"[:80])
            continue
        least, most = min(result["rounds"]), max(result["rounds"])
        spread = f"({number(least, workload.unit)} to {number(most, workload.unit)})"
        parts = [f"{name} {number(value, workload.unit)}" for name, value in result["also"].items()]
        text = f"{title} {number(result['value'], workload.unit):>8} {spread:<20} {ratio(row, name):>6}"
        lines.append("  ".join([text, *parts]).rstrip())
    return "\n".join(lines)


def table(store: Store) -> list[str]:
    engines = list(ENGINES)
    lines = ["| workload | " + " | ".join(ENGINES[name].title for name in engines) + " | unit | date |"]
    lines.append("|---|" + "--:|" * len(engines) + "---|---|")
    for name, workload in WORKLOADS.items():
        if name in store.rows:
            cells = [cell(workload, store.rows[name].get(engine)) for engine in engines]
            lines.append("| " + " | ".join([workload.title, *cells, workload.unit, store.dates[name]]) + " |")
    return lines


def ratios(store: Store) -> list[str]:
    others = [name for name in ENGINES if name != "lamina"]
    lines = ["| lamina in parts of | " + " | ".join(ENGINES[name].title for name in others) + " |"]
    lines.append("|---|" + "--:|" * len(others))
    for name, workload in WORKLOADS.items():
        if name in store.rows:
            lines.append(
                "| " + " | ".join([workload.title, *(ratio(store.rows[name], other) for other in others)]) + " |"
            )
    return lines


def beside(store: Store) -> list[str]:
    """What was timed beside `predict`: `predict_on_batch`, the program without the loop over batches."""
    engines = [name for name in ENGINES if name == "lamina" or ENGINES[name].is_keras]
    lines = ["| `predict_on_batch`, ms | " + " | ".join(ENGINES[name].title for name in engines) + " |"]
    lines.append("|---|" + "--:|" * len(engines))
    for name, workload in WORKLOADS.items():
        also = {engine: result.get("also", {}) for engine, result in store.rows.get(name, {}).items()}
        found = {engine: parts["predict_on_batch"] for engine, parts in also.items() if "predict_on_batch" in parts}
        if found:
            cells = [number(found[engine], workload.unit) if engine in found else "" for engine in engines]
            lines.append("| " + " | ".join([workload.title, *cells]) + " |")
    return lines


def shares(store: Store) -> list[str]:
    """How much of the machine's matrix rate the convnets reach, by the operations that they need."""
    rates, operations = store.machine["rates"], store.machine["operations"]
    lines = ["| convnet | GFLOP | lamina | plain torch |", "|---|--:|--:|--:|"]
    for network in CONVNETS:
        for name in (f"train/{network}/float32", f"train/{network}/bfloat16", f"predict/{network}/float32/8"):
            row = store.rows.get(name, {})
            needed = 8 * operations[network][name.partition("/")[0]]
            reached = [
                f"{needed / row[engine]['value'] / rates['bfloat16' if 'bfloat16' in name else 'float32']:.0%}"
                if "value" in row.get(engine, {})
                else ""
                for engine in ("lamina", "torch")
            ]
            if any(reached):
                lines.append("| " + " | ".join([WORKLOADS[name].title, f"{needed / 1e9:.1f}", *reached]) + " |")
    return lines


def verdict_cells(verdict: Verdict) -> list[str]:
    """Workload, bar, lamina's value, its ratio to the other, met or missed."""
    bar, workload = verdict.bar, WORKLOADS[verdict.bar.workload]
    if verdict.ours is None:
        return [workload.title, limit_text(bar), "", "", f"not measured: {verdict.why}"]
    if bar.fact:
        ours = f"{verdict.ours / 1e6:.2f} MB" if bar.fact == "growth" else f"{verdict.ours:.1e}"
        return [workload.title, limit_text(bar), ours, "", verdict.state]
    ours = f"{number(verdict.ours, workload.unit)} {workload.unit}"
    if verdict.theirs is None:
        return [workload.title, limit_text(bar), ours, "", f"{verdict.state}: {verdict.why}"]
    if bar.offset:
        compared = f"+{number(verdict.ours - verdict.theirs, workload.unit)} {workload.unit}".replace("+-", "−")
    else:
        compared = f"{verdict.ours / verdict.theirs:.2f}"
    state = f"{verdict.state} ({verdict.why})" if verdict.why else verdict.state
    return [workload.title, limit_text(bar), ours, compared, state]


def bars_table(store: Store) -> list[str]:
    lines = ["| workload | bar | lamina | beside it | |", "|---|---|--:|--:|---|"]
    return lines + ["| " + " | ".join(verdict_cells(verdict)) + " |" for verdict in verdicts(store.rows)]


def bars_text(store: Store) -> str:
    """The bars for the terminal; those that were not measured as a number only."""
    lines, states = [], {"met": 0, "missed": 0, "not measured": 0}
    for verdict in verdicts(store.rows):
        states[verdict.state] += 1
        if verdict.state != "not measured":
            _, bar, ours, compared, _ = verdict_cells(verdict)
            lines.append(f"{verdict.state:<7}{verdict.bar.workload:<33}{ours:>9}{compared:>9}  {bar}")
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    return "\n".join([*lines, f"bars: {counted}"])


def failures(store: Store) -> list[str]:
    return [
        f"- {WORKLOADS[name].title}, {ENGINES[engine].title}: {result['failed']}"
        for name, row in store.rows.items()
        if name in WORKLOADS
        for engine, result in row.items()
        if "failed" in result
    ]


def on_a_gpu() -> list[str]:
    if GPU_SECTION.exists():
        return GPU_SECTION.read_text().strip().split("\n")
    return ["## On a GPU", "", *(f"- {title}: not measured: no GPU" for title in GPU_ROWS)]


def text_of(store: Store) -> str:
    machine = store.machine
    missing = [workload.title for name, workload in WORKLOADS.items() if name not in store.rows]
    rates = ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in machine["rates"].items())
    parts = [
        ["# Results of `make bench`", "", "Written by the run; `benchmarks/README.md` says what the rows mean."],
        [f"Machine: {machine['processor']}, {machine['processors']} processors, {machine['system']}. Two threads."],
        ["Versions: " + ", ".join(f"{name} {version}" for name, version in machine["versions"].items()) + "."],
        [f"Matrix products, or convolutions of 3×3 if they reach more, on two threads: {rates}."],
        ["## Medians", "", *table(store)],
        ["## Ratios", "", *ratios(store)],
        ["## `predict_on_batch`", "", *beside(store)],
        ["## Share of the matrix rate", "", "Operations: two for each multiply-add, batch 8.", "", *shares(store)],
        ["## Bars", "", *bars_table(store)],
        ["## Failed", "", *(failures(store) or ["Nothing."])],
        ["## Not run", "", *([f"- {title}" for title in missing] or ["Nothing."])],
        on_a_gpu(),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def write(store: Store, path: Path = RESULTS) -> None:
    path.write_text(text_of(store))

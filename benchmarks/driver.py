"""Runs workloads on engines, round by round: in a round every engine takes its turn once, each time in a new order.

Every engine has a process of its own for each workload. A process whose turn it is not is stopped (SIGSTOP), so that no
pool of waiting threads takes time from the others.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.catalogue import Workload
from benchmarks.engines import BENCH, ENGINES, ROOT, Engine, interpreter, variables
from benchmarks.export import onnx_path

LIMIT = 600.0  # seconds that one answer may take
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class WorkerError(Exception):
    """A worker failed at a workload; the text says why in a line."""


@dataclass
class Plan:
    """How much is measured: rounds, seconds of a turn, seconds of warming up; the interpreters of the environments."""

    rounds: int = 7
    seconds: float = 0.5
    warm_up: float = 2.0
    tiny: bool = False
    python: Callable[[str], Path] = interpreter


@dataclass
class Result:
    """What an engine reached at a workload: the values of its rounds, in seconds or bytes, or why there are none."""

    values: list[float] = field(default_factory=list)
    also: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    def to_dict(self) -> dict[str, Any]:
        if self.failed:
            return {"failed": self.failed}
        medians = {name: statistics.median(values) for name, values in self.also.items()}
        return {"value": statistics.median(self.values), "rounds": self.values, "also": medians, "facts": self.facts}


def log_of(engine: Engine) -> Path:
    folder = BENCH / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{engine.name}.log"


def last_words(engine: Engine) -> str:
    lines = [line.strip() for line in log_of(engine).read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it said nothing"


class Process:
    """A worker process of an engine for one workload."""

    def __init__(self, engine: Engine, python: Path):
        self.engine = engine
        self.log = log_of(engine).open("w")
        self.process = subprocess.Popen(
            [str(python), "-m", "benchmarks.worker", engine.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
            env=variables(engine),
            preexec_fn=as_a_worker,
        )

    def ask(self, limit: float = LIMIT, **request: Any) -> dict[str, Any]:
        """Wakes the process, sends a request, waits for the answer, stops the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGCONT)
        with suppress(BrokenPipeError):  # it ended; the empty answer below says so
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            raise WorkerError(f"no answer in {limit:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"ended with {self.process.wait()}: {last_words(self.engine)}")
        self.process.send_signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "failed" in answer:
            raise WorkerError(answer["failed"])
        return answer

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            with suppress(BrokenPipeError):
                pipe.close()


def as_a_worker() -> None:
    """Keeps a process on two cores, as some engines have a thread for every processor that they may run on.

    It is killed when the driver ends, however that ends: a stopped process would stay for ever.
    """
    os.sched_setaffinity(0, CORES)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def cores(count: int = 2) -> set[int]:
    """Processors of different cores, so that no two of them share one."""
    found: dict[tuple[str, str], int] = {}
    allowed = sorted(os.sched_getaffinity(0))
    for number in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{number}/topology")
        try:
            core = tuple((topology / part).read_text().strip() for part in ("physical_package_id", "core_id"))
        except OSError:
            core = ("", str(number))
        found.setdefault(core, number)
    chosen = list(found.values())[:count]
    return set(chosen if len(chosen) == count else allowed[:count])


CORES = cores()


def rotated(names: list[str], by: int) -> list[str]:
    by %= max(1, len(names))
    return names[by:] + names[:by]


def measure_in_turns(workload: Workload, engines: Iterable[str], plan: Plan) -> dict[str, Result]:
    """Rounds of workers that stay; the first round, in which caches fill, does not count."""
    results = {name: Result() for name in engines}
    with ExitStack() as stack:
        workers: dict[str, Process] = {}
        for name in results:
            worker = stack.enter_context(Process(ENGINES[name], plan.python(ENGINES[name].environment)))
            options = workload.options_of(name, plan.tiny)
            try:
                if name in ("onnxruntime", "openvino"):
                    ensure_onnx(options, plan)
                answer = worker.ask(do="prepare", kind=workload.kind, options=options, seconds=plan.warm_up)
            except WorkerError as error:
                results[name].failed = str(error)
                continue
            results[name].facts = answer["facts"]
            workers[name] = worker
        resident: dict[str, list[int]] = {name: [] for name in workers}
        for number in range(-1, plan.rounds):
            for name in rotated(list(workers), number):
                try:
                    answer = workers[name].ask(do="round", seconds=plan.seconds)
                except WorkerError as error:
                    results[name].failed = str(error)
                    del workers[name]
                    continue
                if number >= 0:
                    record(results[name], answer, resident[name])
    if workload.kind.startswith("overhead_"):
        for name in workers:
            results[name].facts["growth"] = resident[name][-1] - resident[name][0]
    return results


def record(result: Result, answer: dict[str, Any], resident: list[int]) -> None:
    result.values.append(answer["value"])
    for part, value in answer["also"].items():
        result.also.setdefault(part, []).append(value)
    resident.append(answer["resident"])
    result.facts["runs"] = result.facts.get("runs", 0) + answer["runs"]


def measure_fresh(workload: Workload, engines: Iterable[str], plan: Plan) -> dict[str, Result]:
    """Rounds of a new process for each turn; the first round, in which the disk's cache fills, does not count."""
    results = {name: Result() for name in engines}
    for number in range(-1, plan.rounds):
        for name in rotated(list(results), number):
            result = results[name]
            if result.failed:
                continue
            try:
                value = fresh_value(workload, name, plan)
            except WorkerError as error:
                result.failed = str(error)
                continue
            if number >= 0:
                result.values.append(value)
    return results


def fresh_value(workload: Workload, name: str, plan: Plan) -> float:
    """Seconds from the start of a process until it says that it is done, or the bytes that it says."""
    engine = ENGINES[name]
    options = json.dumps(workload.options_of(name, plan.tiny))
    command = [str(plan.python(engine.environment)), "-m", "benchmarks.fresh", name, workload.kind, options]
    with log_of(engine).open("w") as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env=variables(engine),
            preexec_fn=as_a_worker,
            text=True,
        )
        with process:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith("DONE ")), None)
            seconds = time.perf_counter() - start
    if line is None:
        raise WorkerError(f"ended with {process.returncode}: {last_words(engine)}")
    return json.loads(line.removeprefix("DONE ")).get("value", seconds)


def ensure_onnx(options: dict[str, Any], plan: Plan) -> None:
    network, size, batch = options["network"], options["size"], options["batch"]
    if onnx_path(network, size, batch).exists():
        return
    engine = ENGINES["torch"]
    done = subprocess.run(
        [str(plan.python(engine.environment)), "-m", "benchmarks.export", network, str(size), str(batch)],
        cwd=ROOT,
        env=variables(engine),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise WorkerError(f"the export to ONNX failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"[:160])


def measure(workload: Workload, engines: Iterable[str], plan: Plan) -> dict[str, Result]:
    """Every engine's results at a workload."""
    able = [name for name in engines if name in workload.engines]
    return (measure_fresh if workload.is_fresh else measure_in_turns)(workload, able, plan)

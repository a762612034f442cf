"""A process of one engine: it reads a request a line, and answers a line. `python -m benchmarks.worker ENGINE`"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from benchmarks.case import Case, median_seconds, resident, warm_up


def makers(engine: str) -> dict[str, Any]:
    """The functions that make a Case of each kind of workload, for an engine."""
    if engine == "lamina" or engine.startswith("keras-"):
        from benchmarks import workloads

        return workloads.kinds(importlib.import_module("lamina" if engine == "lamina" else "keras"))
    module = "plain_cases" if engine == "torch" else "specialists"
    return importlib.import_module(f"benchmarks.{module}").kinds(engine)


def two_threads(engine: str) -> None:
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    if engine in ("lamina", "torch", "keras-torch"):
        import torch

        torch.set_num_threads(threads)
    # TensorFlow reads TF_NUM_INTRAOP_THREADS; XLA's pool in JAX has one thread for each processor it may run on


class Worker:
    """Answers `prepare` (makes and warms up a case) and `round` (times it)."""

    def __init__(self, engine: str):
        self.engine = engine
        self.case: Case | None = None

    def prepare(self, kind: str, options: dict[str, Any], seconds: float) -> dict[str, Any]:
        made = makers(self.engine)
        two_threads(self.engine)
        self.case = made[kind](**options)
        for run in (self.case.run, *self.case.also.values()):
            warm_up(run, seconds)
        return {"facts": self.case.facts}

    def round(self, seconds: float) -> dict[str, Any]:
        assert self.case is not None
        taken, runs = median_seconds(self.case.run, seconds)
        also = {name: median_seconds(run, seconds)[0] for name, run in self.case.also.items()}
        return {"value": taken / self.case.steps, "also": also, "runs": runs, "resident": resident()}


def reason(error: BaseException) -> str:
    """An error in one short line, for a cell of the table."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"[:160]


def main(engine: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints goes to the log, not between the answers
    worker = Worker(engine)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": reason(error)}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

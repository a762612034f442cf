"""What a model takes to say of itself, beside a clone of it: ratios of one run.

.venv/bin/python benchmarks/explain.py [application ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import lamina


def seconds(function) -> float:
    function()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return median(times)


def main(names: list[str]) -> None:
    for name in names:
        with lamina.device("meta"):
            model = getattr(lamina.applications, name)(weights=None)
            clone = seconds(lambda: lamina.models.clone_model(model))  # noqa: B023
        folder = Path(tempfile.mkdtemp())
        questions = {
            "clone_model": clone,
            "explain": seconds(lambda: str(model.explain())),  # noqa: B023
            "check": seconds(lambda: str(model.check())),  # noqa: B023
            "what_if": seconds(lambda: str(model.what_if((512, 512, 3)))),  # noqa: B023
            "minimum_input": seconds(lambda: str(model.minimum_input())),  # noqa: B023
            "cuts": seconds(lambda: str(model.cuts())),  # noqa: B023
            "plot": seconds(lambda: model.plot(folder / "model.svg")),  # noqa: B023
            "explore": seconds(lambda: model.explore(folder / "model.html")),  # noqa: B023
        }
        print(f"{name}, {len(model.layers)} layers")
        for question, taken in questions.items():
            print(f"  {question:<14} {taken:6.3f} s  {taken / clone:6.2f} clones")


if __name__ == "__main__":
    main(sys.argv[1:] or ["ResNet50", "DenseNet121", "VGG16"])

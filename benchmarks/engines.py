"""The engines that are compared, and the environments that they run in."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements"
THREADS = 2


@dataclass(frozen=True)
class Engine:
    """One way to compute a workload: its environment (`.bench/venv-...`) and its environment variables."""

    name: str
    title: str
    environment: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def is_keras(self) -> bool:
        return self.name.startswith("keras-")


# lamina runs on the very torch that plain torch and Keras on torch run on: another build of torch, or another file
# cache behind its import, would be measured too.
ENGINES = {
    engine.name: engine
    for engine in (
        Engine("lamina", "lamina", "torch", {"PYTHONPATH": str(ROOT / "src")}),
        Engine("torch", "plain torch", "torch"),
        Engine("keras-tensorflow", "Keras TF", "tensorflow", {"KERAS_BACKEND": "tensorflow"}),
        Engine("keras-jax", "Keras JAX", "jax", {"KERAS_BACKEND": "jax"}),
        Engine("keras-torch", "Keras torch", "torch", {"KERAS_BACKEND": "torch"}),
        Engine("onnxruntime", "ONNX Runtime", "inference"),
        Engine("openvino", "OpenVINO", "inference"),
    )
}
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS"
).split()


def variables(engine: Engine) -> dict[str, str]:
    """The environment of an engine's processes: two threads, and nothing of the user's settings of Keras."""
    left_out = ("KERAS_", "LAMINA_", "PYTHONDONTWRITEBYTECODE")  # without bytecode, what is installed has an advantage
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    kept.pop("PYTHONPATH", None)
    return {
        **kept,
        **dict.fromkeys(_THREAD_VARIABLES, str(THREADS)),
        "KERAS_HOME": str(BENCH / "keras-home"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "JAX_PLATFORMS": "cpu",
        **engine.variables,
    }


def requirements(environment: str) -> list[str]:
    lines = (REQUIREMENTS / f"{environment}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def version(environment: str, package: str) -> str:
    """The pinned version of a package of an environment."""
    return next(line.partition("==")[2] for line in requirements(environment) if line.startswith(f"{package}=="))


def interpreter(environment: str) -> Path:
    return BENCH / f"venv-{environment}" / "bin" / "python"


def make_environment(environment: str) -> None:
    """Creates `.bench/venv-...` with the pinned packages, unless it stands with just these."""
    wanted = requirements(environment)
    folder = BENCH / f"venv-{environment}"
    stamp = folder / ".requirements"
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    print(f"making {folder.relative_to(ROOT)}: {', '.join(wanted)}", flush=True)
    if not interpreter(environment).exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(interpreter(environment)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # torch first and alone, so that nothing else can pull in another build of it
    for group in ([line for line in wanted if line.startswith("torch==")], wanted):
        if group:
            subprocess.run([*install, *group], check=True)
    stamp.write_text(digest)

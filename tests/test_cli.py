"""`lamina run` and the other commands: real scripts in processes of their own, and the rest in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lamina
from lamina.cli.commands import app

COMMAND = [sys.executable, "-m", "lamina"]


def lamina_run(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(source)
    (folder / "neighbour.py").write_text("name = 'neighbour'\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [*COMMAND, "run", str(folder / "script.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, env=environment, timeout=120)


OLD_SCRIPT = """
import sys
import numpy as np
import keras
import tensorflow as tf
from keras.layers import Dense
from keras.layers.core import Dropout
from keras.models import Sequential
from tensorflow.keras import layers
import neighbour

assert __name__ == "__main__" and __file__ == sys.argv[0], sys.argv
assert keras.layers is layers and tf.keras is keras
model = Sequential()
model.add(Dense(output_dim=3, input_dim=4, init="uniform"))
model.add(Dropout(p=0.5))
model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
history = model.fit(tf.ones((8, 4)), np.zeros((8, 3)), nb_epoch=2, verbose=0)
print(sys.argv[1:], neighbour.name, len(history.epoch), model.count_params(), keras.__name__)
sys.exit(5)
"""


def test_an_old_script_runs_unmodified(tmp_path: Path) -> None:
    done = lamina_run(tmp_path / "folder", OLD_SCRIPT, "--epochs", "3", "run")
    assert done.stdout == "['--epochs', '3', 'run'] neighbour 2 15 lamina\n", done.stderr
    assert done.returncode == 5
    warned = [line for line in done.stderr.splitlines() if "DeprecationWarning" in line]
    assert [line.split("; today: ")[1] for line in warned] == [
        "Dense(units=3, input_dim=4, kernel_initializer='random_uniform')",
        "Dropout(rate=0.5)",
        "Model.fit(x=<Tensor>, y=<ndarray>, epochs=2, verbose=0)",
    ]
    assert all("script.py:" in line for line in warned)


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("def f():\n    raise ValueError('mine')\n\nf()\n", "ValueError: mine\n"),
        ("import tensorflow as tf\ntf.GradientTape()\n", None),
    ],
)
def test_a_traceback_begins_in_the_script(tmp_path: Path, source: str, ending: str | None) -> None:
    done = lamina_run(tmp_path, source)
    lines = done.stderr.splitlines(keepends=True)
    assert done.returncode == 1
    assert lines[0] == "Traceback (most recent call last):\n"
    assert lines[1].startswith(f'  File "{tmp_path / "script.py"}", line ')
    assert "runpy" not in done.stderr
    assert lines[-1] == ending if ending else "lamina's stand-in" in lines[-1]


def test_a_syntax_error_is_shown_as_pythons(tmp_path: Path) -> None:
    done = lamina_run(tmp_path, "x = (\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f'  File "{tmp_path / "script.py"}", line 1\n')
    assert done.stderr.endswith("SyntaxError: '(' was never closed\n")


def test_a_missing_script() -> None:
    result = CliRunner().invoke(app, ["run", "nowhere.py"])
    assert result.exit_code == 2
    assert "there is no file 'nowhere.py'" in result.output


def test_help_and_version() -> None:
    runner = CliRunner()
    text = runner.invoke(app, ["--help"]).output
    assert all(command in text for command in ("run", "summary", "explain", "version"))
    assert f"lamina {lamina.__version__}, torch " in runner.invoke(app, ["version"]).output


def test_version_loads_no_torch() -> None:
    code = "import sys; sys.argv = ['lamina', 'version']\nimport lamina.cli\n"
    code += "try: lamina.cli.main()\nfinally: assert 'torch' not in sys.modules and 'rich' not in sys.modules\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lamina ")


def test_summary_and_explain_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    lamina.Sequential([lamina.Input((4,)), lamina.layers.Dense(3, name="head")]).save(file)
    for command in ("summary", "explain"):
        result = CliRunner().invoke(app, [command, str(file)])
        assert result.exit_code == 0, result.output
        assert "head" in result.output
        assert "15" in result.output
    assert CliRunner().invoke(app, ["summary", str(tmp_path / "nowhere.keras")]).exit_code == 2

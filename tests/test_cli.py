"""The command line: real scripts in processes of their own, and the commands on models in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import h5py
import pytest
import torch
from typer.testing import CliRunner, Result

import lamina
from golden import check_golden
from lamina import layers
from lamina.base.errors import LaminaError
from lamina.cli.commands import app
from lamina.cli.output import show_data

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


COMMANDS = (
    "summary explain check finding what-if minimum-input receptive-field cuts compare plot explore convert inspect run "
    "demo version".split()
)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], prog_name="lamina")


def data_of(*arguments: str | Path, code: int = 0) -> dict:
    """The one JSON document that a command prints, without NaN and infinities."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    result = call(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout, parse_constant=refuse)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, at 80 columns; a module in it is importable, and `import keras` stays what it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("lamina.compat.importing.install", lambda: None)
    return tmp_path


def small() -> lamina.Model:
    x = lamina.Input((12, 12, 3), name="image")
    y = layers.Conv2D(4, 3, padding="same", name="conv", use_bias=False)(x)
    y = layers.Add(name="add")([y, layers.Conv2D(4, 1, name="other")(x)])
    y = layers.MaxPooling2D(2, name="pool")(y)
    return lamina.Model(x, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="mean")(y)), name="small")


def two_inputs() -> lamina.Model:
    first, second = lamina.Input((8, 3), name="first"), lamina.Input((8, 3), name="second")
    inner = lamina.Sequential(
        [lamina.Input((8, 3)), layers.Conv1D(4, 3, padding="same", strides=2, name="conv")], name="inner"
    )
    joined = layers.Concatenate(name="joined")([inner(first), inner(second)])
    return lamina.Model([first, second], layers.Flatten(name="flat")(joined), name="two_inputs")


# ---------------------------------------------------------------------------------------------- help and completion


def test_help_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pages = [call("--help").output, *(call(name, "--help").output for name in COMMANDS)]
    for name, page in zip(COMMANDS, pages[1:], strict=True):
        assert f"Example: lamina {name}" in page
        assert name in pages[0]
    text = "\n".join(pages)
    assert max(map(len, text.split("\n"))) <= 80
    assert "..." not in pages[0].replace("[ARGS]...", "")
    check_golden("cli_help", text)


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=given, timeout=120)


def test_no_command_shows_the_help() -> None:
    done = in_a_process()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: lamina")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("lamina what", ["what-if"]),
        ("lamina summary --show-", ["--show-trainable"]),
        ("lamina explain DenseNet1", ["DenseNet121", "DenseNet169"]),
    ],
)
def test_completion(words: str, found: list[str]) -> None:
    number = str(len(words.split()) - 1)
    done = in_a_process(_LAMINA_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=number)
    assert done.stdout.split() == found, done.stderr


def test_the_completion_script_can_be_shown() -> None:
    done = in_a_process("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_LAMINA_COMPLETE=complete_bash" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "--help"], ["explain", "nowhere.keras"]])
def test_help_and_misuse_load_no_torch(arguments: list[str]) -> None:
    code = f"import sys; sys.argv = ['lamina', *{arguments}]\nimport lamina.cli\n"
    code += "try: lamina.cli.main()\nfinally: assert 'torch' not in sys.modules and 'rich' not in sys.modules\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "AssertionError" not in done.stderr
    assert done.stdout.startswith("Usage") or "there is no file 'nowhere.keras'" in done.stderr


def test_version() -> None:
    lines = dict(line.split(maxsplit=1) for line in call("version").stdout.splitlines())
    assert lines["lamina"] == lamina.__version__
    assert lines["engine"] == f"torch {torch.__version__}"
    assert lines["device"].split(",")[0] in ("cpu", "cuda")
    assert data_of("version") == lines


# --------------------------------------------------------------------------------------------------- commands, as data


def test_every_command_prints_one_json_document(folder: Path) -> None:
    small().save("small.keras")
    two_inputs().save("two.keras")
    for model, other in (("small.keras", "20,20,3"), ("ResNet50", "64,64,3"), ("two.keras", "first=9,3")):
        loaded = model.endswith(".keras")
        assert data_of("summary", model, "--show", "params|macs|rf|dtype|memory|connected", "--expand-nested")["layers"]
        assert data_of("explain", model)["layers"]
        assert data_of("check", model, code=1 if model == "ResNet50" else 0)["model"]
        assert data_of("minimum-input", model)["axes"]
        assert data_of("receptive-field", model)["axes"]
        assert data_of("cuts", model)["model"]
        assert data_of("compare", model, model)["equal"] is True
        assert data_of("plot", model, "-o", "model.svg") == {"file": "model.svg"}
        assert data_of("explore", model, "-o", "model.html") == {"file": "model.html"}
        found = data_of("what-if", model, other, code=1 if model == "two.keras" else 0)
        assert found["possible"] is (model != "two.keras")
        if loaded:
            assert data_of("summary", model, "--show", "all", "--batch-size", "2")["seconds"] > 0


def test_the_data_are_those_of_the_functions(folder: Path) -> None:
    model = small()
    model.save("small.keras")
    assert data_of("explain", "small.keras") == json.loads(json.dumps(model.explain().to_dict()))
    assert data_of("explain", "small.keras", "conv")["parameter_formula"] == "3·3·3·4 = 108"
    assert data_of("minimum-input", "small.keras")["axes"][0]["size"] == 2
    assert data_of("receptive-field", "small.keras", "pool")["axes"][0]["size"] == 4
    assert [row["name"] for row in data_of("summary", "small.keras", "--layer-range", "add", "mean")["layers"]] == [
        "add",
        "pool",
        "mean",
    ]


def test_data_that_json_lacks_a_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    show_data({"stride": (Fraction(4), Fraction(1, 2))})
    assert json.loads(capsys.readouterr().out) == {"stride": [4, 0.5]}
    with pytest.raises(TypeError, match="is no plain data"):
        show_data({"model": object()})


def test_texts_are_those_of_the_functions(folder: Path) -> None:
    model = small()
    model.save("small.keras")
    assert call("explain", "small.keras").stdout == f"{model.explain()}\n"
    assert call("minimum-input", "small.keras").stdout == f"{model.minimum_input()}\n"
    assert call("receptive-field", "small.keras", "pool").stdout == f"{model.receptive_field('pool')}\n"
    assert call("what-if", "small.keras", "20,20,3").stdout == f"{model.what_if((20, 20, 3))}\n"
    said: list[str] = []
    model.summary(show="macs", line_length=90, print_fn=said.append)
    assert call("summary", "small.keras", "--show", "macs", "--line-length", "90").stdout == f"{said[0]}\n"


def test_exit_codes_tell_what_was_found(folder: Path) -> None:
    small().save("small.keras")
    flat = lamina.Sequential(
        [lamina.Input((4,)), layers.Dense(3, name="dense"), layers.BatchNormalization(name="norm")]
    )
    flat.save("flat.keras")
    assert call("check", "small.keras").exit_code == 0
    found = call("check", "flat.keras")
    assert (found.exit_code, "W401" in found.stdout) == (1, True)
    assert call("check", "flat.keras", "--ignore", "W401").exit_code == 0
    assert call("compare", "small.keras", "flat.keras").exit_code == 1
    assert call("compare", "small.keras", "small.keras", "--weights").exit_code == 0
    assert call("what-if", "small.keras", "20,20,3").exit_code == 0
    assert call("what-if", "small.keras", "1,1,3").exit_code == 1


def test_files_are_written(folder: Path) -> None:
    two_inputs().save("two.keras")
    assert call("plot", "two.keras", "-o", "two.svg", "--expand-nested").stdout == "two.svg\n"
    words = " ".join(ElementTree.parse("two.svg").getroot().itertext())
    assert "inner" in words
    assert "conv" in words
    assert call("explore", "two.keras", "-o", "two.html").stdout == "two.html\n"
    assert "two_inputs" in Path("two.html").read_text()


# ------------------------------------------------------------------------------------------------- which model is meant


def test_another_input_shape(folder: Path) -> None:
    model = small()
    model.save("small.keras")
    larger = data_of("explain", "small.keras", "--input-shape", "20,24,3")
    assert larger["layers"][1]["outputs"] == [[None, 20, 24, 4]]
    assert larger["parameters"] == model.count_params()
    grey = data_of("explain", "small.keras", "conv", "--input-shape", "(12, 12, 1)")
    assert grey["parameter_formula"] == "3·3·1·4 = 36"
    open_size = data_of("summary", "small.keras", "--input-shape", "none,none,3")
    assert open_size["layers"][1]["shapes"] == [[None, None, None, 4]]
    two_inputs().save("two.keras")
    for shapes in (["10,3", "10,3"], ["first=10,3", "second=10,3"]):
        options = [part for shape in shapes for part in ("--input-shape", shape)]
        assert data_of("explain", "two.keras", *options)["layers"][-1]["outputs"] == [[None, 5 * 8]]


def test_an_application_has_no_weights_and_takes_any_input() -> None:
    result = call("explain", "resnet50", "conv5_block3_out", "--input-shape", "10,10,3")
    assert result.exit_code == 0
    assert "(None, 1, 1, 2048)" in result.stdout
    assert result.stderr.startswith("lamina: warning: resnet50 takes images of 32×32 or more and got 10×10.")
    assert "Traceback" not in result.stderr


MODULE = """
import lamina
from lamina import layers
print("a word on the way")
model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="first")], name="mine")
number = 3
class Subclassed(lamina.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.dense = layers.Dense(2, name="dense")
    def call(self, x):
        return self.dense(x)
class Zoo:
    @staticmethod
    def make():
        return model
def needs(size):
    return model
def fails():
    return 1 / 0
def leaves():
    raise SystemExit(3)
def does_not_fit():
    return layers.Conv2D(2, 9)(lamina.Input((4, 4, 1)))
"""


@pytest.fixture
def mine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder / "mine.py").write_text(MODULE)
    (folder / "misspelt.py").write_text("model = (\n")
    (folder / "incomplete.py").write_text("import nowhere_installed\n")
    for name in ("mine", "misspelt", "incomplete"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def test_a_model_of_a_module(mine: Path) -> None:
    for name in ("mine:model", "mine:Zoo.make"):
        result = call("explain", name, "first")
        assert (result.exit_code, "4·3 + 3 = 15" in result.stdout) == (0, True), result.output
        assert "a word" not in result.stdout
    assert data_of("summary", "mine:model")["parameters"]["total"]["count"] == 15
    row = data_of("summary", "mine:Subclassed", "--input-shape", "5")["layers"][0]
    assert (row["shapes"], row["parameters"]) == ([[None, 2]], 12)
    del sys.modules["mine"]


def test_a_keras_script_is_a_module_too(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from keras import Input, Sequential, layers\nnet = Sequential([Input((4,)), layers.Dense(3)])\n"
    )
    done = subprocess.run([*COMMAND, "summary", "net:net"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert "15 (60.00 B)" in done.stdout, done.stderr


def test_older_h5_models_of_keras(keras, folder: Path) -> None:
    x = keras.Input((8, 8, 3))
    y = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="head")(keras.layers.Flatten()(y)))
    model.save("whole.h5")
    row = data_of("summary", "whole.h5")["layers"][1]
    assert (row["name"], row["shapes"], row["parameters"]) == ("conv", [[None, 6, 6, 4]], 112)
    assert data_of("compare", "whole.h5", "whole.h5", "--weights")["equal"] is True


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_every_mistake_has_its_words(mine: Path) -> None:
    small().save("small.keras")
    small().save_weights("small.weights.h5")
    Path("notes.txt").write_text("no model\n")
    Path("broken.keras").write_bytes(Path("small.keras").read_bytes()[:2000])
    Path("text.h5").write_text("no model\n")
    with zipfile.ZipFile("other.keras", "w") as archive:
        archive.writestr("readme", "no model")
    with zipfile.ZipFile("damaged.keras", "w") as archive:
        archive.writestr("config.json", "{")
        archive.writestr("model.weights.h5", "")
    with h5py.File("empty.h5", "w"):
        pass
    Path("folder.keras").mkdir()
    lines = []
    for arguments in MISTAKES:
        result = call(*arguments)
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        lines.append(f"$ lamina {' '.join(arguments)}    → {result.exit_code}\n{result.stderr.replace(str(mine), '')}")
        assert max(map(len, result.stderr.split("\n"))) <= 80
    check_golden("cli_mistakes", "\n".join(lines))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["explain", "DenseNet12"], 2, "no application. Did you mean 'DenseNet121'? The applications: ConvNeXtBase,"),
        (["explain", "unheard"], 2, "'unheard' is no file, no module:name and no application. The applications:"),
        (["explain", "ResNet55"], 2, "no application. Did you mean 'ResNet50'?"),
        (["check", "VGG16", "--ignore", "W99"], 1, "There is no finding 'W99'. The codes are D501,"),
        (["explain"], 2, "Missing argument 'MODEL'"),
        (["explain", "VGG16", "--jsn"], 2, "No such option: --jsn"),
        (["explian", "VGG16"], 2, "No such command 'explian'"),
        (["summary", "VGG16", "--batch-size", "0"], 2, "Invalid value for '--batch-size'"),
    ],
)
def test_other_mistakes(arguments: list[str], code: int, words: str) -> None:
    result = call(*arguments)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.split())


MISTAKES = [
    ["explain", "nowhere.keras"],
    ["explain", "smal.keras"],
    ["explain", "nowhere/model.keras"],
    ["explain", "small.weights.h5"],
    ["explain", "notes.txt"],
    ["explain", "broken.keras"],
    ["explain", "other.keras"],
    ["explain", "damaged.keras"],
    ["explain", "folder.keras"],
    ["explain", "text.h5"],
    ["explain", "empty.h5"],
    ["explain", "mine.py"],
    ["explain", "VGG16", "--input-shape", "10,10,3"],
    ["explain", "ResNet50", "--input-shape", "10x10"],
    ["explain", "ResNet50", "--input-shape", "0,10,3"],
    ["explain", "ResNet50", "--input-shape", "a=10,10,3"],
    ["explain", "small.keras", "--input-shape", "1,1,3"],
    ["explain", "small.keras", "--input-shape", "12,12"],
    ["explain", "small.keras", "cnv"],
    ["explain", "mine:modl"],
    ["explain", "mine:number"],
    ["explain", "mine:needs"],
    ["explain", "mine:fails"],
    ["explain", "mine:leaves"],
    ["explain", "mine:does_not_fit"],
    ["explain", "mine:Subclassed"],
    ["explain", "nowhere:model"],
    ["explain", "mine.py:model"],
    ["explain", "misspelt:model"],
    ["explain", "incomplete:model"],
    ["explain", ":model"],
    ["summary", "small.keras", "--show", "mac"],
    ["summary", "small.keras", "--layer-range", "add", "men"],
    ["what-if", "small.keras", "12,12,3", "12,12,3"],
    ["plot", "small.keras", "-o", "small.pdf"],
    ["plot", "small.keras", "-o", "nowhere/small.svg"],
    ["explore", "small.keras", "-o", "small.txt"],
]


def test_warnings_are_short(folder: Path) -> None:
    (folder / "warned.py").write_text(
        "import lamina\nfrom lamina import layers\n"
        "def make():\n"
        "    return lamina.Sequential([layers.Conv2D(2, 3, input_shape=(3, 64, 64)), layers.Flatten()])\n"
    )
    result = call("summary", "warned:make")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines
    assert lines[0].startswith("lamina: warning: ")
    assert not any("warned.py" in line or "ShapeWarning" in line for line in lines)
    del sys.modules["warned"]


def test_a_traceback_on_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_TRACEBACK", "1")
    Path("notes.txt").write_text("no model\n")
    assert isinstance(call("explain", "notes.txt").exception, LaminaError)


def test_an_output_that_cannot_say_everything(folder: Path) -> None:
    small().save("small.keras")
    done = in_a_process("explain", "small.keras", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_a_reader_that_has_seen_enough() -> None:
    with subprocess.Popen([*COMMAND, "explain", "VGG16"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_demo_as_data(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = data_of("demo", "--epochs", "1", "--folder", str(folder / "out"))
    assert measured["difference"] == 0
    assert 0.3 < measured["accuracy"] < 1
    assert (folder / "out" / "fashion.keras").is_file()


def test_the_page_on_a_finding() -> None:
    page = (Path(__file__).parent.parent / "docs" / "findings" / "W401.md").read_text()
    for code in ("W401", "bias-before-normalization"):
        shown = call("finding", code)
        assert (shown.exit_code, shown.stdout.strip()) == (0, page.strip())
    assert call("finding", "W4").exit_code == 1

"""Every shape error and shape warning: a program that provokes it, its six parts, and its text in a golden file.

`tests/golden/messages/<program>.txt` holds the texts; see `golden.py` for how to write them anew. A place in lamina's
sources that makes such a message and is reached by no program fails a test.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from golden import check_golden
from lamina import ShapeError, ShapeWarning
from lamina.base import errors
from lamina.models import Functional
from lamina.training.input_shapes import fits, remedy
from message_programs import FILES, PROGRAMS, net, write

SOURCES = Path(lamina.__file__).parent


def sites():
    """Every place that makes a shape message: file, first line, last line."""
    found = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("ShapeError", "warn_shape"):
                found.append((str(path), node.lineno, node.end_lineno))
    return found


@pytest.fixture(scope="module")
def reached():
    """The places whose message was made while this module's tests ran."""
    return set()


@pytest.fixture
def watched(reached, monkeypatch):
    """Notes the lines from which messages are made."""

    def noting(original):
        def make(self, headline, parts):
            frame = sys._getframe(2)
            for _ in range(2):
                reached.add((frame.f_code.co_filename, frame.f_lineno))
                frame = frame.f_back
            original(self, headline, parts)

        return make

    monkeypatch.setattr(errors._ShapeProblem, "_set_parts", noting(errors._ShapeProblem._set_parts))


def message(name, folder):
    """The error of a program, or the last of its warnings."""
    function = PROGRAMS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            function(*([folder] if function.__code__.co_argcount else []))
        except ShapeError as error:
            return error
    said = [one.message for one in caught if isinstance(one.message, ShapeWarning)]
    assert said, f"the program {name} met neither error nor warning"
    return said[-1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_message(name, watched, tmp_path):
    problem = message(name, tmp_path)
    empty = [part for part, text in problem.parts().items() if not text]
    assert not empty, f"{empty} of:\n{problem}"
    text = re.sub(r"\.py:\d+", ".py:…", str(problem))
    assert all(len(line) <= 100 for line in text.split("\n"))
    check_golden(f"messages/{name}", text)


def test_every_place_that_makes_a_message_is_reached(reached):
    if len(reached) < 2:
        pytest.skip("the programs ran in another process")
    missed = [
        f"{Path(file).relative_to(SOURCES)}:{first}"
        for file, first, last in sites()
        if not any(file == name and first <= line <= last for name, line in reached)
    ]
    assert missed == []


# What goes into the messages.


def test_a_long_table_keeps_its_first_and_last_rows():
    rows = tuple((f"layer_{index}", "Dense", f"(None, {index})") for index in range(500))
    lines = str(errors.SizeTable(rows)).split("\n")
    assert len(lines) == 12
    assert lines[3] == "… 489 more"
    assert lines[0].startswith("layer_0 ")
    assert lines[-1].startswith("layer_499 ")
    assert all(str(errors.SizeTable(rows[:12])).count(name) == 1 for name in ("layer_3 ", "layer_4 "))


def test_a_table_stands_only_where_it_says_something_new():
    image = lamina.Input((8, 8, 3))
    with pytest.raises(ShapeError) as first:
        lamina.layers.Conv2D(4, 9)(image)
    with pytest.raises(ShapeError) as second:
        lamina.layers.Conv2D(4, 9)(lamina.layers.ReLU()(image))
    assert first.value.table is None
    assert [row[1] for row in second.value.table.rows] == ["InputLayer", "ReLU"]


def test_only_the_layers_before_the_failure_are_in_the_table():
    image = lamina.Input((8, 8, 3), name="image")
    lamina.layers.Conv2D(4, 3, name="aside")(image)
    left = lamina.layers.Conv2D(4, 3, name="left")(image)
    with pytest.raises(ShapeError) as error:
        lamina.layers.Add()([left, lamina.layers.Conv2D(4, 5, name="right")(image)])
    assert [row[0] for row in error.value.table.rows] == ["image", "left", "right"]


def test_no_size_that_was_only_tried_stands_in_a_message():
    for name in ("inside_own_layer", "inside_own_layer_open", "own_layer", "own_layer_open", "ops_matmul"):
        text = str(message(name, None))
        assert not set(re.findall(r"\d+", text)) & {"6", "10", "384", "1280", "1152", "3840"}, text


def test_the_path_is_the_way_through_all_models():
    problem = message("nested_model_on_data", None)
    assert problem.path == "outer/inner/conv_3"
    assert problem.layer == "conv_3"
    assert message("conv_rank_eager", None).path == "conv"


def test_an_error_of_torch_in_a_layer_without_a_rule_is_kept_and_says_where():
    class Product(lamina.layers.Layer):
        def call(self, inputs):
            return inputs @ torch.zeros(4, 4)

    x = lamina.Input((4,))
    model = lamina.Model(x, Product(name="product")(x), name="net")
    for call in (Product(name="product"), model.get_layer("product")):
        with pytest.raises(RuntimeError, match="cannot be multiplied") as error:
            call(torch.zeros(2, 5))
        assert error.value.__notes__ == [
            "In the call of Product 'product' (product), which received (2, 5)  batch, features."
        ]


# Batches.

REMEDIES = [
    ((64, 64, 3), (None, 64, 64, 3)),
    ((28, 28), (None, 28, 28, 1)),
    ((8, 28, 28), (None, 28, 28, 3)),
    ((1, 8, 28, 28, 1), (None, 28, 28, 1)),
    ((8, 1, 28, 28, 2), (None, 28, 28, 2)),
    ((8, 3, 32, 32), (None, 32, 32, 3)),
    ((8, 32, 32, 3), (None, 3, 32, 32)),
    ((3, 32, 32), (None, 32, 32, 3)),
    ((32, 32, 3, 40), (None, 32, 32, 3)),
    ((4, 100), (None, 4)),
    ((8, 28, 28, 1), (None, 28, 28, 3)),
    ((8, 28, 28, 3), (None, 28, 28, 1)),
    ((8, 28, 28, 4), (None, 28, 28, 3)),
    ((8, 784), (None, 28, 28, 1)),
    ((8, 28, 28), (None, 784)),
    ((784,), (None, 28, 28, 1)),
    ((8, 32, 30, 1), (None, 28, 28, 1)),
]


@pytest.mark.parametrize(("shape", "wanted"), REMEDIES)
@pytest.mark.parametrize("make", [np.zeros, torch.zeros], ids=["numpy", "torch"])
def test_the_remedy_is_code_that_makes_the_batch_fit(shape, wanted, make):
    text = remedy(shape, wanted).partition(": ")[2].partition(", or build")[0]
    forms = text.removesuffix(" of a tensor").split(", or ")
    code = forms[-1] if make is torch.zeros else forms[0]
    names = {"x": make(shape), "np": np, "ops": lamina.ops}
    for step in code.split(", then "):
        names["x"] = eval(step, names)
    assert fits(tuple(names["x"].shape), wanted)


def digits(size=28):
    model = lamina.Sequential([lamina.Input((size, size, 1)), lamina.layers.Flatten(), lamina.layers.Dense(10)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_the_whole_data_is_looked_at_and_not_its_first_batch():
    for call in (digits(64).predict, lambda x, verbose: digits(64).fit(x, np.zeros(1), verbose=verbose)):
        with pytest.raises(ShapeError) as error:
            call(np.zeros((64, 64, 1)), verbose=0)
        assert error.value.received == "(64, 64, 1)"
        assert error.value.mend == "add the batch axis: x[None]"


def test_looking_at_the_data_uses_none_of_it_up():
    batches = iter([(np.ones((2, 28, 28, 1)), np.zeros(2))] * 3)
    model = digits()
    model.fit(batches, steps_per_epoch=3, verbose=0)
    assert next(batches, None) is None
    assert model.optimizer.iterations == 3


def test_a_step_of_ones_own_may_take_other_data():
    class Twice(Functional):
        def train_step(self, data):
            x, y = data
            return super().train_step((x[:, 0], y))

    x = lamina.Input((4,))
    model = Twice(x, lamina.layers.Dense(2)(x))
    model.compile("sgd", "mse")
    assert model.fit(np.ones((8, 2, 4)), np.zeros((8, 2)), verbose=0).history["loss"]
    with pytest.raises(ShapeError):
        model.evaluate(np.ones((8, 2, 4)), np.zeros((8, 2)), verbose=0)


def test_keras_refuses_the_same_batches(keras):
    shapes = [(64, 64, 1), (28, 28), (784,), (8, 784), (8, 1, 28, 28), (8, 28, 28, 3), (8, 28, 28), (8, 28, 28, 1)]
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    x = lamina.Input((28, 28, 1))
    ours = lamina.Model(x, lamina.layers.Flatten()(lamina.layers.Conv2D(2, 3)(x)))
    for shape in shapes:
        refused = []
        for predict, kinds in ((model.predict, (ValueError, RuntimeError)), (ours.predict, ShapeError)):
            try:
                predict(np.zeros(shape), verbose=0)
                refused.append(False)
            except kinds:
                refused.append(True)
        assert refused[0] == refused[1], shape


# Files.


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("other", "axis"), [({"units": 7}, "axis 1 (units)"), ({"channels": 1}, "axis 2 ")])
def test_a_file_that_does_not_fit_changes_nothing(file, other, axis, tmp_path):
    write(net(), tmp_path / file)
    model = net(**other)
    before = model.get_weights()
    with pytest.raises(ShapeError) as error:
        model.load_weights(tmp_path / file)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert all(error.value.parts().values())
    wrong = "head" if "units" in other else "conv"
    assert error.value.layer == wrong
    assert error.value.path == f"net/{wrong}/kernel"
    assert error.value.because.startswith(axis)
    assert ("adapt_channels" in error.value.mend) == (wrong == "conv")

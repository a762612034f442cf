"""What the README shows is what lamina prints."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path

import pytest

import lamina

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
OUTPUTS = [text for language, text in BLOCKS if not language]


def words(text):
    """The text without its line breaks and indentation, which the README may set otherwise."""
    return " ".join(text.split())


def test_the_first_program_prints_what_stands_below_it():
    program = next(text for language, text in BLOCKS if language == "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "README.md", "exec"), {})
    assert printed.getvalue().strip() == OUTPUTS[0].strip()


def cut():
    base = lamina.applications.ResNet50(include_top=False, weights=None, input_shape=(100, 100, 3), pooling="max")
    return lamina.Model(base.input, [layer.output for layer in base.layers[:15]], name="features")


def declared():
    dense = lamina.layers.Dense
    return lamina.Sequential([dense(32, input_shape=(4,)), dense(16, input_shape=(44,))])


def image():
    return lamina.layers.Conv2D(10, 8, padding="same")(lamina.Input((1, 32, 32)))


def small():
    return lamina.applications.ResNet50(include_top=False, weights=None, input_shape=(10, 10, 3))


QUOTED = [(cut, "ends inside"), (declared, "declares"), (image, "reads its input")]


@pytest.mark.parametrize(("program", "start"), QUOTED)
def test_warnings_are_quoted_word_for_word(program, start):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program()
    said = [w.message for w in caught if issubclass(w.category, lamina.ShapeWarning)]
    quoted = next(text for text in OUTPUTS if start in text)
    assert [f"ShapeWarning: {words(str(message))}" for message in said] == [words(quoted)]


def test_the_refused_image_is_quoted_word_for_word():
    with pytest.raises(lamina.ShapeError) as error:
        small()
    assert f"ShapeError: {words(str(error.value))}" in [words(text) for text in OUTPUTS]


def test_the_parameter_formulas_are_quoted_word_for_word():
    with lamina.device("meta"):
        base = lamina.applications.DenseNet121(
            include_top=False, weights=None, input_shape=(512, 512, 1), pooling="avg", name="densenet121"
        )
        model = lamina.Sequential([base, lamina.layers.Dense(2)])
    quoted = words(next(text for text in OUTPUTS if "7,033,282" in text))
    for part in (model.explain().conclusion, base.explain("conv1_conv"), base.explain("avg_pool")):
        assert words(str(part)) in quoted
    assert 7 * 7 * 3 * 64 - 7 * 7 * 1 * 64 == 6272

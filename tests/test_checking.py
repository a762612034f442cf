"""`model.check()`: every code is provoked, described and held against what really happens; nothing else is reported."""

from __future__ import annotations

import itertools
import json
import re
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from finding_programs import GUILTY, INNOCENT, busy_layers, too_many_strides
from golden import check_golden
from lamina import applications, layers
from lamina.base.errors import ShapeError, ShapeWarning
from lamina.explain.checking import CHECKS
from lamina.explain.checking.subject import View
from lamina.explain.checking.windows import slidings

PAGES = Path(__file__).parents[1] / "docs" / "findings"
CODES = sorted(CHECKS)


def run(program):
    """What a program's model and its sample are found to be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeWarning)
        made = program()
    model, sample = made if isinstance(made, tuple) else (made, None)
    return model, sample, model.check(sample=sample)


def all_programs(table):
    return [pytest.param(code, program, id=f"{code}-{program.__name__}") for code in table for program in table[code]]


# Every code.


def test_every_code_has_programs():
    assert sorted(GUILTY) == CODES
    assert sorted(INNOCENT) == CODES


@pytest.mark.parametrize(("code", "program"), all_programs(GUILTY))
def test_a_code_is_found_and_can_be_ignored(code, program):
    model, sample, found = run(program)
    assert found.codes == (code,)
    assert {finding.name for finding in found} == {CHECKS[code].name}
    assert not model.check(ignore=[code], sample=sample)
    assert not model.check(ignore=CHECKS[code].name, sample=sample)
    check_golden(f"checking/{code}_{program.__name__}", str(found))


@pytest.mark.parametrize(("code", "program"), all_programs(INNOCENT))
def test_a_like_program_is_all_right(code, program):
    _, _, found = run(program)
    assert not found, str(found)


def test_every_code_has_a_page_with_its_message():
    assert sorted(path.stem for path in PAGES.glob("*.md")) == [*CODES, "index"]
    for code, check in CHECKS.items():
        page = (PAGES / f"{code}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {code} {check.name}\n"), code
        shown = re.search(rf"^```\n(.*?^{code} {check.name}.*?)^```$", page, re.DOTALL | re.MULTILINE)
        assert shown, f"{code}.md does not show the message"
        assert "## To mend" in page, code
        assert "## Why" in page, code


def test_the_index_lists_every_code():
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    rows = [f"| [{code}]({code}.md) | {CHECKS[code].name} | {CHECKS[code].summary} |" for code in CODES]
    assert [line for line in index.splitlines() if line.startswith("| [")] == rows


# The report.


def test_the_report_as_text_page_and_data():
    _, _, found = run(GUILTY["S106"][0])
    assert len(found) == 1
    assert bool(found)
    assert found.findings[0].layer == "pool_2"
    assert json.loads(json.dumps(found.to_dict()))["findings"][0]["code"] == "S106"
    assert "S106 positions-dropped  pool_2" in found._repr_html_()
    assert not lamina.Sequential([lamina.Input((3,)), layers.Dense(2)]).check()


@pytest.mark.parametrize(("code", "program"), all_programs(GUILTY))
def test_no_line_is_longer_than_a_terminal(code, program):
    assert max(map(len, str(run(program)[2]).splitlines())) <= 80


def test_what_is_said_of_many_layers_is_said_once():
    convolutions = [(layers.Conv2D(4, 3, name=f"conv_{n}"), layers.BatchNormalization()) for n in range(6)]
    model = lamina.Sequential([lamina.Input((32, 32, 3)), *itertools.chain(*convolutions)], name="deep")
    found = model.check()
    assert [finding.layer for finding in found] == [f"conv_{n}" for n in range(6)]
    check_golden("checking/many", str(found))


def test_a_place_in_a_nested_model_is_a_path():
    inner = lamina.Sequential(
        [lamina.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization()], name="inner"
    )
    x = lamina.Input((8, 8, 3))
    outer = lamina.Model(x, inner(x), name="middle")
    model = lamina.Sequential([lamina.Input((8, 8, 3)), outer])
    assert [finding.layer for finding in model.check()] == ["middle/inner/conv"]


def test_a_model_that_is_no_graph_says_what_was_not_seen():
    _, _, found = run(busy_layers)
    assert "subclassed model" in found.unseen
    assert "subclassed model" in str(found)
    unbuilt = lamina.Sequential([layers.Dense(2)], name="later").check()
    check_golden("checking/unbuilt", str(unbuilt))


def test_several_codes_can_be_ignored():
    model = too_many_strides()
    model.compile("sgd", "mse")
    assert model.check(ignore=("nothing-left-to-down-sample", "s104")).codes == ()


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        (["W4011"], "There is no finding 'W4011'. Did you mean 'W401'?"),
        ("bias-before-normalisation", "Did you mean 'bias-before-normalization'?"),
        ([7], "There is no finding 7. The codes are D501, G201"),
    ],
)
def test_an_unknown_code_to_ignore(ignore, message):
    model = lamina.Sequential([lamina.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match=re.escape(message)):
        model.check(ignore=ignore)


def test_a_sample_that_the_model_cannot_take_is_the_models_own_error():
    model = lamina.Sequential([lamina.Input((28, 28, 1)), layers.Conv2D(2, 3)])
    with pytest.raises(ShapeError, match="cannot take this shape"):
        model.check(sample=np.zeros((4, 30, 28, 1)))
    assert not model.check(sample=np.zeros((4, 28, 28)))  # the missing last axis of 1 is mended, as in predict


# What is said is true: held against gradients, losses and training.


def window_cases():
    for size, kernel, stride, padding in itertools.product((1, 4, 7, 8), (1, 2, 3, 5), (1, 2, 3), ("valid", "same")):
        for dilation, zeros in (((1, 0),) if stride > 1 else ((1, 0), (2, 0))) + ((1, 2),):
            if padding == "same" or dilation * (kernel - 1) < size + 2 * zeros:
                yield size, kernel, stride, padding, dilation, zeros


def test_what_windows_do_not_read_has_no_gradient():
    cases = list(window_cases())
    for size, kernel, stride, padding, dilation, zeros in cases:
        parts = [layers.ZeroPadding1D(zeros)] if zeros else []
        conv = layers.Conv1D(1, kernel, strides=stride, padding=padding, dilation_rate=dilation, use_bias=False)
        model = lamina.Sequential([lamina.Input((size, 1)), *parts, conv])
        x = torch.ones(1, size, 1, requires_grad=True)
        conv.kernel.assign(torch.ones(kernel, 1, 1))
        model(x).sum().backward()
        view = View(model)
        (sliding,) = slidings(view, view.nodes[-1])
        unread = len(list(itertools.takewhile(lambda gradient: gradient == 0, reversed(x.grad.flatten().tolist()))))
        if dilation == 1:  # a dilated window also leaves holes
            gap = max(stride - kernel, 0)
            assert sliding.dropped == max(unread - gap, 0), (size, kernel, stride, padding, zeros)
        assert sliding.used == torch.count_nonzero(conv.kernel.grad), (size, kernel, stride, padding, dilation, zeros)
        if sliding.dropped:
            longer = View(lamina.Sequential([lamina.Input((size + sliding.missing, 1)), *renewed(parts), like(conv)]))
            assert slidings(longer, longer.nodes[-1])[0].dropped == 0
    assert len(cases) > 100


def renewed(parts):
    return [like(part) for part in parts]


def like(layer):
    return type(layer).from_config({**layer.get_config(), "name": None})


def test_the_number_of_idle_weights():
    model, _, found = run(GUILTY["S104"][0])
    model(torch.rand(2, 4, 4, 3)).sum().backward()
    idle = (model.layers[0].kernel.grad[:, :, 0, 0] == 0).sum()
    assert f"{idle} of its 121 places" in found.findings[0].what


def suggested_input(found):
    """The size that a finding suggests."""
    return int(re.search(r"input .*?of (\d+)", found.findings[0].mend).group(1))


@pytest.mark.parametrize("size", [100, 331, 225])
def test_the_suggested_size_leaves_nothing_unread(size):
    def pool2(size):
        with lamina.device("meta"):
            shape = (size, size, 3)
            model = applications.DenseNet121(weights=None, include_top=False, input_shape=shape)
        return [finding for finding in model.check() if finding.layer == "pool2_pool"]

    found = pool2(size)
    assert found
    better = int(re.search(r"of (\d+) in place", found[0].mend).group(1))
    assert size < better <= size + 32
    assert pool2(better) == []


def test_the_suggested_size_leaves_something_to_down_sample():
    def model(size):
        down = [layers.Conv2D(4, 3, strides=2, padding="same") for _ in range(4)]
        return lamina.Sequential([lamina.Input((size, size, 3)), *down])

    assert model(8).check(ignore="S104").codes == ("S105",)
    better = suggested_input(model(8).check(ignore="S104"))
    assert model(better).check(ignore="S104").codes == ()


def test_the_bias_before_normalization_has_no_gradient():
    model, _, _ = run(GUILTY["W401"][0])
    conv = model.get_layer("conv")
    outputs = model(torch.rand(4, 8, 8, 3), training=True)
    (outputs * torch.rand(outputs.shape)).sum().backward()
    assert conv.bias.grad.abs().max() < 1e-4 * conv.kernel.grad.abs().max()


@pytest.mark.parametrize("program", GUILTY["T301"])
def test_the_least_loss_of_a_second_activation(program):
    model, _, found = run(program)
    stated = float(re.search(r"costs ([\d.]+)", found.findings[0].why).group(1))
    units = model.output_shape[-1]
    perfect = torch.eye(units)[:1] if units > 1 else torch.ones(1, 1)
    target = torch.tensor([0]) if units > 1 else torch.ones(1, 1)
    assert abs(float(model.loss(target, perfect)) - stated) < 0.005


@pytest.mark.parametrize(
    ("freeze", "moves"),
    [
        ("weights", True),
        ("layer", False),
        ("model", False),
    ],
)
def test_frozen_normalization_in_lamina_and_in_keras(keras, freeze, moves):
    """Freezing the layer, or a model around it, freezes the statistics; freezing its weights does not. As in Keras."""
    for library in (lamina, keras):
        model = library.Sequential(
            [library.Input((4,)), library.layers.BatchNormalization(name="norm"), library.layers.Dense(1)]
        )
        norm = model.get_layer("norm")
        if freeze == "weights":
            for weight in norm.trainable_weights:
                weight.trainable = False
        else:
            (norm if freeze == "layer" else model).trainable = False
        if library is lamina:
            assert model.check().codes == (("T309",) if moves else ())
        model.compile("sgd", "mse")
        before = [np.array(value) for value in norm.get_weights()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a model without trainable weights
            model.fit(np.random.rand(16, 4) + 5, np.random.rand(16, 1), epochs=1, verbose=0)
        same = [np.allclose(one, other) for one, other in zip(before, norm.get_weights(), strict=True)]
        assert all(same) is not moves, (library.__name__, freeze)


@pytest.mark.parametrize("code", ["T303", "T304", "T307"])
def test_targets_that_do_not_fit_fail_in_fit_too(code):
    for program in GUILTY[code]:
        model, (x, y), _ = run(program)
        with pytest.raises(ShapeError):
            model.fit(x, y, verbose=0)


def test_several_outputs_are_looked_at_one_by_one():
    x = lamina.Input((8,))
    outputs = {"age": layers.Dense(1)(x), "kind": layers.Dense(3, activation="softmax", name="softly")(x)}
    model = lamina.Model(x, outputs)
    loss = lamina.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", {"age": "mse", "kind": loss})
    sample = (np.ones((4, 8)), {"age": np.ones((4, 1)), "kind": np.array([1, 2, 3, 3])})
    assert model.check(sample=sample).codes == ("T301", "T308")
    assert {finding.layer for finding in model.check(sample=sample)} == {"softly"}


def test_checking_changes_nothing():
    model, _, _ = run(GUILTY["T303"][0])
    assert model._compiled_loss._losses is None  # not built by the check: "crossentropy" waits for the data
    assert [len(layer._inbound_nodes) for layer in model.layers] == [1]


# The application models: what is true of them, and nothing else.

RESNETS = {"ResNet50": 53, "ResNet101": 104, "ResNet152": 155}
STOCK = [*RESNETS, "DenseNet121", "DenseNet169", "DenseNet201", "VGG16", "VGG19"]


def expected(name, size, top):
    """The true findings of a stock model, by code: how many.

    W401: ResNet v1 has a bias in every convolution and a BatchNormalization behind each; the published weights hold
    them. W402: the first Dense of VGG's top, fc1, from some size on. S104: 3×3 convolutions on maps of 2×2 or 1×1.
    S106: poolings of 2 on maps of odd size.
    """
    found = Counter()
    if name in RESNETS:
        found["W401"] = RESNETS[name]
    if name.startswith("VGG") and top and size == 224:
        found["W402"] = 1
    blocks = {"ResNet50": (6, 3), "ResNet101": (23, 3), "ResNet152": (36, 3)}
    blocks |= {"DenseNet121": (24, 16), "DenseNet169": (32, 32), "DenseNet201": (48, 32)}
    blocks |= {"VGG16": (0, 3), "VGG19": (0, 4)}
    fourth, fifth = blocks[name]
    if size == 64 and not name.startswith("VGG"):  # VGG halves before its fifth stage no more than four times
        found["S104"] = fifth
    if size == 32:
        found["S104"] = fourth + fifth
    if size == 100:
        found["S106"] = 1 if not name.startswith("ResNet") else 0
    return {code: count for code, count in found.items() if count}


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize(
    ("size", "top"), [(224, True), (None, False), (224, False), (64, True), (32, False), (100, False)]
)
def test_nothing_is_found_in_a_stock_model_but_what_is_true(name, size, top):
    with lamina.device("meta"):
        shape = {} if size is None else {"input_shape": (size, size, 3)}
        model = getattr(applications, name)(weights=None, include_top=top, **shape)
    assert Counter(finding.code for finding in model.check()) == expected(name, size, top)
    if top:
        model.compile("sgd", "categorical_crossentropy")
        assert Counter(finding.code for finding in model.check()) == expected(name, size, top)


# Of each other family one; the smallest size that it is made for.
OTHERS = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
OTHERS |= dict.fromkeys(["ConvNeXtTiny", "EfficientNetB0", "EfficientNetV2B0", "NASNetMobile", "ResNet50V2"], 32)
OTHERS |= dict.fromkeys(["MobileNet", "MobileNetV2", "MobileNetV3Small"], 32)


def producer(tensor):
    return tensor._keras_history.operation if tensor._keras_history else None


def looked_at_by_hand(model):
    """S104 and S106 of all windows, from kernels, strides, zeros and sizes: how many of each."""
    found, dropping, read_to_the_end = Counter(), [], set()
    for layer in model.layers:
        if isinstance(layer, lamina.Model):
            found += looked_at_by_hand(layer)
            continue
        tensor = layer.input
        window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        if window is None:
            if not isinstance(layer, layers.ZeroPadding2D):
                read_to_the_end |= {id(one) for one in (tensor if isinstance(tensor, list) else [tensor])}
            continue
        zeros = [(0, 0), (0, 0)]
        if isinstance(producer(tensor), layers.ZeroPadding2D):
            zeros, tensor = producer(tensor).padding, producer(tensor).input
        sizes, dropped = tensor.shape[1:3], False
        axes = zip(sizes, layer.output.shape[1:3], window, layer.strides, zeros, strict=True)
        for size, positions, kernel, stride, (before, _) in axes:
            if layer.padding == "same":
                before = max((positions - 1) * stride + kernel - size, 0) // 2
            dropped |= (positions - 1) * stride - before + max(kernel, stride) < size
        larger = any(kernel > size for kernel, size in zip(window, sizes, strict=True))
        found["S104"] += larger and not (set(sizes) == {1} and max(layer.strides) > 1)  # that would be S105
        if dropped:
            dropping.append(id(tensor))
        else:
            read_to_the_end.add(id(tensor))
    found["S106"] += sum(tensor not in read_to_the_end for tensor in dropping)
    return +found


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("size", "top"), [(224, True), (96, True), (None, False), (100, False)])
def test_nothing_is_found_in_other_families_but_what_is_true(name, size, top):
    size = OTHERS[name] if size is None else size
    with lamina.device("meta"):
        model = getattr(applications, name)(weights=None, include_top=top, input_shape=(size, size, 3))
    assert Counter(finding.code for finding in model.check()) == looked_at_by_hand(model)


def test_what_is_true_of_the_stock_models_as_printed():
    with lamina.device("meta"):
        check_golden("checking/resnet50", str(applications.ResNet50(weights=None).check()))
        check_golden("checking/vgg16", str(applications.VGG16(weights=None).check()))
        small = applications.ResNet50(weights=None, include_top=False, input_shape=(10, 10, 3), min_size=None)
        check_golden("checking/resnet50_of_10", str(small.check(ignore="W401")))
        lamina.config.set_image_data_format("channels_first")
        swapped = applications.ResNet50(weights=None, include_top=False, input_shape=(224, 224, 3), min_size=None)
        assert swapped.check(ignore=["S104", "S105", "W401"]).codes == ("S102",)


def test_transfer_to_new_classes_on_a_frozen_base():
    with lamina.device("meta"):
        base = applications.DenseNet121(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
        base.trainable = False
        x = lamina.Input((224, 224, 3))
        model = lamina.Model(x, layers.Dense(2, activation="softmax")(base(x, training=False)))
    model.compile("adam", "categorical_crossentropy")
    assert not model.check()
    assert not base.check()


def test_resnet50_is_checked_in_time():
    with lamina.device("meta"):
        model = applications.ResNet50(weights=None)
    model.compile("adam", "categorical_crossentropy")
    model.check()
    start = time.perf_counter()
    assert len(model.check()) == 53
    assert time.perf_counter() - start < 0.5

"""The page of `model.explore()`: its sizes against models that are really built, and its use in a real Chromium."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import shutil
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina import layers
from lamina.base import names
from lamina.base.errors import LaminaError, ShapeError
from lamina.explain.calls import Call
from lamina.explain.exploring import explore_model, page
from lamina.explain.exploring.page_data import page_data
from lamina.explain.exploring.rules import RuleReader, _Call
from lamina.explain.exploring.tracing import Failure, PlainRun, Result, Unknown, follow, program_of, value_in
from lamina.explain.quantities import products_of

# Programs: what Python writes of a rule, held against the rule itself.


def image_layers():
    return [
        layers.Conv2D(8, (3, 5), strides=(2, 1), dilation_rate=1, name="valid"),
        layers.Conv2D(8, 3, strides=2, padding="same", groups=2),
        layers.Conv2D(8, 3, dilation_rate=2, data_format="channels_first"),
        layers.SeparableConv2D(6, 3, depth_multiplier=2),
        layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same"),
        layers.Conv2DTranspose(5, 3, strides=2, padding="same"),
        layers.Conv2DTranspose(5, 4, strides=3, output_padding=1),
        layers.MaxPooling2D(3, strides=2),
        layers.AveragePooling2D(2, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.GlobalMaxPooling2D(keepdims=True),
        layers.ZeroPadding2D(((1, 2), (3, 0))),
        layers.Cropping2D(((1, 2), (3, 0))),
        layers.UpSampling2D((2, 3)),
        layers.BatchNormalization(),
        layers.LayerNormalization(axis=(1, 2)),
        layers.GroupNormalization(2),
        layers.Flatten(),
        layers.Reshape((-1, 4)),
        layers.Reshape((48, 32)),
        layers.Permute((3, 1, 2)),
        layers.Dense(7),
        layers.EinsumDense("abcd,de->abce", (None, None, 5), bias_axes="e"),
        layers.Dropout(0.5),
        layers.SpatialDropout2D(0.5),
        layers.PReLU(),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Softmax(),
        layers.Resizing(9, 9),
        layers.CenterCrop(4, 4),
        layers.Activation("relu"),
    ]


def end_of(call, sizes):
    """What the rule itself says: sizes, weights and products, or the error's headline."""
    try:
        result = call(PlainRun(sizes))
    except ValueError as error:
        return getattr(error, "headline", str(error))
    outputs = [[axis.size for axis in axes] for axes in result.outputs]
    return outputs, [weight.sizes for weight in result.weights], result.multiply_accumulates


def followed(program, sizes, name):
    """The same from the program."""
    end = follow(program, sizes)
    if isinstance(end, Failure):
        numbers = (
            part if isinstance(part, str) else format(value_in(part[0], sizes), "," if part[1] else "")
            for part in end.headline
        )
        return "".join(numbers).replace("\ue002", repr(name))
    assert isinstance(end, Result), end
    value = end.value
    outputs = [[value_in(axis.size, sizes) for axis in axes] for axes in value.outputs]
    weights = [tuple(value_in(size, sizes) for size in weight.sizes) for weight in value.weights]
    return outputs, weights, value_in(value.multiply_accumulates, sizes)


def in_graph(layer, *shapes):
    with lamina.device("meta"):
        inputs = [lamina.Input(shape) for shape in shapes]
        layer(inputs[0] if len(inputs) == 1 else inputs)
    return layer._inbound_nodes[0]


@functools.cache
def read_image_layer(number):
    node = in_graph(image_layers()[number], (12, 16, 8))
    return node, RuleReader().program(node)


@pytest.mark.parametrize("number", range(len(image_layers())))
@settings(max_examples=25, deadline=None, database=None)
@given(sizes=st.tuples(*[st.integers(1, 14)] * 3))
def test_a_program_says_what_the_rule_says(number, sizes):
    node, program = read_image_layer(number)
    assert followed(program, [[None, *sizes]], node.operation.name) == end_of(_Call(node), [[None, *sizes]])


@pytest.mark.parametrize("make", [layers.Add, layers.Concatenate, lambda: layers.Concatenate(1), lambda: layers.Dot(2)])
@settings(max_examples=60, deadline=None, database=None)
@given(one=st.tuples(*[st.integers(1, 3)] * 2), other=st.tuples(*[st.integers(1, 3)] * 2))
def test_the_program_of_a_merge_says_where_inputs_do_not_meet(make, one, other):
    layer = make()
    node = in_graph(layer, (4, 4), (4, 4))
    sizes = [[None, *one], [None, *other]]
    assert followed(RuleReader().program(node), sizes, layer.name) == end_of(_Call(node), sizes)


def test_a_rule_that_cannot_be_followed_is_not_guessed():
    def halved(run):
        return round(run.size(10, 0, 1) / 2)

    def looked_up(run):
        return {10: 5}[run.size(10, 0, 1)]

    assert program_of(halved, "x") == Unknown()
    assert program_of(looked_up, "x") == Unknown()

    class Ranged(layers.Layer):
        def call(self, x):
            return x[:, : len(range(x.shape[1]))]

        def compute_output_shape(self, input_shape):
            return (input_shape[0], len(range(input_shape[1])))  # leaves no trace

    assert RuleReader().program(in_graph(Ranged(), (10,))) is None


def test_a_users_own_rule_is_followed():
    class Halved(layers.Layer):
        def call(self, x):
            return x[:, : max(x.shape[1] // 2, 3)]

        def compute_output_shape(self, input_shape):
            return (input_shape[0], max(input_shape[1] // 2, 3))

    node = in_graph(Halved(), (10,))
    program = RuleReader().program(node)
    for size, expected in ((100, 50), (10, 5), (7, 3), (1, 3)):
        assert followed(program, [[None, size]], "halved")[0] == [[None, expected]]


def test_layers_that_differ_in_their_names_share_a_program():
    with lamina.device("meta"):
        data = page_data(lamina.applications.ResNet50(weights=None))
    used = [node["program"] for node in data["nodes"]]
    assert len(data["programs"]) < 60 < len(used)
    assert used.count(None) == 1  # the input


def test_blocks_are_groups_and_blocks_of_a_stage_a_group():
    with lamina.device("meta"):
        data = page_data(lamina.applications.ResNet50(weights=None))
    names = {group["id"]: group["name"] for group in data["groups"]}
    around = {group["name"]: names.get(group["group"]) for group in data["groups"]}
    assert around["conv3_block4"] == "conv3"
    assert around["conv3"] is None
    (node,) = [node for node in data["nodes"] if node["name"] == "conv3_block4_2_conv"]
    assert names[node["group"]] == "conv3_block4"


def test_only_a_graph_can_be_explored(tmp_path):
    with pytest.raises(LaminaError, match="no graph to explore"):
        explore_model(lamina.Sequential([layers.Dense(3)]), tmp_path / "model.html")
    with pytest.raises(LaminaError, match=r"writes an \.html file; got 'model\.svg'"):
        explore_model(lamina.Sequential([lamina.Input((4,)), layers.Dense(3)]), "model.svg")


def test_the_page_needs_no_network_and_escapes_its_data():
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3)], name="</script><b>&x")
    text = page(model)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "{{" not in text
    assert "default-src 'none'" in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1)
    assert json.loads(data)["model"]["name"] == "</script><b>&x"
    assert "<title>&lt;/script&gt;&lt;b&gt;&amp;x · lamina</title>" in text


# In a browser.


def find_chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("LAMINA_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser():
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: neither chromium, chromium-browser nor google-chrome, and LAMINA_CHROMIUM is not set")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Opens the page of a model; a message on the console or a request fails the test."""
    contexts, complaints = [], []

    def open_page(model, width=1280, height=820, scheme="light"):
        path = explore_model(model, tmp_path / f"{len(contexts)}.html")
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        opened = context.new_page()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on(
            "request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url)
        )
        opened.on("dialog", lambda dialog: complaints.append(dialog.message))
        opened.goto(path.as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def resnet():
    names.reset_names()
    with lamina.device("meta"):
        return lamina.applications.ResNet50(weights=None)


class Doubled(layers.Layer):
    """A layer without a rule and without weights."""

    def call(self, x):
        return x * 2


def everything(height, width, channels, steps=12):
    """A small model with layers of all kinds, two inputs, a nested model called twice and a shared layer."""
    names.reset_names()
    image = lamina.Input((height, width, channels), name="image")
    words = lamina.Input((steps,), dtype="int32", name="words")
    x = layers.ZeroPadding2D(1, name="pad")(image)
    x = layers.Conv2D(8, 3, strides=2, name="stem")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    branch = layers.SeparableConv2D(8, 3, padding="same", name="separable")(x)
    x = layers.Add(name="residual")([x, branch])
    squeezed = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    x = layers.Multiply(name="excite")([x, layers.Dense(8, activation="sigmoid", name="gate")(squeezed)])
    shrink = lamina.Sequential(
        [lamina.Input((None, None, 8)), layers.DepthwiseConv2D(3, name="depthwise"), layers.ReLU(name="act")],
        name="shrink",
    )
    x = shrink(shrink(x))
    x = layers.Concatenate(name="joined")([x, layers.Conv2D(4, 1, name="side")(x)])
    up = layers.Conv2DTranspose(6, 3, strides=2, padding="same", name="up")(x)
    up = layers.Cropping2D(1, name="crop")(up)
    up = layers.MaxPooling2D(2, name="pool")(layers.LayerNormalization(name="norm")(up)) * 2.0 + 1.0
    flat = layers.Dense(5, name="head")(layers.Flatten(name="flat")(up))
    embedded = layers.Embedding(100, 6, name="embedding")(words)
    shared = layers.Conv1D(6, 3, padding="causal", name="shared")
    text = layers.GlobalMaxPooling1D(name="longest")(shared(shared(embedded)))
    text = layers.Dense(5, name="text_head")(Doubled(name="doubled")(text))
    return lamina.Model([image, words], layers.Average(name="both")([flat, text]), name="everything")


def sizes_in(opened, shapes):
    """What the page says of every call, by its name: outputs and parameters; and the totals."""
    return opened.evaluate(
        """(shapes) => {
          const { calls, totals } = window.lamina.evaluate(shapes);
          const named = calls.map((call, number) => [window.lamina.data.nodes[number].name, call]);
          return { calls: Object.fromEntries(named), totals };
        }""",
        shapes,
    )


def compare(found, model):
    for node in model.graph.topology.nodes:
        if getattr(node.operation, "graph", None) is None:
            call = found["calls"][node.operation.name]
            assert [tuple(shape) for shape in call["outputs"]] == [t.shape for t in node.output_tensors], call
    for layer in model.layers:
        if layer.name in found["calls"] and layer.weights:
            assert found["calls"][layer.name]["parameters"] == layer.count_params()
    assert found["totals"]["parameters"] == model.count_params()


def costs_of(graph, shapes=None):
    """Bytes of the outputs of all calls but inputs, and their multiply-accumulates; of a nested model, those of its
    inner calls, rebuilt on the shapes that it is given."""
    if shapes is not None:
        with lamina.device("meta"):
            graph = lamina.models.clone_model(
                lamina.Model(graph.input_structure, graph.output_structure),
                input_tensors=[lamina.Input(batch_shape=shape) for shape in shapes],
            ).graph
    memory = work = 0
    for node in graph.topology.nodes:
        if getattr(node.operation, "graph", None) is not None:
            inner = costs_of(node.operation.graph, [tensor.shape for tensor in node.input_tensors])
            memory, work = memory + inner[0], work + inner[1]
        elif not node.is_input:
            memory += sum(math.prod(tensor.shape[1:]) * 4 for tensor in node.output_tensors)
            work += products_of(Call.of(node))
    return memory, work


@pytest.mark.parametrize(
    ("build", "sizes"),
    [
        ("ResNet50", [(224, 224, 3), (333, 97, 1), (1, 1, 4)]),
        ("DenseNet121", [(29, 300, 3), (512, 101, 1)]),
    ],
)
def test_sizes_in_the_page_are_those_of_the_model_built_on_them(visit, build, sizes):
    def make(shape):
        names.reset_names()
        with lamina.device("meta"):
            application = getattr(lamina.applications, build)
            return application(weights=None, include_top=False, pooling="avg", input_shape=shape, min_size=None)

    opened = visit(make((224, 224, 3)))
    for shape in sizes:
        model = make(shape)
        found = sizes_in(opened, [[None, *shape]])
        compare(found, model)
        explained = model.explain()
        assert found["totals"]["work"] == explained.multiply_accumulates
        assert found["totals"]["memory"] == explained.activation_bytes


def test_sizes_of_layers_of_all_kinds(visit):
    opened = visit(everything(32, 40, 3))
    for shape in ((32, 40, 3), (47, 18, 1), (64, 64, 2)):
        model = everything(*shape)
        found = sizes_in(opened, [[None, *shape], [None, 12]])
        compare(found, model)
        inner = model.get_layer("shrink")
        assert found["calls"]["depthwise"]["parameters"] == inner.count_params()
        assert (found["totals"]["memory"], found["totals"]["work"]) == costs_of(model.graph)
    longer = sizes_in(opened, [[None, 32, 40, 3], [None, 99]])
    assert longer["calls"]["shared"]["outputs"] == [[None, 99, 6]]
    assert longer["calls"]["doubled"]["state"] == "fine"  # what reaches it does not depend on the size


@pytest.mark.parametrize("shape", [(6, 40, 3), (32, 7, 3), (8, 8, 3)])
def test_a_size_that_fails_fails_in_the_page_at_the_same_layer_with_the_same_words(visit, shape):
    with pytest.raises(ShapeError) as caught:
        everything(*shape)
    opened = visit(everything(32, 40, 3))
    calls = opened.evaluate("(shapes) => window.lamina.evaluate(shapes).calls", [[None, *shape], [None, 12]])
    failing = [call for call in calls if call["state"] == "fails"]
    assert [call["failure"]["what"] for call in failing] == [caught.value.headline]
    assert failing[0]["failure"]["why"] == caught.value.because
    assert calls[-1]["state"] == "behind"


def test_behind_a_layer_without_a_rule_sizes_are_not_guessed(visit):
    x = lamina.Input((16, 16, 3))
    y = layers.Conv2D(4, 3, name="conv")(x)
    y = Doubled(name="doubled")(y)
    model = lamina.Model(x, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="mean")(y)))
    opened = visit(model)
    opened.get_by_label("height of").fill("20")
    opened.get_by_label("height of").press("Enter")
    assert opened.locator("#notice").inner_text().startswith("Behind 'doubled' sizes are not known")
    assert box(opened, "conv").locator(".size").text_content() == "18 × 14 × 4"
    assert box(opened, "doubled").locator(".size").text_content() == "? × ? × ?"
    assert box(opened, "head").locator(".size").text_content() == "2"
    box(opened, "doubled").click()
    assert "states no shape rule" in opened.locator("#panel").inner_text()


def box(opened, name):
    return opened.locator(f'.box:has(title:text-matches("^{re.escape(name)} [(]"))')


def test_a_click_explains_a_layer(visit, resnet):
    opened = visit(resnet)
    box(opened, "conv1_conv").click()
    panel = opened.locator("#panel").inner_text()
    assert "⌊(230 − 7)/2⌋ + 1 = 112" in panel
    assert "7·7·3·64 + 64 = 9,472" in panel
    assert "kernel height·kernel width·input channels·filters + filters" in panel
    assert "118,013,952" in panel
    assert "adds a bias" in panel  # the finding of check()
    opened.locator("#panel").get_by_role("button", name="conv1_bn").click()
    assert opened.locator("#panel h2").inner_text() == "conv1_bn"
    opened.keyboard.press("Escape")
    assert opened.locator("#panel h2").inner_text() == "resnet50"


def test_findings_are_marked_on_layers_and_on_groups_that_hide_them(visit, resnet):
    opened = visit(resnet)
    found = resnet.check().findings
    assert opened.locator("#overview").inner_text() == f"{len(found)} findings"
    inside = sum(finding.layer.startswith("conv2_block1_") for finding in found)
    assert box(opened, "conv2_block1").locator(".badge text").text_content() == str(inside)
    assert box(opened, "conv1_conv").locator(".badge text").text_content() == "1"
    assert box(opened, "conv1_relu").locator(".badge").count() == 0


def test_another_size_recomputes_all_and_reset_brings_it_back(visit, resnet):
    opened = visit(resnet)
    height, width = opened.get_by_label("height of"), opened.get_by_label("width of")
    height.fill("512")
    width.fill("384")
    width.press("Enter")
    assert box(opened, "conv1_conv").locator(".size").text_content() == "256 × 192 × 64"
    assert opened.locator("#live").text_content() == "Sizes recomputed for 512 × 384 × 3. Output 1000."
    assert "was 3.86 G" in opened.locator("[data-total=work]").inner_text()
    assert "was" not in opened.locator("[data-total=parameters]").inner_text()
    opened.locator("#reset").click()
    opened.wait_for_selector("#reset", state="hidden")
    assert box(opened, "conv1_conv").locator(".size").text_content() == "112 × 112 × 64"
    height.fill("many")
    height.press("Enter")
    assert "height of input_layer is 'many'" in opened.locator("#notice").inner_text()
    assert height.get_attribute("aria-invalid") == "true"


def test_a_size_too_small_is_shown_where_it_fails(visit):
    with lamina.device("meta"):
        model = lamina.applications.DenseNet121(weights=None)
    opened = visit(model)
    opened.get_by_label("width of").fill("20")
    opened.get_by_label("width of").press("Enter")
    assert "along width, a window of 2 does not fit into 1" in opened.locator("#notice").inner_text()
    assert "fails" in box(opened, "pool4_pool").get_attribute("class")
    assert "behind" in box(opened, "predictions").get_attribute("class")
    opened.locator("#notice button").click()
    assert "Fails here: AveragePooling2D 'pool4_pool'" in opened.locator("#panel").inner_text()


def test_a_dense_layer_that_would_be_another_says_so(visit):
    model = lamina.Sequential([lamina.Input((8, 8, 4)), layers.Flatten(), layers.Dense(10, name="head")])
    opened = visit(model)
    opened.get_by_label("height of").fill("9")
    opened.get_by_label("height of").press("Enter")
    box(opened, "head").click()
    assert (
        "Made for this size, it has 2,890 parameters; in this model it has 2,570."
        in opened.locator("#panel").inner_text()
    )


def test_search_unfolds_what_it_finds(visit, resnet):
    opened = visit(resnet)
    assert box(opened, "conv3_block2_2_conv").count() == 0
    opened.keyboard.press("/")
    opened.keyboard.type("block2_2_conv")
    assert opened.locator("#matches").text_content() == "4"
    opened.keyboard.press("Enter")
    opened.keyboard.press("Enter")
    assert opened.locator("#matches").text_content() == "2 of 4"
    assert opened.locator("#panel h2").inner_text() == "conv3_block2_2_conv"
    assert box(opened, "conv3_block2_2_conv").is_visible()
    opened.fill("#search", "nothing of this name")
    assert opened.locator("#matches").text_content() == "none"


def test_everything_works_with_the_keyboard_alone(visit, resnet):
    opened = visit(resnet)

    def focused():
        return opened.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.id")

    for _ in range(15):
        opened.keyboard.press("Tab")
        if opened.evaluate("document.activeElement.classList.contains('box')"):
            break
    assert focused().startswith("input_layer, Input, 224 by 224 by 3")
    for _ in range(2):
        opened.keyboard.press("ArrowDown")
    assert focused().startswith("conv1_conv, Conv2D, 112 by 112 by 64, 9,472 parameters, 1 finding")
    opened.keyboard.press("Enter")
    assert opened.locator("#panel h2").inner_text() == "conv1_conv"
    opened.keyboard.press("Escape")
    assert focused().startswith("conv1_conv")
    for _ in range(5):
        opened.keyboard.press("ArrowDown")
    assert focused().startswith("conv2_block1, block")
    opened.keyboard.press("Enter")
    assert box(opened, "conv2_block1_2_conv").count() == 1
    opened.keyboard.press("ArrowUp")
    opened.keyboard.press("ArrowDown")
    assert focused().startswith("conv2_block1_")
    opened.keyboard.press("f")
    assert box(opened, "conv2_block1_2_conv").count() == 0
    assert focused().startswith("conv2_block1, block")
    before = opened.evaluate("window.lamina.view.scale")
    opened.keyboard.press("+")
    assert opened.evaluate("window.lamina.view.scale") == pytest.approx(before * 1.25)
    opened.keyboard.press("0")
    assert opened.evaluate("window.lamina.view.scale") < before


def test_mouse_pans_and_zooms_about_the_pointer_and_a_drag_is_no_click(visit, resnet):
    opened = visit(resnet)
    target = box(opened, "conv1_bn").bounding_box()
    x, y = target["x"] + 20, target["y"] + 20
    opened.mouse.move(x, y)
    opened.mouse.wheel(0, -300)
    opened.locator("#view[transform*='scale(1.6']").wait_for(state="attached")
    grown = box(opened, "conv1_bn").bounding_box()
    assert grown["x"] < x < grown["x"] + grown["width"]
    assert grown["y"] < y < grown["y"] + grown["height"]
    opened.mouse.down()
    opened.mouse.move(x + 60, y - 90, steps=4)
    opened.mouse.up()
    moved = box(opened, "conv1_bn").bounding_box()
    assert (moved["x"] - grown["x"], moved["y"] - grown["y"]) == pytest.approx((60, -90), abs=1)
    assert opened.locator("#panel h2").inner_text() == "resnet50"


@pytest.mark.parametrize("value", ["parameters", "work", "memory", "field"])
def test_colours_follow_the_chosen_quantity(visit, resnet, value):
    opened = visit(resnet)
    opened.select_option("#colour", value)

    def heat(name):
        return float(box(opened, name).evaluate("(box) => box.style.getPropertyValue('--heat')"))

    less, more = {
        "parameters": ("conv1_bn", "conv5_block1"),
        "work": ("conv1_conv", "conv3_block1"),
        "memory": ("conv1_pad", "conv1_conv"),
        "field": ("conv1_conv", "pool1_pool"),
    }[value]
    assert 0 < heat(less) < heat(more) <= 1
    assert opened.locator("#legend").is_visible()


def test_at_phone_width_nothing_is_cut_off_and_the_explanation_is_a_sheet(visit, resnet):
    opened = visit(resnet, width=390, height=844, scheme="dark")
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    assert opened.evaluate("document.documentElement.dataset.theme") == "dark"
    right_ends = "[...document.querySelectorAll('header *')].map((one) => one.getBoundingClientRect().right)"
    assert max(opened.evaluate(right_ends)) <= 390.5
    assert not opened.locator("#panel").is_visible()
    box(opened, "conv1_conv").click()
    sheet = opened.locator("#panel").bounding_box()
    assert sheet["y"] + sheet["height"] == pytest.approx(844, abs=1)
    place = box(opened, "conv1_conv").bounding_box()
    assert place["y"] + place["height"] < sheet["y"]
    opened.get_by_role("button", name="Close").click()
    assert not opened.locator("#panel").is_visible()


def test_the_theme_follows_the_system_until_it_is_chosen(visit):
    opened = visit(lamina.Sequential([lamina.Input((4,)), layers.Dense(3)]))
    assert opened.evaluate("document.documentElement.dataset.theme") == "light"
    opened.emulate_media(color_scheme="dark")
    opened.locator("html[data-theme=dark]").wait_for()
    opened.click("#theme")
    assert opened.evaluate("document.documentElement.dataset.theme") == "light"


def test_names_are_text(visit):
    name = "<img src=x onerror=alert(1)>"
    x = lamina.Input((4,))
    model = lamina.Model(x, layers.Dense(3, name=name)(x), name="</script><script>alert(2)</script>")
    opened = visit(model)
    assert opened.locator("#model-name").inner_text() == "</script><script>alert(2)</script>"
    opened.locator(".box").last.click()
    assert opened.locator("#panel h2").inner_text() == name
    assert opened.locator("img").count() == 0


def test_resnet50_can_be_used_within_two_seconds(visit, browser, tmp_path, resnet):
    path = explore_model(resnet, tmp_path / "resnet.html")
    context = browser.new_context()
    opened = context.new_page()
    start = time.perf_counter()
    opened.goto(path.as_uri())
    box(opened, "conv1_conv").click()
    assert opened.locator("#panel h2").inner_text() == "conv1_conv"
    assert time.perf_counter() - start < 2
    opened.click("#unfold-all")
    assert opened.locator(".box").count() == 177
    context.close()

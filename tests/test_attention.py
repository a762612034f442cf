"""Attention layers against Keras: values, gradients, masks, scores, configs, files, training; and their messages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.base.errors import ShapeError
from lamina.explain import explain_layer
from layer_parity import check_layer, sample

QUERY, VALUE, KEY = (2, 3, 8), (2, 5, 6), (2, 5, 7)
MULTI, GROUP = "MultiHeadAttention", "GroupQueryAttention"
SMALL = {"num_heads": 3, "key_dim": 4}
GROUPS = {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2}

pytestmark = pytest.mark.usefixtures("keras")


def pair(name, shapes, **options):
    """lamina's layer and Keras's with the same weights, and their inputs."""
    import keras

    arrays = [sample(shape, seed=number) for number, shape in enumerate(shapes)]
    theirs, mine = getattr(keras.layers, name)(**options), getattr(layers, name)(**options)
    theirs(*arrays), mine(*arrays)
    mine.set_weights(theirs.get_weights())
    return mine, theirs, arrays


def assert_close(got, expected, tolerance=1e-5):
    for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, expected)), strict=True):
        assert tuple(one.shape) == tuple(other.shape)
        assert one.dtype is other.dtype
        one, other = (x.detach().float().numpy() for x in (one, other))
        np.testing.assert_allclose(one, other, rtol=tolerance * 10, atol=tolerance)


SPACE = (2, 3, 4, 8)
CASES = [
    (MULTI, (QUERY, QUERY), SMALL),
    (MULTI, (QUERY, VALUE, KEY), {**SMALL, "value_dim": 5, "use_gate": True}),
    (MULTI, (QUERY, VALUE), {**SMALL, "use_bias": False, "output_shape": (4, 3)}),
    (MULTI, (QUERY, VALUE), {**SMALL, "output_shape": 7}),
    (MULTI, (QUERY, QUERY), {**SMALL, "sliding_window": 2}),
    (MULTI, (SPACE, SPACE), SMALL),
    (MULTI, (SPACE, (2, 5, 4, 8)), {**SMALL, "attention_axes": 1}),
    (MULTI, (SPACE, (2, 3, 5, 8)), {**SMALL, "attention_axes": (2,), "use_gate": True}),
    (MULTI, (SPACE, (2, 1, 5, 8)), {**SMALL, "attention_axes": (-2,)}),
    (MULTI, ((2, 2, 3, 4, 8), (2, 2, 5, 3, 8)), {**SMALL, "attention_axes": (2, 3)}),
    (GROUP, (QUERY, QUERY), GROUPS),
    (GROUP, (QUERY, VALUE, KEY), {**GROUPS, "use_gate": True, "use_bias": False}),
    (GROUP, (QUERY, VALUE), {**GROUPS, "num_key_value_heads": 1, "sliding_window": 2}),
]


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize(("name", "shapes", "options"), CASES)
def test_values_gradients_and_weights_are_those_of_keras(name, shapes, options, scores):
    mine, theirs, arrays = pair(name, shapes, **options)
    assert [w.path.split("/", 1)[1] for w in mine.weights] == [w.path.split("/", 1)[1] for w in theirs.weights]
    inputs = [[torch.tensor(array, requires_grad=True) for array in arrays] for _ in range(2)]
    got = mine(*inputs[0], return_attention_scores=scores)
    expected = theirs(*inputs[1], return_attention_scores=scores)
    assert_close(got, expected)
    first = (got[0], expected[0]) if scores else (got, expected)
    for output in first:
        (output * torch.from_numpy(sample(tuple(output.shape), seed=9))).sum().backward()
    for one, other in zip(inputs[0], inputs[1], strict=True):
        np.testing.assert_allclose(one.grad, other.grad, rtol=1e-3, atol=1e-5)
    for one, other in zip(mine.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(one.grad, other.value.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "shapes", "options"), CASES)
def test_configs_and_symbolic_shapes(name, shapes, options):
    mine, theirs, arrays = pair(name, shapes, **options)
    config, expected = mine.get_config(), theirs.get_config()
    for one in (config, expected):
        one.pop("name")
    assert config == expected
    assert mine.get_build_config() == theirs.get_build_config()
    twin = type(mine).from_config(mine.get_config())
    twin.build_from_config(mine.get_build_config())
    twin.set_weights(mine.get_weights())
    assert_close(twin(*arrays), mine(*arrays))
    symbols = [lamina.Input(shape[1:]) for shape in shapes]
    for scores in (False, True):
        made = mine(*symbols, return_attention_scores=scores)
        real = mine(*arrays, return_attention_scores=scores)
        for symbol, tensor in zip(*(x if scores else (x,) for x in (made, real)), strict=True):
            assert symbol.shape == (None, *tensor.shape[1:])
    assert mine.compute_output_shape(*shapes) == tuple(mine(*arrays).shape)


MASKS = {
    "value_mask": [[True, True, False, True, True], [True, False, False, False, True]],
    "key_mask": [[False, True, True, True, True], [True, True, True, False, False]],
    "attention_mask": (sample((2, 3, 5), seed=4) > -1).tolist(),
    "use_causal_mask": True,
}


@pytest.mark.parametrize("names", [c for n in range(1, 5) for c in itertools.combinations(MASKS, n)])
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize(("name", "options"), [(MULTI, SMALL), (GROUP, GROUPS)])
def test_masks(name, options, names, scores):
    mine, theirs, arrays = pair(name, (QUERY, (2, 5, 8)), **options)
    given = {key: MASKS[key] if key == "use_causal_mask" else torch.tensor(MASKS[key]) for key in names}
    call = {**given, "return_attention_scores": scores}
    assert_close(mine(*arrays, **call), theirs(*arrays, **call))


@pytest.mark.parametrize("shape", [(3, 5), (1, 3, 5), (2, 3, 5), (2, 1, 5), (2, 1, 3, 5), (2, 3, 3, 5), (1, 1, 3, 5)])
@pytest.mark.parametrize("dtype", ["bool", "float32", "int32"])
def test_attention_masks_of_every_rank(shape, dtype):
    mine, theirs, arrays = pair(MULTI, (QUERY, VALUE), **SMALL)
    mask = (sample(shape, seed=3) > -0.5).astype(dtype)
    mask[..., 0] = 1
    assert_close(mine(*arrays, attention_mask=mask), theirs(*arrays, attention_mask=mask))


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (2, 4, 3, 5), (2, 1, 1, 3, 5)])
def test_attention_masks_beside_an_axis_that_does_not_attend(shape):
    mine, theirs, arrays = pair(MULTI, ((2, 4, 3, 8), (2, 4, 5, 8)), attention_axes=(2,), **SMALL)
    mask = sample(shape, seed=3) > -0.5
    mask[..., 0] = True
    for scores in (False, True):
        call = {"attention_mask": mask, "return_attention_scores": scores}
        assert_close(mine(*arrays, **call), theirs(*arrays, **call))


def test_a_query_mask_hides_its_steps_for_groups_as_in_keras():
    mine, theirs, arrays = pair(GROUP, (QUERY, (2, 5, 8)), **GROUPS)
    call = {"query_mask": torch.tensor([[True, True, False], [False, True, True]])}
    assert_close(mine(*arrays, **call), theirs(*arrays, **call))
    assert_close(
        mine(*arrays, **call, return_attention_scores=True), theirs(*arrays, **call, return_attention_scores=True)
    )


def test_a_query_that_sees_nothing():
    for options in (SMALL, {**SMALL, "dropout": 0.5}):  # Keras: an even mean without dropout, zeros with it
        mine, theirs, arrays = pair(MULTI, (QUERY, QUERY), **options)
        mask = np.ones((2, 3, 3), bool)
        mask[0, 1] = False
        assert_close(mine(*arrays, attention_mask=mask), theirs(*arrays, attention_mask=mask))


# Keras warns of its own projections.
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning")
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(("name", "options"), [(MULTI, SMALL), (GROUP, GROUPS), ("Attention", {})])
def test_masks_come_with_embeddings_and_go_on(keras, name, options, named):
    rows = np.array([[1, 2, 0, 0], [3, 4, 5, 0]])
    models = []
    for library in (lamina, keras):
        words = library.Input((4,), dtype="int32")
        embedded = library.layers.Embedding(10, 8, mask_zero=True)(words)
        attention = getattr(library.layers, name)(**options)
        if name == "Attention":
            attended = attention(inputs=[embedded, embedded]) if named else attention([embedded, embedded])
        else:
            attended = attention(query=embedded, value=embedded) if named else attention(embedded, embedded)
        models.append(library.Model(words, [attended, library.layers.GlobalAveragePooling1D()(attended)]))
    models[0].set_weights(models[1].get_weights())
    for got, expected in zip(models[0](rows), models[1](rows), strict=True):
        assert_close(got, expected)


PLAIN = [
    ("Attention", {}),
    ("Attention", {"use_scale": True}),
    ("Attention", {"score_mode": "concat"}),
    ("Attention", {"score_mode": "concat", "use_scale": True, "dropout": 0.2, "seed": 3}),
    ("AdditiveAttention", {}),
    ("AdditiveAttention", {"use_scale": False, "dropout": 0.3}),
]


@pytest.mark.parametrize(("name", "options"), PLAIN)
@pytest.mark.parametrize(
    "shapes", [[(2, 3, 4), (2, 5, 4)], [(2, 3, 4), (2, 5, 6), (2, 5, 4)], [(2, 2, 3, 4), (2, 2, 5, 4)]]
)
def test_plain_attentions_are_those_of_keras(name, options, shapes):
    check_layer(name, shapes, **options)


@pytest.mark.parametrize(("name", "options"), PLAIN)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("which", [(True, True), (True, False), (False, True)])
def test_plain_masks_and_scores(name, options, causal, which):
    shapes = [[(2, 3, 4), (2, 5, 4)]]
    import keras

    arrays = [sample(shape, seed=number) for number, shape in enumerate(shapes[0])]
    theirs, mine = getattr(keras.layers, name)(**options), getattr(layers, name)(**options)
    theirs(arrays), mine(arrays)
    for number, weight in enumerate(theirs.weights):
        weight.assign(0.3 * (number + 1) + np.zeros(weight.shape))
    mine.set_weights(theirs.get_weights())
    masks = [torch.tensor([[True, True, False], [True, False, False]]), torch.zeros(2, 5, dtype=torch.bool)]
    masks[1][0, 1:4] = True
    call = {"mask": [m if w else None for m, w in zip(masks, which, strict=True)], "use_causal_mask": causal}
    assert_close(mine(arrays, **call), theirs(arrays, **call))
    assert_close(
        mine(arrays, return_attention_scores=True, **call), theirs(arrays, return_attention_scores=True, **call)
    )


@pytest.mark.parametrize("seed", [None, 7])
def test_dropout_leaves_the_mean_and_only_training_has_it(seed):
    x = torch.ones(1, 400, 8)
    attentions = [layers.MultiHeadAttention(2, 4, dropout=0.5, seed=seed), layers.Attention(dropout=0.5, seed=seed)]
    for attention, inputs in zip(attentions, [(x, x), ([x, x],)], strict=True):
        still = attention(*inputs)
        assert_close(attention(*inputs), still)
        moved = attention(*inputs, training=True)
        assert not torch.equal(moved, still)
        np.testing.assert_allclose(moved.mean(1).detach(), still.mean(1).detach(), rtol=0.05, atol=0.02)
        twin = type(attention).from_config(attention.get_config())
        twin(*inputs)
        twin.set_weights(attention.get_weights())
        again = type(attention).from_config(attention.get_config())
        again(*inputs)
        again.set_weights(attention.get_weights())
        same = torch.equal(twin(*inputs, training=True), again(*inputs, training=True))
        assert same is (seed is not None)


def test_scores_are_given_before_dropout_with_heads_and_after_without():
    x = torch.randn(2, 6, 8)
    _, scores = layers.MultiHeadAttention(2, 4, dropout=0.5)(x, x, return_attention_scores=True, training=True)
    np.testing.assert_allclose(scores.detach().sum(-1), 1, rtol=1e-5)
    _, scores = layers.Attention(dropout=0.5)([x, x], return_attention_scores=True, training=True)
    assert set((scores == 0).unique().tolist()) == {True, False}


@pytest.mark.parametrize(("name", "options"), [(MULTI, SMALL), (GROUP, {**GROUPS, "use_gate": True})])
def test_mixed_precision(name, options):
    mine, theirs, arrays = pair(name, (QUERY, QUERY), dtype="mixed_bfloat16", **options)
    for scores in (False, True):
        call = {"return_attention_scores": scores}
        assert_close(mine(*arrays, **call), theirs(*arrays, **call), tolerance=2e-2)
    assert {str(weight.dtype) for weight in mine.weights} == {"torch.float32"}


def test_regularizers_and_initializers_are_each_projections_own():
    options = {"kernel_regularizer": "l2", "bias_regularizer": "l1", "bias_initializer": "ones"}
    for name, sizes in ((MULTI, SMALL), (GROUP, GROUPS)):
        mine, theirs, arrays = pair(name, (QUERY, QUERY), activity_regularizer="l2", **options, **sizes)
        mine(*arrays), theirs(*arrays)
        assert float(sum(mine.losses).detach()) == pytest.approx(float(sum(theirs.losses).detach()), rel=1e-4)
        assert mine.get_config()["activity_regularizer"] == theirs.get_config()["activity_regularizer"]
    wide = layers.MultiHeadAttention(8, 64)
    wide.build((None, 5, 256), (None, 5, 256))
    for dense in (wide.query_dense, wide.output_dense):  # glorot over 256 features in and 8·64 out
        assert float(dense.kernel.detach().abs().max()) == pytest.approx((6 / (256 + 512)) ** 0.5, rel=0.01)
    assert not torch.equal(wide.query_dense.kernel, wide.key_dense.kernel)


def block(library, **options):
    x = library.Input((6, 16))
    attention = library.layers.MultiHeadAttention(4, 4, **options)(x, x)
    joined = library.layers.LayerNormalization()(library.layers.Add()([x, attention]))
    grouped = library.layers.GroupQueryAttention(4, 4, 2)(joined, x, use_causal_mask=True)
    hidden = library.layers.Dense(32, activation="gelu")(grouped)
    summed = library.layers.Add()([joined, library.layers.Dense(16)(hidden)])
    looked = library.layers.Attention(use_scale=True)([summed, x])
    return library.Model(x, library.layers.AdditiveAttention()([looked, x]))


def test_fit_follows_keras(keras):
    x, y = sample((64, 6, 16)), sample((64, 6, 16), seed=1)
    histories, models = [], [block(lamina), block(keras)]
    models[0].set_weights(models[1].get_weights())
    for model in models:
        model.compile("adam", "mse")
        histories.append(model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-4)
    assert_close(
        torch.as_tensor(models[0].predict(x, verbose=0)), torch.as_tensor(models[1].predict(x, verbose=0)), 1e-3
    )


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_files_go_both_ways(keras, tmp_path, suffix):
    x = sample((4, 6, 16))
    options = {"dropout": 0.1, "use_gate": True}
    for writer, reader, number in ((lamina, keras, 0), (keras, lamina, 1)):
        path, model = str(tmp_path / f"{number}{suffix}"), block(writer, **options)
        if suffix == ".keras":
            model.save(path)
            read = reader.models.load_model(path)
        else:
            model.save_weights(path)
            read = block(reader, **options)
            read.load_weights(path)
        assert_close(torch.as_tensor(read.predict(x, verbose=0)), torch.as_tensor(model.predict(x, verbose=0)), 1e-5)


def test_flash_attention_is_a_choice_of_the_kernel():
    x = torch.randn(2, 6, 8)
    free = layers.MultiHeadAttention(2, 4)
    expected = free(x, x)
    without = layers.MultiHeadAttention(2, 4, flash_attention=False)
    without(x, x)
    without.set_weights(free.get_weights())
    assert_close(without(x, x), expected)
    with pytest.raises(ValueError, match="dropout=0 only"):
        layers.MultiHeadAttention(2, 4, flash_attention=True, dropout=0.1)
    with pytest.raises(ValueError, match="never holds the scores"):
        layers.MultiHeadAttention(2, 4, flash_attention=True)(x, x, return_attention_scores=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.MultiHeadAttention(0, 4), "num_heads is a whole number above 0"),
        (lambda: layers.MultiHeadAttention(2, 4, dropout=1.5), "dropout is a number"),
        (lambda: layers.MultiHeadAttention(2, 4, sliding_window=0), "sliding_window is a whole number above 0"),
        (lambda: layers.GroupQueryAttention(4, 5, 2), "a multiple of num_key_value_heads; got 5 and 2"),
        (lambda: layers.Attention(score_mode="sum"), "score_mode is 'dot' or 'concat'"),
        (
            lambda: layers.MultiHeadAttention(2, 4)(*[torch.ones(1, 2, 3, 4)] * 2, use_causal_mask=True),
            "several attention_axes",
        ),
        (lambda: layers.Attention()([torch.ones(1, 2, 3)] * 2, mask=torch.ones(1, 2)), "a list of the query's mask"),
    ],
)
def test_arguments_that_cannot_be_meant(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_built_layer_does_not_read_behind_a_short_key():
    heads, plain = layers.MultiHeadAttention(2, 4), layers.Attention()
    x, short = torch.ones(2, 5, 8), torch.ones(2, 4, 8)
    heads(x, x), plain([x, x])
    for call in (lambda: heads(x, x, short), lambda: plain([x, x, short])):
        with pytest.raises(ShapeError, match="value and key differ on axis 1"):
            call()


def test_the_explanation_counts_weights_and_products():
    attention = layers.MultiHeadAttention(4, 16, name="attention")
    explained = explain_layer(attention, [(None, 20, 64), (None, 30, 48)])
    assert explained.parameters == attention.count_params() == 14592
    assert "features·heads·features of a head" in explained.parameter_words
    projections = 20 * 64 * 64 + 2 * 30 * 48 * 64 + 20 * 64 * 64
    assert explained.multiply_accumulates == projections + 2 * 20 * 30 * 64


def test_a_model_with_masks_as_inputs_is_explained():
    x, mask = lamina.Input((20, 64)), lamina.Input((20, 20), dtype="bool")
    attended, scores = layers.MultiHeadAttention(4, 16, name="heads")(
        x, x, attention_mask=mask, return_attention_scores=True
    )
    model = lamina.Model([x, mask], [layers.Dense(3, name="head")(attended), scores])
    assert [tensor.shape for tensor in model.outputs] == [(None, 20, 3), (None, 4, 20, 20)]
    text = str(model.explain())
    assert "16,640" in text
    assert "the same for every input size" in " ".join(text.split())
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert "16,640" in "\n".join(lines)
    model.check()


@pytest.mark.parametrize(
    ("shape", "equation", "sizes", "bias_axes", "summed"),
    [
        ((2, 3, 4), "abc,cde->abde", (3, 5, 6), "de", 1),
        ((2, 3, 4, 5), "abcd,cde->abe", (3, 6), "e", 2),
        ((2, 3, 4), "...b,bc->...c", 6, "c", 1),
        ((2, 3, 4), "abc,cde->abde", (3, 5, 6), None, 1),
        ((2, 3, 4), "abc,cde->abde", (3, 5, 6), "e", None),  # a bias for some of the kernel's axes
        ((2, 3, 4), "abc,cd->adb", (6, 3), "d", None),  # axes in another order
        ((2, 3, 4), "ab...,bc->ac...", 6, "c", None),
    ],
)
def test_einsum_dense_as_a_matrix_product_where_it_is_one(shape, equation, sizes, bias_axes, summed):
    dense = check_layer("EinsumDense", shape, equation=equation, output_shape=sizes, bias_axes=bias_axes)
    assert dense._summed == summed

"""What every layer is: a torch Module with Keras's life."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import lamina
from lamina import layers
from lamina.base.errors import ShapeError, ShapeWarning


class Doubled(layers.Layer):
    """A user's layer with no shape rule, and a statistic that a call moves."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1], self.units), name="w")
        self.calls = self.add_weight((), "zeros", trainable=False, name="calls")

    def call(self, x):
        self.calls.assign_add(1.0)
        return 2 * (x @ self.w)


def test_it_is_a_torch_module():
    dense = layers.Dense(3)
    dense(torch.ones(2, 4))
    assert isinstance(dense, torch.nn.Module)
    assert list(dense.state_dict()) == ["kernel", "bias"]
    assert [tuple(p.shape) for p in dense.parameters()] == [(4, 3), (3,)]
    assert dense.kernel.value is dense.kernel


def test_torch_hooks_work_in_a_model():
    x = lamina.Input((4,))
    dense = layers.Dense(3)
    model = lamina.Model(x, layers.Dense(2)(dense(x)))
    seen = []
    dense.register_forward_hook(lambda module, args, output: seen.append(tuple(output.shape)))
    model(torch.ones(5, 4))
    assert seen == [(5, 3)]


def test_names_are_counted_as_keras_counts_them(keras):
    keras.utils.clear_session()
    made = [
        (ours.name, theirs.name)
        for ours, theirs in [
            (layers.Dense(1), keras.layers.Dense(1)),
            (layers.Dense(1), keras.layers.Dense(1)),
            (layers.Dense(1, name="mine"), keras.layers.Dense(1, name="mine")),
            (layers.Dense(1), keras.layers.Dense(1)),
        ]
    ]
    assert [ours for ours, _ in made] == [theirs for _, theirs in made]


def test_lists_and_dicts_of_layers_are_tracked():
    class Stack(layers.Layer):
        def __init__(self):
            super().__init__()
            self.blocks = []
            for width in (3, 5):
                self.blocks.append(layers.Dense(width))
            self.heads = {"a": layers.Dense(2)}
            self.pair = (layers.Dense(1), layers.Dense(1))

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return self.pair[1](self.pair[0](self.heads["a"](x)))

    stack = Stack()
    assert stack(torch.ones(2, 4)).shape == (2, 1)
    assert len(stack.weights) == 10
    assert "blocks.1.kernel" in stack.state_dict()
    assert stack.get_submodule("blocks.0") is stack.blocks[0]
    twin = copy.deepcopy(stack)
    assert twin.blocks[0] is not stack.blocks[0]
    assert torch.equal(twin.blocks[0].kernel, stack.blocks[0].kernel)


def test_weights_that_no_attribute_holds_belong_to_the_layer():
    class Careless(layers.Layer):
        def build(self, input_shape):
            self.held = [self.add_weight((2,), name="one")]
            self.add_weight((3,), name="lost")

        def call(self, x):
            return x

    careless = Careless()
    careless.build((None, 2))
    assert sorted(weight.name for weight in careless.weights) == ["lost", "one"]


def test_probing_finds_open_sizes_and_moves_nothing():
    layer = Doubled(7)
    out = layer(lamina.Input((None, 4)))
    assert out.shape == (None, None, 7)
    assert float(layer.calls) == 0
    layer(torch.ones(2, 3, 4))
    assert float(layer.calls) == 1


def test_probing_draws_no_random_numbers():
    class Noisy(layers.Layer):
        def call(self, x):
            return x + torch.randn_like(x)

    torch.manual_seed(3)
    expected = torch.randn(1)
    torch.manual_seed(3)
    Noisy()(lamina.Input((4,)))
    assert torch.equal(torch.randn(1), expected)


def test_trial_sizes_never_show_in_a_message():
    class Wrong(layers.Layer):
        def call(self, x):
            return x @ torch.ones(5, 2)

    with pytest.raises(ShapeError) as error:
        Wrong()(lamina.Input((None, 4)))
    text = str(error.value)
    assert "(None, None, 4)" in text
    for size in ("384", "640", "1280", "2304"):
        assert size not in text


def test_a_layer_that_needs_values_says_what_to_do():
    class Looks(layers.Layer):
        def call(self, x):
            return x if x.sum().item() > 0 else -x

    with pytest.raises(ShapeError, match="needs values"):
        Looks()(lamina.Input((4,)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64", "float16"])
def test_dtype_policies_as_in_keras(keras, policy):
    mine, theirs = layers.Dense(3, dtype=policy), keras.layers.Dense(3, dtype=policy)
    x = np.ones((2, 4), "float32")
    assert lamina.engine.dtypes.standardize_dtype(mine(x).dtype) == keras.backend.standardize_dtype(theirs(x).dtype)
    assert lamina.engine.dtypes.standardize_dtype(mine.kernel.dtype) == theirs.kernel.dtype
    assert (mine.compute_dtype, mine.variable_dtype, mine.dtype) == (
        theirs.compute_dtype,
        theirs.variable_dtype,
        theirs.dtype,
    )


def test_trainable_reaches_every_weight_below():
    x = lamina.Input((4,))
    inner = lamina.Model(x, layers.Dense(3)(x))
    model = lamina.Model(x, layers.Dense(2)(inner(x)))
    inner.trainable = False
    assert len(model.trainable_weights) == 2
    assert len(model.non_trainable_weights) == 2
    assert [p.requires_grad for p in inner.parameters()] == [False, False]
    inner.trainable = True
    assert len(model.trainable_weights) == 4


def test_moving_an_own_layer_to_another_dtype_keeps_variables():
    dense = layers.Dense(3)
    dense.build((None, 4))
    dense.half()
    assert type(dense.kernel) is lamina.Variable
    assert dense.kernel.dtype is torch.float16
    assert dense.kernel.path == "dense/kernel"


def test_pickling_keeps_weights_and_names():
    dense = layers.Dense(3, name="kept")
    dense.build((None, 4))
    twin = pickle.loads(pickle.dumps(dense))
    assert twin.name == "kept"
    assert torch.equal(twin.kernel, dense.kernel)
    assert twin(torch.ones(1, 4)).shape == (1, 3)


def test_meta_device_builds_without_memory_and_materializes():
    with lamina.device("meta"):
        x = lamina.Input((10**6,))
        model = lamina.Model(x, layers.Dense(10**6)(x))
    assert model.count_params() == 10**12 + 10**6
    with lamina.device("meta"):
        small = lamina.Sequential([lamina.Input((4,)), layers.Dense(3)])
    assert small.layers[0].kernel.device.type == "meta"
    small.materialize()
    assert small(torch.ones(2, 4)).shape == (2, 3)
    assert small.layers[0].kernel.abs().sum() > 0


def test_losses_and_activity_regularizers(keras):
    from_keras = keras.layers.Dense(3, activity_regularizer="l2", kernel_regularizer="l1")
    mine = layers.Dense(3, activity_regularizer="l2", kernel_regularizer="l1")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    from_keras(x), mine(x)
    mine.set_weights(from_keras.get_weights())
    from_keras(x), mine(x)
    expected = [float(loss.detach()) for loss in from_keras.losses]
    np.testing.assert_allclose([float(loss.detach()) for loss in mine.losses], expected, rtol=1e-5)
    mine(x)
    assert len(mine.losses) == len(expected)


def test_wrong_input_of_a_built_layer():
    pool = layers.Dense(64, name="pool")
    head = layers.Dense(10, name="head")
    head.build((None, 128))
    with pytest.raises(ShapeError) as error:
        head(pool(lamina.Input((7,))))
    assert str(error.value) == (
        "Dense 'head' needs 128 features and got 64.\n"
        "  received   (None, 64)  from Dense 'pool'\n"
        "  expected   (None, 128)  fixed when 'head' was built\n"
        "  because    its kernel is (128, 10): the input's last axis meets the kernel's first\n"
        "  to mend    make a new Dense for this input, or give it an input of 128 features\n"
        "  sizes      input_layer  InputLayer  (None, 7)\n"
        "             pool         Dense       (None, 64)"
    )
    with pytest.raises(ShapeError, match="needs 128 features and got 64"):
        head(torch.ones(2, 64))


def test_set_weights_of_a_wrong_shape_changes_nothing():
    dense = layers.Dense(3)
    dense.build((None, 4))
    before = dense.get_weights()
    with pytest.raises(ShapeError, match="cannot take array 1 as its bias"):
        dense.set_weights([np.zeros((4, 3)), np.zeros(4)])
    for old, new in zip(before, dense.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="has 2 weights and got 1"):
        dense.set_weights([np.zeros((4, 3))])


def test_a_contradictory_declaration_warns_once():
    x = lamina.Input((32,))
    with pytest.warns(ShapeWarning, match=r"Dense 'late' declares input_shape=\(44,\) and gets \(32,\)") as caught:
        layers.Dense(16, input_shape=(44,), name="late")(x)
    assert len(caught) == 1
    lamina.config.set_shape_policy("strict")
    with pytest.raises(ShapeError, match="declares"):
        layers.Dense(16, input_shape=(44,))(x)


def test_a_user_config_holds_the_users_arguments():
    layer = Doubled(7, name="twice")
    config = layer.get_config()
    assert config["units"] == 7
    assert Doubled.from_config(config).units == 7


def test_forgotten_super_is_named():
    class Forgetful(layers.Layer):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match=r"does not call super\(\).__init__\(\)"):
        Forgetful()(torch.ones(1))


def test_unknown_arguments_name_the_nearest():
    with pytest.raises(TypeError, match="units"):
        layers.Dense(unit=3)


def test_training_reaches_nested_layers():
    seen = []

    class Inner(layers.Layer):
        def call(self, x, training=None):
            seen.append(training)
            return x

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def call(self, x):
            return self.inner(x)

    outer = Outer()
    outer(torch.ones(1), training=True)
    outer(torch.ones(1))
    outer.train()
    outer(torch.ones(1))
    assert seen == [True, False, True]

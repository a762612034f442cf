"""Small programs for `model.check()`: for every code some that provoke it, and some that are alike and all right.

A program returns a model, or a model and a sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

import lamina
from lamina import layers, losses, ops
from lamina.layers import Activation, Add, BatchNormalization, Conv1D, Conv2D, Dense, Flatten, MaxPooling2D

Program = Callable[[], Any]

GUILTY: dict[str, list[Program]] = defaultdict(list)
INNOCENT: dict[str, list[Program]] = defaultdict(list)


def guilty(code: str) -> Callable[[Program], Program]:
    def add(program: Program) -> Program:
        GUILTY[code].append(program)
        return program

    return add


def innocent(*codes: str) -> Callable[[Program], Program]:
    def add(program: Program) -> Program:
        for code in codes:
            INNOCENT[code].append(program)
        return program

    return add


def stack(shape: Any, *parts: Any, name: str = "model") -> Any:
    return lamina.Sequential([lamina.Input(shape, name="image"), *parts], name=name)


def ending(units: int, activation: Any, loss: Any, y: Any = None) -> Any:
    """A compiled model of four numbers, and a sample if targets are given."""
    model = stack((4,), Dense(units, activation=activation, name="head"))
    model.compile("sgd", loss)
    return model if y is None else (model, (np.ones((len(y), 4), "float32"), np.asarray(y)))


# Shapes.


@guilty("S101")
def later_declaration() -> Any:
    return stack((8,), Dense(4, name="first"), Dense(2, input_shape=(44,), name="late"))


@innocent("S101")
def first_declaration() -> Any:
    return lamina.Sequential([Dense(4, input_shape=(8,)), Dense(2, input_shape=(4,))])


@guilty("S102")
def channels_in_front() -> Any:
    return stack((3, 224, 224), Conv2D(8, 3, padding="same", name="conv"))


@guilty("S102")
def huge_first_axis() -> Any:
    return stack((480, 640, 3), layers.ZeroPadding2D(data_format="channels_first"), conv_first())


def conv_first() -> Any:
    return Conv2D(8, 3, data_format="channels_first", name="conv")


@innocent("S102")
def channels_behind() -> Any:
    return stack((224, 224, 3), Conv2D(8, 3, padding="same"))


@innocent("S102")
def rows_of_sensors() -> Any:
    return stack((1, 128, 64), Conv2D(8, (1, 16)))


@guilty("S103")
def batch_in_shape() -> Any:
    return stack((32, 784), Dense(64, activation="relu"), Dense(10, activation="softmax"))


@guilty("S103")
def open_batch_in_shape() -> Any:
    return stack((None, 784), Dense(64, activation="relu"), Dense(10, activation="softmax"))


@guilty("S103")
def images_in_shape() -> Any:
    return stack((32, 28, 28, 1), layers.Rescaling(1 / 255), Flatten(name="flatten"), Dense(10))


@innocent("S103")
def steps() -> Any:
    return stack((32, 784), Dense(64), layers.GlobalAveragePooling1D(), Dense(10))


@innocent("S103")
def tagging() -> Any:
    return stack((None, 16), Conv1D(8, 3, padding="same"), Dense(4, activation="softmax"))


@innocent("S103")
def items_of_a_list() -> Any:
    return stack((10, 16), Dense(8, activation="relu"), Dense(1))


@guilty("S104")
def wide_kernel() -> Any:
    return stack((4, 4, 3), Conv2D(8, 11, padding="same", name="wide"))


@guilty("S104")
def kernel_on_zeros() -> Any:
    return stack((6, 6, 3), layers.ZeroPadding2D(2), Activation("relu"), Conv2D(8, 7, name="wide"))


@guilty("S104")
def dilated_beyond() -> Any:
    return stack((16, 1), Conv1D(4, 2, dilation_rate=32, padding="causal", name="far"))


@innocent("S104")
def kernel_as_large() -> Any:
    return stack((4, 4, 3), Conv2D(8, 4), Conv2D(8, 1))


@guilty("S105")
def too_many_strides() -> Any:
    down = [Conv2D(8, 2, strides=2, padding="same", name=f"down_{number}") for number in range(1, 5)]
    return stack((4, 4, 3), *down)


@innocent("S105")
def strides_that_fit() -> Any:
    return stack((8, 8, 3), *[Conv2D(8, 2, strides=2, padding="same") for _ in range(3)], Conv2D(4, 1))


@guilty("S106")
def odd_pooling() -> Any:
    return stack((28, 28, 1), Conv2D(8, 3, name="conv"), MaxPooling2D(name="pool_1"), MaxPooling2D(name="pool_2"))


@guilty("S106")
def dropped_steps_here() -> Any:
    x = lamina.Input((None, 3), name="steps")
    fixed = layers.Reshape((20, 3))(x)
    return lamina.Model(x, layers.AveragePooling1D(6, name="pool")(fixed), name="model")


@innocent("S106", "S104")
def dropped_zeros() -> Any:
    x = layers.ZeroPadding2D(3)
    return stack((224, 224, 3), x, Conv2D(8, 7, strides=2, use_bias=False), BatchNormalization())


@innocent("S106")
def skipped_by_design() -> Any:
    return stack((56, 56, 8), Conv2D(8, 1, strides=2))


@innocent("S106")
def read_beside_the_pooling() -> Any:
    x = lamina.Input((9, 9, 3))
    pooled = layers.GlobalAveragePooling2D()(MaxPooling2D()(x))
    return lamina.Model(x, layers.Concatenate()([pooled, layers.GlobalAveragePooling2D()(x)]))


@guilty("S107")
def flatten_open() -> Any:
    return stack((None, None, 3), Conv2D(8, 3), Flatten(name="flatten"))


@innocent("S107")
def pool_open() -> Any:
    return stack((None, None, 3), Conv2D(8, 3), layers.GlobalAveragePooling2D(), Flatten(), Dense(2))


@guilty("S108")
def narrow_branch() -> Any:
    x = lamina.Input((8,))
    return lamina.Model(x, Add(name="add")([Dense(10, name="wide")(x), Dense(1, name="narrow")(x)]), name="model")


@guilty("S108")
def outer_product() -> Any:
    one, other = lamina.Input((5, 1), name="column"), lamina.Input((1, 5), name="row")
    return lamina.Model([one, other], layers.Multiply(name="times")([one, other]), name="model")


@guilty("S108")
def batch_against_axis() -> Any:
    one, other = lamina.Input((10,), name="one"), lamina.Input((1, 10), name="other")
    return lamina.Model([one, other], one + other, name="model")


@innocent("S108")
def gate() -> Any:
    x = lamina.Input((16, 16, 8))
    weight = Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return lamina.Model(x, layers.Multiply()([x, weight]))


@innocent("S108")
def centred() -> Any:
    x = lamina.Input((16, 8))
    return lamina.Model(x, x - ops.mean(x, axis=1, keepdims=True))


# Graphs.


@guilty("G201")
def cut_in_block() -> Any:
    x, middle, _ = residual_block()
    return lamina.Model(x, middle, name="model")


@innocent("G201", "G204")
def cut_behind_block() -> Any:
    x, _, joined = residual_block()
    behind = Dense(2)(joined)
    lamina.Model(x, behind)
    return lamina.Model(x, joined)


@innocent("G201", "G204")
def pyramid() -> Any:
    """What is built on a model later, here the sum of a pyramid, does not make it a cut."""
    x = lamina.Input((16, 16, 3))
    large = Conv2D(4, 3, padding="same")(x)
    small = Conv2D(4, 3, strides=2, padding="same")(large)
    backbone = lamina.Model(x, [large, small])
    lamina.Model(x, Add()([large, layers.UpSampling2D()(small)]))
    return backbone


def residual_block() -> Any:
    x = lamina.Input((8, 8, 4), name="image")
    middle = Activation("relu", name="middle")(Conv2D(4, 3, padding="same", name="branch")(x))
    return x, middle, Add(name="block_add")([x, Conv2D(4, 1, name="last")(middle)])


@guilty("G202")
def all_outputs() -> Any:
    x = lamina.Input((8,), name="numbers")
    model = lamina.Model(x, Dense(2, name="score")(Dense(4, name="hidden")(x)))
    return lamina.Model(x, [layer.output for layer in model.layers], name="model")


@innocent("G202")
def hidden_outputs() -> Any:
    x = lamina.Input((8,))
    hidden = Dense(4)(x)
    return lamina.Model(x, [hidden, Dense(2)(hidden)])


@guilty("G203")
def forgotten_input() -> Any:
    left, right = lamina.Input((4,), name="left"), lamina.Input((4,), name="right")
    both = layers.Concatenate()([Dense(3)(left), Dense(3)(left)])
    return lamina.Model([left, right], Dense(1)(both), name="model")


@guilty("G203")
def input_of_the_other_output() -> Any:
    """Only the first output of the inner model is used, and it depends on the first input only."""
    a, b = lamina.Input((4,)), lamina.Input((4,))
    inner = lamina.Model([a, b], [Dense(2)(a), Dense(2)(b)], name="inner")
    left, right = lamina.Input((4,), name="left"), lamina.Input((4,), name="right")
    return lamina.Model([left, right], Dense(1)(inner([left, right])[0]), name="model")


@innocent("G203")
def two_inputs() -> Any:
    left, right = lamina.Input((4,)), lamina.Input((4,))
    return lamina.Model([left, right], layers.Concatenate()([Dense(3)(left), Dense(3)(right)]))


@guilty("G204")
def forgotten_layer() -> Any:
    x = lamina.Input((4,), name="numbers")
    hidden = Dense(8, name="hidden")(x)
    Dense(8, name="forgotten")(hidden)
    return lamina.Model(x, Dense(1, name="score")(hidden), name="model")


@guilty("G204")
def added_after_outputs() -> Any:
    sequential = stack((4,), Dense(8, name="hidden"))
    outputs = sequential.outputs
    sequential.add(Dense(3, name="head"))
    return lamina.Model(sequential.inputs, outputs, name="short")


@guilty("G204")
def added_without_rebuilding() -> Any:
    model = stack((4,), Dense(8, name="hidden"))
    model.add(Dense(3, name="head"), rebuild=False)
    return model


class Subclassed(lamina.Model):
    def __init__(self, idle: bool) -> None:
        super().__init__(name="subclassed")
        self.used = Dense(3, name="used")
        if idle:
            self.idle = Dense(3, name="idle")

    def call(self, x: Any) -> Any:
        return self.used(x)


@guilty("G204")
def idle_layer() -> Any:
    model = Subclassed(idle=True)
    model(np.ones((2, 4), "float32"))
    return model


@innocent("G204")
def busy_layers() -> Any:
    model = Subclassed(idle=False)
    model(np.ones((2, 4), "float32"))
    return model


@innocent("G204")
def not_yet_called() -> Any:
    return Subclassed(idle=True)


@innocent("G204")
def added_before_outputs() -> Any:
    sequential = stack((4,), Dense(8, name="hidden"))
    sequential.add(Dense(3, name="head"))
    return lamina.Model(sequential.inputs, sequential.outputs)


@innocent("G204", "W401")
def shared_layer() -> Any:
    x, shared, norm = lamina.Input((4,)), Dense(4, name="shared"), BatchNormalization()
    first = norm(shared(x))
    return lamina.Model(x, Add()([first, shared(first)]))


# Training.


@guilty("T301")
def softmax_twice() -> Any:
    return ending(10, "softmax", losses.SparseCategoricalCrossentropy(from_logits=True))


@guilty("T301")
def sigmoid_twice_in_a_nested_model() -> Any:
    inner = stack((4,), Dense(1), layers.Activation("sigmoid"), layers.Reshape((1,)), name="inner")
    x = lamina.Input((4,))
    model = lamina.Model(x, inner(x), name="model")
    model.compile("sgd", losses.BinaryCrossentropy(from_logits=True))
    return model


@innocent("T301", "T302")
def logits() -> Any:
    return ending(10, None, losses.SparseCategoricalCrossentropy(from_logits=True))


@innocent("T301", "T302", "T306")
def several_labels() -> Any:
    return ending(10, "sigmoid", "binary_crossentropy", np.eye(10)[:4])


@guilty("T302")
def no_softmax() -> Any:
    return ending(10, None, "sparse_categorical_crossentropy")


@guilty("T302")
def relu_as_probability() -> Any:
    return ending(1, "relu", "binary_crossentropy")


@innocent("T302")
def of_its_own() -> Any:
    return ending(10, lambda x: ops.softmax(x), losses.CategoricalCrossentropy())


@guilty("T303")
def numbers_for_categorical() -> Any:
    return ending(3, "softmax", "categorical_crossentropy", [0, 1, 2, 0])


@innocent("T303", "T307")
def rows_for_categorical() -> Any:
    return ending(3, "softmax", "categorical_crossentropy", np.eye(3))


@guilty("T304")
def rows_for_sparse() -> Any:
    return ending(3, "softmax", "sparse_categorical_crossentropy", np.eye(3)[[0, 1, 2, 0]])


@innocent("T304", "T308", "T305")
def numbers_for_sparse() -> Any:
    return ending(3, "softmax", "sparse_categorical_crossentropy", [0, 1, 2, 0])


@guilty("T305")
def softmax_of_one() -> Any:
    return ending(1, "softmax", "binary_crossentropy")


@guilty("T305")
def categorical_of_one() -> Any:
    return ending(1, None, losses.CategoricalCrossentropy(from_logits=True))


@innocent("T305")
def sigmoid_of_one() -> Any:
    return ending(1, "sigmoid", "binary_crossentropy", [0, 1, 1])


@innocent("T305", "T301")
def weights_of_steps() -> Any:
    """A softmax over the steps, in three ways: along axis 1, of a reshaped vector, and by a function."""
    x = lamina.Input((5, 3))
    scores = Conv1D(1, 3, padding="same")(x)
    reshaped = layers.Reshape((5, 1))(layers.Softmax()(Flatten()(scores)))
    return lamina.Model(x, [layers.Softmax(axis=1)(scores), reshaped, ops.softmax(scores, axis=1)])


@guilty("T306")
def binary_of_softmax() -> Any:
    return ending(10, "softmax", "binary_crossentropy")


@guilty("T306")
def binary_of_numbers() -> Any:
    return ending(3, "sigmoid", "binary_crossentropy", [0, 1, 2, 0])


@guilty("T307")
def narrow_targets() -> Any:
    return ending(3, None, "mse", np.ones((4, 2)))


@guilty("T308")
def counted_from_one() -> Any:
    return ending(3, "softmax", "sparse_categorical_crossentropy", [1, 2, 3, 1])


@guilty("T308")
def too_few_units() -> Any:
    return ending(3, "softmax", "sparse_categorical_crossentropy", [0, 7, 3, 1])


@guilty("T308")
def negative_number() -> Any:
    return ending(3, "softmax", "sparse_categorical_crossentropy", [0, -1, 2, 1])


@innocent("T308")
def ignored_number() -> Any:
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    return ending(3, "softmax", loss, [0, -1, 2, 1])


@guilty("T309")
def weights_frozen_one_by_one() -> Any:
    model = normalized()
    for weight in model.get_layer("norm").trainable_weights:
        weight.trainable = False
    return model


@innocent("T309")
def layer_frozen() -> Any:
    model = normalized()
    model.get_layer("norm").trainable = False
    return model


@innocent("T309")
def statistics_only() -> Any:
    return stack((4,), BatchNormalization(center=False, scale=False), Dense(1))


def normalized() -> Any:
    return stack((4,), Dense(3, use_bias=False), BatchNormalization(name="norm"), Dense(1))


# Weights.


@guilty("W401")
def bias_and_normalization() -> Any:
    return stack((8, 8, 3), Conv2D(4, 3, name="conv"), BatchNormalization(name="norm"), layers.ReLU())


@guilty("W401")
def bias_and_normalization_of_channels_first() -> Any:
    return stack((3, 64, 64), conv_first(), BatchNormalization(axis=1, name="norm"))


@innocent("W401")
def no_bias() -> Any:
    return stack((8, 8, 3), Conv2D(4, 3, use_bias=False), BatchNormalization(), layers.ReLU())


@innocent("W401")
def bias_before_activation() -> Any:
    return stack((8, 8, 3), Conv2D(4, 3, activation="relu"), BatchNormalization())


@innocent("W401")
def other_axis() -> Any:
    return stack((8, 8, 3), Conv2D(4, 3), BatchNormalization(axis=1))


@innocent("W401", "T309")
def fixed_statistics() -> Any:
    x = lamina.Input((4,))
    model = lamina.Model(x, BatchNormalization(name="norm")(Dense(4)(x), training=False))
    for weight in model.get_layer("norm").trainable_weights:
        weight.trainable = False
    return model


@guilty("W402")
def flat_maps() -> Any:
    return stack((28, 28, 1), Conv2D(32, 3), Flatten(name="flatten"), Dense(128, name="hidden"), Dense(10))


@innocent("W402")
def flat_pixels() -> Any:
    return stack((28, 28), Flatten(), Dense(128), Dense(10))


@innocent("W402")
def flat_position() -> Any:
    return stack((4, 4, 8), Conv2D(64, 4), Flatten(), Dense(1024))


# Data.


def pictures(shape: tuple[int, ...], scale: float = 1.0) -> Any:
    return (np.arange(np.prod(shape)).reshape(shape) % 256).astype("float32") * scale


@guilty("D501")
def raw_images() -> Any:
    return stack((28, 28, 1), Conv2D(8, 3, name="conv")), pictures((4, 28, 28, 1)).astype("uint8")


@guilty("D501")
def raw_images_for_a_nested_model() -> Any:
    inner = stack((28, 28), Flatten(), Dense(8, name="dense"), name="inner")
    return stack((28, 28), layers.Dropout(0.1), inner), pictures((4, 28, 28))


@innocent("D501")
def scaled_images() -> Any:
    return stack((28, 28, 1), Conv2D(8, 3)), pictures((4, 28, 28, 1), 1 / 255)


@innocent("D501")
def images_scaled_inside() -> Any:
    return stack((28, 28, 1), layers.Rescaling(1 / 255), Conv2D(8, 3)), pictures((4, 28, 28, 1))


@innocent("D501")
def centred_images() -> Any:
    return stack((28, 28, 3), Conv2D(8, 3)), pictures((4, 28, 28, 3)) - 103.0


@innocent("D501")
def class_numbers_in() -> Any:
    x = lamina.Input((20,), dtype="uint8")
    return lamina.Model(x, layers.Embedding(256, 4)(x)), pictures((4, 20)).astype("uint8")

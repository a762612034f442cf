"""Programs that each meet one shape error or shape warning, by name: what `test_messages.py` runs.

The programs of the layers stand in `message_programs_layers.py`.
"""

from __future__ import annotations

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

import lamina
from lamina import layers, losses
from message_programs_layers import PROGRAMS, image, program, zeros

__all__ = ["FILES", "PROGRAMS", "net", "write"]


# Functions, and layers without a rule.


@program
def ops_broadcast():
    _ = layers.Dense(4, name="four")(image(2, name="a")) + image(5, name="b")


@program
def ops_matmul():
    lamina.ops.matmul(image(4, name="a"), image(5, name="b"))


@program
def ops_targets():
    lamina.ops.categorical_crossentropy(zeros(2, 3), zeros(2, 4))


@program
def ops_attention():
    lamina.ops.dot_product_attention(zeros(2, 3, 4), zeros(2, 3, 4), zeros(2, 3, 4))


class Product(layers.Layer):
    def call(self, inputs):
        return inputs @ torch.zeros(4, 4)


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inside = layers.Dense(3, name="inside")

    def call(self, inputs):
        return self.inside(layers.Flatten()(inputs))


@program
def own_layer():
    Product(name="product")(image(5))


@program
def own_layer_open():
    layers.Lambda(lambda inputs: inputs.reshape(-1, 3), name="rows")(image(5))


@program
def own_layer_values():
    layers.Lambda(lambda inputs: inputs * inputs.sum().item(), name="scaled")(image(6))


@program
def inside_own_layer():
    block = Block(name="block")
    block(zeros(2, 4))
    block(layers.Dense(5, name="before")(image(2)))


@program
def inside_own_layer_eager():
    block = Block(name="block")
    block(zeros(2, 4))
    block(zeros(2, 5))


@program
def inside_own_layer_open():
    Block(name="block")(image(None, 3))


# Graphs that cannot be built, with the sizes up to there.


@program
def deep_graph():
    x = image(64, 64, 3)
    for index in range(8):
        x = layers.Conv2D(4, 3, padding="same", name=f"conv_{index}")(x)
        x = layers.MaxPooling2D(name=f"pool_{index}")(x)


def stack(name="stack", shape=(8, 8, 3)):
    convolutions = [layers.Conv2D(4, 3, name=f"conv_{index}") for index in range(4)]
    return lamina.Sequential([lamina.Input(shape, name="image"), *convolutions], name=name)


@program
def sequential_build():
    stack()


@program
def sequential_first_call():
    model = lamina.Sequential([layers.Conv2D(4, 3, name="conv"), layers.MaxPooling2D(8, name="pool")], name="stack")
    model(zeros(1, 9, 9, 3))


@program
def nested_model():
    stack("inner", (None, None, 3))(layers.MaxPooling2D(2, name="pool")(lamina.Input((16, 16, 3), name="photo")))


@program
def nested_model_on_data():
    outer = lamina.Sequential([lamina.Input((None, None, 3)), stack("inner", (None, None, 3))], name="outer")
    outer(zeros(1, 8, 8, 3))


@program
def from_config():
    config = stack(shape=(16, 16, 3)).get_config()
    config["layers"][0]["config"]["batch_shape"] = (None, 8, 8, 3)
    lamina.Sequential.from_config(config)


@program
def from_functional_config():
    x = image(16, 16, 3)
    left = layers.Conv2D(4, 3, strides=2, padding="same", name="left")(x)
    right = layers.AveragePooling2D(2, name="right")(x)
    config = lamina.Model(x, layers.Concatenate(name="join")([left, right]), name="fork").get_config()
    config["layers"][0]["config"]["batch_shape"] = (None, 15, 15, 3)
    lamina.Model.from_config(config)


@program
def two_outputs_in_the_table():
    class Halves(layers.Layer):
        def call(self, inputs):
            return inputs[:, :2], inputs[:, 2:]

    low, high = Halves(name="halves")(image(5))
    layers.Add(name="sum")([low, high])


# Batches.


def digits():
    parts = [layers.Conv2D(4, 3, name="conv"), layers.Flatten(name="flat"), layers.Dense(10, name="head")]
    model = lamina.Sequential([image(28, 28, 1), *parts], name="digits")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def pair():
    a, b = image(4, name="a"), image(5, name="b")
    one, two = layers.Dense(3, name="one")(a), layers.Dense(2, name="two")(layers.Concatenate(name="join")([a, b]))
    model = lamina.Model([a, b], [one, two], name="pair")
    model.compile("sgd", "mse")
    return model


@program
def predict_one_image():
    digits().predict(zeros(28, 28, 1), verbose=0)


@program
def predict_plain_image():
    digits().predict(zeros(28, 28), verbose=0)


@program
def predict_vectors():
    digits().predict(zeros(8, 784), verbose=0)


@program
def predict_vector():
    digits().predict(zeros(784), verbose=0)


@program
def fit_one_image():
    digits().fit(zeros(28, 28, 1), zeros(1), verbose=0)


@program
def fit_channels_first():
    digits().fit(torch.zeros(8, 1, 28, 28), zeros(8), verbose=0)


@program
def fit_colour():
    digits().fit(zeros(8, 28, 28, 3), zeros(8), verbose=0)


@program
def fit_batched_twice():
    digits().fit(zeros(1, 8, 28, 28, 1), zeros(1), verbose=0)


@program
def fit_samples_last():
    digits().fit(zeros(28, 28, 8, 1), zeros(28), verbose=0)


@program
def fit_generator():
    digits().fit(((zeros(4, 32, 32, 1), zeros(4)) for _ in range(2)), verbose=0)


@program
def fit_data_loader():
    samples = TensorDataset(torch.zeros(8, 1, 28, 28), torch.zeros(8))
    digits().fit(DataLoader(samples, batch_size=4), verbose=0)


@program
def fit_later_batch():
    digits().fit(((zeros(4, size, size, 1), zeros(4)) for size in (28, 14)), verbose=0)


@program
def fit_dict():
    digits().fit({"image": zeros(8, 28, 28, 4)}, zeros(8), verbose=0)


@program
def fit_validation():
    data = zeros(4, 28, 28, 1), zeros(4)
    digits().fit(*data, validation_data=(zeros(4, 28, 26, 1), zeros(4)), verbose=0)


@program
def fit_counts():
    digits().fit(zeros(8, 28, 28, 1), zeros(7), verbose=0)


@program
def evaluate_swapped_inputs():
    pair().evaluate([zeros(8, 5), zeros(8, 4)], [zeros(8, 3), zeros(8, 2)], verbose=0)


@program
def predict_second_input():
    pair().predict([zeros(8, 4), zeros(8, 6)], verbose=0)


@program
def predict_dict():
    pair().predict({"a": zeros(8, 4), "b": zeros(8, 6)}, verbose=0)


@program
def train_on_batch():
    digits().train_on_batch(zeros(8, 28, 28, 3), zeros(8))


@program
def call_without_batch():
    digits()(zeros(28, 28, 1))


@program
def unbuilt_subclass():
    class Net(lamina.Model):
        def __init__(self):
            super().__init__(name="net")
            self.conv = layers.Conv2D(4, 3, name="conv")

        def call(self, inputs):
            return self.conv(inputs)

    model = Net()
    model.compile("sgd", "mse")
    model.fit(zeros(8, 28, 28), zeros(8, 26, 26, 4), verbose=0)


# Targets and weights of the samples.


@program
def targets_one_hot():
    digits().fit(zeros(40, 28, 28, 1), zeros(40, 10), verbose=0)


@program
def targets_of_one_output():
    pair().fit([zeros(8, 4), zeros(8, 5)], [zeros(8, 3), zeros(8, 3)], verbose=0)


@program
def targets_in_a_step():
    pair().train_on_batch([zeros(8, 4), zeros(8, 5)], [zeros(8, 3), zeros(8, 3)])


@program
def targets_of_a_metric():
    model = lamina.Sequential([image(4), layers.Dense(3, name="head")], name="net")
    model.compile("sgd", lambda y_true, y_pred: (y_pred**2).sum(-1), metrics=["mse"])
    model.train_on_batch(zeros(8, 4), zeros(8, 2))


@program
def targets_class_numbers():
    losses.categorical_crossentropy(zeros(8), zeros(8, 10))


@program
def targets_repeated():
    losses.binary_crossentropy(zeros(10), zeros(10, 16))


@program
def targets_legacy():
    lamina.config.set_shape_policy("legacy")
    losses.binary_crossentropy(zeros(10), zeros(10, 16))


@program
def targets_of_a_number():
    losses.sparse_categorical_crossentropy(zeros(), zeros())


@program
def targets_longer():
    losses.sparse_categorical_crossentropy(zeros(7), zeros(8, 10))


@program
def one_class():
    losses.categorical_crossentropy(zeros(8, 1), zeros(8, 1))


@program
def sample_weight():
    losses.MeanSquaredError()(zeros(8, 7, 2), zeros(8, 7, 2), sample_weight=zeros(7))


@program
def sample_weight_legacy():
    lamina.config.set_shape_policy("legacy")
    losses.MeanSquaredError()(zeros(8, 7, 2), zeros(8, 7, 2), sample_weight=zeros(7))


# Files.


def net(units=4, channels=3):
    inputs = image(6, 6, channels)
    hidden = layers.Flatten()(layers.Conv2D(2, 3, name="conv")(inputs))
    return lamina.Model(inputs, layers.Dense(units, name="head")(hidden), name="net")


FILES = ["net.weights.h5", "net.keras", "net.safetensors", "legacy.h5"]


def write(model, path):
    if path.name != "legacy.h5":
        (model.save if path.suffix == ".keras" else model.save_weights)(path)
        return
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv", "head"]
        for layer in (model.get_layer("conv"), model.get_layer("head")):
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{name}:0" for name in ("kernel", "bias")]
            for name, value in zip(group.attrs["weight_names"], layer.get_weights(), strict=True):
                group[name] = value


@program
def load_units(folder):
    write(net(units=4), folder / "net.weights.h5")
    net(units=7).load_weights(folder / "net.weights.h5")


@program
def load_channels(folder):
    write(net(channels=3), folder / "net.safetensors")
    net(channels=1).load_weights(folder / "net.safetensors")


# Warnings, applications, explanations.


@program
def declared_input_shape():
    parts = [layers.Dense(32, input_shape=(4,), name="first"), layers.Dense(16, input_shape=(44,), name="second")]
    lamina.Sequential(parts, name="net")


@program
def declared_input_shape_strict():
    lamina.config.set_shape_policy("strict")
    declared_input_shape()


@program
def swapped_image():
    layers.Conv2D(10, 8, padding="same", name="conv")(image(1, 32, 32))


@program
def cut_in_block():
    x = image(8)
    one = layers.Dense(4, name="one")(x)
    other = layers.Dense(4, name="other")(x)
    layers.Add(name="sum")([layers.ReLU(name="relu")(one), other])
    lamina.Model(x, [one, other], name="part")


@program
def refused_cut():
    x = image(8)
    one = layers.Dense(8, name="one")(x)
    two = layers.Dense(8, name="two")(one)
    model = lamina.Model(x, layers.Add(name="sum")([layers.ReLU(name="relu")(two), x]), name="net")
    model.cut("one")


@program
def what_if_rank():
    net().what_if((None, 6, 6, 3, 1))


@program
def small_application():
    with lamina.device("meta"):
        lamina.applications.ResNet50(include_top=False, weights=None, input_shape=(10, 10, 3))


@program
def nasnet_of_open_size():
    with lamina.device("meta"):
        lamina.applications.NASNetMobile(weights=None, include_top=False, input_shape=(None, None, 3))


@program
def classes_of_another_number():
    lamina.applications.imagenet_utils.decode_predictions(np.zeros((2, 10)))


@program
def application_of_open_size():
    with lamina.device("meta"):
        lamina.applications.VGG16(weights=None, input_shape=(None, None, 3))

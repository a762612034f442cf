"""Why does ResNet50 demand 32×32, why does one's own run at 10×10, and how do RGB weights fit seven channels?"""

import keras
import numpy as np
from keras.applications import ResNet50
from keras.layers import Activation, Add, BatchNormalization, Conv2D, GlobalAveragePooling2D, Input, MaxPooling2D
from keras.models import Model


def refused():
    try:
        ResNet50(include_top=False, weights=None, input_shape=(10, 10, 3))
    except ValueError as error:
        return str(error)
    raise AssertionError("ResNet50 took an image of 10×10")


def small():
    return ResNet50(include_top=False, weights=None, input_shape=(10, 10, 3), min_size=None)


def own(channels=7, size=10):
    """A ResNet50 written by hand, with the layer names of Keras 1: conv1, bn_conv1, res2a_branch2a, ..."""
    inputs = Input((size, size, channels))
    x = Conv2D(64, 7, strides=2, padding="same", name="conv1")(inputs)
    x = Activation("relu")(BatchNormalization(name="bn_conv1")(x))
    x = MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, (filters, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=2):
        for block in range(blocks):
            x = bottleneck(x, filters, 2 if block == 0 and stage > 2 else 1, f"{stage}{'abcdef'[block]}", block == 0)
    return Model(inputs, GlobalAveragePooling2D()(x))


def bottleneck(x, filters, stride, name, project):
    shortcut = x
    if project:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"res{name}_branch1")(x)
        shortcut = BatchNormalization(name=f"bn{name}_branch1")(shortcut)
    for letter, width, kernel, strides in (("a", filters, 1, stride), ("b", filters, 3, 1), ("c", 4 * filters, 1, 1)):
        x = Conv2D(width, kernel, strides=strides, padding="same", name=f"res{name}_branch2{letter}")(x)
        x = BatchNormalization(name=f"bn{name}_branch2{letter}")(x)
        if letter != "c":
            x = Activation("relu")(x)
    return Activation("relu")(Add()([shortcut, x]))


def repeat_rgb(rgb, channels=7):
    """An RGB kernel for more channels, each copy scaled so that grey images give the same activations."""
    source = np.arange(channels) % 3
    return rgb[:, :, source, :] / np.bincount(source)[source][:, None]


def main():
    print(refused())
    print(small().predict(np.zeros((1, 10, 10, 3), "float32"), verbose=0).shape)
    model = own()
    rgb = np.random.default_rng(0).normal(size=(7, 7, 3, 64)).astype("float32")
    bias = model.get_layer("conv1").get_weights()[1]
    model.get_layer("conv1").set_weights([repeat_rgb(rgb), bias])
    print(model.predict(np.zeros((1, 10, 10, 7), "float32"), verbose=0).shape, "with", keras.__name__)
    return model


if __name__ == "__main__":
    main()

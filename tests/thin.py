"""Application models of one channel: the same graph and windows, run in an instant, each weight positive."""

from __future__ import annotations

from functools import cache

import torch

import lamina
from lamina import layers
from lamina.base import names
from lamina.base.errors import without_shape_warnings

# Without gates: a gate sees the whole image.
APPLICATIONS = (
    "DenseNet121 DenseNet169 DenseNet201 InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetMobile ResNet50 "
    "ResNet101 ResNet152 ResNet50V2 VGG16 VGG19 Xception"
).split()


@cache
def application(name):
    """The stock model on 224×224, without memory."""
    names.reset_names()
    with lamina.device("meta"):
        return getattr(lamina.applications, name)(weights=None, input_shape=(224, 224, 3))


def _thin(layer):
    config = layer.get_config()
    if isinstance(layer, layers.SeparableConv2D):
        config.update(filters=1, depthwise_initializer="ones", pointwise_initializer="ones")
    elif isinstance(layer, layers.DepthwiseConv2D):
        config.update(depthwise_initializer="ones")
    elif isinstance(layer, layers.Conv2D):
        config.update(filters=1, kernel_initializer="ones", bias_initializer="zeros", activation=None)
    elif isinstance(layer, layers.MaxPooling2D):  # whose gradient sees one position of each window
        kept = {key: config[key] for key in ("name", "pool_size", "strides", "padding", "data_format")}
        return layers.AveragePooling2D(**kept, dtype="float64")
    elif isinstance(layer, layers.BatchNormalization | layers.Activation | layers.ReLU):
        return layers.Identity(name=layer.name, dtype="float64")
    return type(layer).from_config({**config, "dtype": "float64"})


def thin(name, size, end=None):
    """The model up to the layer `end` (its last feature map by default) with one channel on size×size images."""
    model = application(name)
    if end is None:
        end = [layer.name for layer in model.layers if len(layer.output.shape) == 4 and layer.output.shape[1] > 1][-1]
    body = lamina.Model(model.input, model.get_layer(end).output, name=name)
    inputs = lamina.Input((size, size, 1), dtype="float64")
    return lamina.models.clone_model(body, inputs, _thin)


def influence(model, tensor, position):
    """Which rows and columns of the input have an influence on one position of a layer's output, from gradients."""
    height, width = model.input_shape[1:3]
    x = torch.ones(1, height, width, 1, dtype=torch.float64, requires_grad=True)
    with without_shape_warnings():  # of the cut inside a block
        value = lamina.Model(model.input, tensor)(x)
    scaled = value[0, position, position].sum().log()  # a product of many weights: its logarithm does not overflow
    scaled.backward()
    marked = x.grad[0, :, :, 0] != 0
    rows, columns = marked.any(1).nonzero().flatten().tolist(), marked.any(0).nonzero().flatten().tolist()
    return rows, columns

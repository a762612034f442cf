"""The networks of `gpu.py` in lamina and in plain torch, the same arithmetic in both, and the way of their weights.

ResNet-50 and the perceptron in plain torch are those of `plain_torch.py`; ViT-B/16 is here. All give logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from benchmarks import plain_torch
from torch import Tensor, nn
from torch.nn import functional

NETWORKS = ("ResNet-50", "ViT-B/16", "perceptron")


@dataclass(frozen=True)
class Sizes:
    """An image's side, and of a vision transformer the patch's side, width, blocks and heads."""

    image: int = 224
    patch: int = 16
    width: int = 768
    blocks: int = 12
    heads: int = 12

    @property
    def tokens(self) -> int:
        return (self.image // self.patch) ** 2


FULL = Sizes()
TINY = Sizes(image=32, patch=8, width=16, blocks=2, heads=2)


# ------------------------------------------------------------------------------------------------------------- lamina


def build(network: str, sizes: Sizes, policy: str) -> Any:
    """The network in lamina, under a dtype policy, with random weights."""
    import lamina

    before = lamina.config.dtype_policy()
    lamina.config.set_dtype_policy(policy)
    try:
        if network == "ResNet-50":
            shape = (sizes.image, sizes.image, 3)
            return lamina.applications.ResNet50(weights=None, input_shape=shape, classifier_activation=None)
        return vision_transformer(lamina, sizes) if network == "ViT-B/16" else perceptron(lamina)
    finally:
        lamina.config.set_dtype_policy(before)


def perceptron(keras: Any) -> Any:
    layers = keras.layers
    hidden = [layers.Dense(units, activation="relu") for units in (32, 16)]
    return keras.Sequential([keras.Input((4,)), *hidden, layers.Dense(1)])


def vision_transformer(keras: Any, sizes: Sizes) -> Any:
    layers = keras.layers

    class Tokens(layers.Layer):  # type: ignore[misc, name-defined]  # keras is a value here
        """A token for the class in front of the patches, and what tells the positions."""

        def build(self, input_shape: Any) -> None:
            self.token = self.add_weight((1, 1, sizes.width), "zeros", name="token")
            self.positions = self.add_weight((1, sizes.tokens + 1, sizes.width), "random_normal", name="positions")

        def call(self, inputs: Any) -> Any:
            token = keras.ops.broadcast_to(self.token, (inputs.shape[0], 1, sizes.width))
            return keras.ops.concatenate([keras.ops.cast(token, inputs.dtype), inputs], axis=1) + self.positions

    inputs = keras.Input((sizes.image, sizes.image, 3))
    x = layers.Conv2D(sizes.width, sizes.patch, strides=sizes.patch)(inputs)
    x = Tokens()(layers.Reshape((sizes.tokens, sizes.width))(x))
    for _ in range(sizes.blocks):
        normalized = layers.LayerNormalization(epsilon=1e-6)(x)
        attended = layers.MultiHeadAttention(sizes.heads, sizes.width // sizes.heads)(normalized, normalized)
        x = layers.Add()([x, attended])
        hidden = layers.Dense(4 * sizes.width, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = layers.Add()([x, layers.Dense(sizes.width)(hidden)])
    x = layers.LayerNormalization(epsilon=1e-6)(x)[:, 0]
    return keras.Model(inputs, layers.Dense(plain_torch.CLASSES)(x))


# -------------------------------------------------------------------------------------------------------- plain torch


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.project(self.norm_1(x)).chunk(3, -1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.join(attended.transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.widen(self.norm_2(x))))


class VisionTransformer(nn.Module):
    def __init__(self, sizes: Sizes):
        super().__init__()
        self.patches = nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch)
        self.token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.positions = nn.Parameter(torch.randn(1, sizes.tokens + 1, sizes.width) * 0.05)
        self.blocks = nn.Sequential(*(Block(sizes.width, sizes.heads) for _ in range(sizes.blocks)))
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)
        self.dense = nn.Linear(sizes.width, plain_torch.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.to(x.dtype).expand(len(x), -1, -1), x], 1) + self.positions
        return self.dense(self.norm(self.blocks(x))[:, 0])


class Logits(nn.Module):
    """ResNet-50 of `plain_torch`, which gives probabilities outside training, without them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plain_torch.ResNet50()

    def forward(self, x: Tensor) -> Tensor:
        return self.body.top.dense(self.body.blocks(self.body.stem(x)).mean((2, 3)))


def plain(network: str, sizes: Sizes) -> nn.Module:
    """The network in plain torch, for images (batch, channels, height, width)."""
    if network == "ResNet-50":
        return Logits()
    return VisionTransformer(sizes) if network == "ViT-B/16" else plain_torch.perceptron()


# ------------------------------------------------------------------------------------------------------------ weights


def carry(network: str, model: Any, module: nn.Module) -> None:
    """The weights of lamina's network into the plain one, in the order in which both list their layers."""
    weights = _resnet(model) if network == "ResNet-50" else _in_order(model)
    targets = _places(module)
    for value, target in zip(weights, targets, strict=True):
        if tuple(value.shape) != tuple(target.shape):
            raise ValueError(f"{network}: {value.shape} does not fit {tuple(target.shape)}")
        with torch.no_grad():
            target.copy_(torch.from_numpy(np.array(value)))


def _places(module: nn.Module) -> Iterator[Tensor]:
    """The parameters and statistics of the plain network: first of all convolutions, then of all normalisations, then
    of the rest, each in its order."""
    modules = list(module.modules())
    if isinstance(module, Logits):
        yield from (one.weight for one in modules if isinstance(one, nn.Conv2d))
        for one in modules:
            if isinstance(one, nn.BatchNorm2d):
                yield from (one.weight, one.bias)
                yield from (one.get_buffer("running_mean"), one.get_buffer("running_var"))
        yield from module.body.top.dense.parameters()
        return
    if isinstance(module, VisionTransformer):
        yield from module.patches.parameters()
        yield from (module.token, module.positions)
        for part in (module.blocks, module.norm, module.dense):
            yield from part.parameters()
        return
    yield from module.parameters()


def _resnet(model: Any) -> Iterator[np.ndarray]:
    """A bias in front of a normalisation has no place in the plain network: it goes into the mean behind it."""
    kinds = {name: [one for one in model.layers if type(one).__name__ == name] for name in ("Conv2D", KIND_OF_NORM)}
    biases = [one.get_weights()[1] for one in kinds["Conv2D"]]
    yield from (one.get_weights()[0].transpose(3, 2, 0, 1) for one in kinds["Conv2D"])
    for layer, bias in zip(kinds[KIND_OF_NORM], biases, strict=True):
        gamma, beta, mean, variance = layer.get_weights()
        yield from (gamma, beta, mean - bias, variance)
    yield from _turned(model.layers[-1].get_weights())


KIND_OF_NORM = "BatchNormalization"


def _in_order(model: Any) -> Iterator[np.ndarray]:
    for layer in model.layers:
        weights = layer.get_weights()
        if type(layer).__name__ == "MultiHeadAttention":
            yield from _attention(weights)
        elif weights:
            yield from _turned(weights)


def _turned(weights: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Kernels with the outputs first."""
    for value in weights:
        yield value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value


def _attention(weights: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Query, key and value as one matrix, then what joins the heads."""
    width = weights[0].shape[0]
    yield np.concatenate([kernel.reshape(width, -1).T for kernel in weights[0:6:2]])
    yield np.concatenate([bias.reshape(-1) for bias in weights[1:6:2]])
    yield weights[6].reshape(-1, width).T
    yield weights[7]

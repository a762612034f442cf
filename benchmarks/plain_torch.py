"""The networks in plain torch, as one who knows torch writes them for speed; the arithmetic is that of Keras's.

No bias in front of a batch normalisation, activations and additions in place. Convolutions of stride 2 pad one zero on
each side, which costs nothing; `padding="keras"` pads as Keras does (nothing above and left), for comparing outputs.
In training a network gives logits, else probabilities. Modules are created in the order of the layers of Keras's model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 1000


def convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int, padding: str) -> nn.Module:
    half = kernel // 2
    if padding == "keras" and stride == 2 and kernel > 1:  # for even sizes
        pad = nn.ZeroPad2d((half - 1, half, half - 1, half))
        return nn.Sequential(pad, nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False))
    return nn.Conv2d(inputs, outputs, kernel, stride, half, groups=groups, bias=False)


class Classifier(nn.Module):
    """Means of the feature maps, and a dense layer."""

    def __init__(self, features: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.dense = nn.Linear(features, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean((2, 3))
        if self.dropout and self.training:
            x = functional.dropout(x, self.dropout)
        logits = self.dense(x)
        return logits if self.training else logits.softmax(-1)


def resnet_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1.001e-5, momentum=0.01)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.convolution_1 = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.norm_1 = resnet_norm(width)
        self.convolution_2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm_2 = resnet_norm(width)
        project = inputs != 4 * width
        self.shortcut = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False) if project else None
        self.convolution_3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.shortcut_norm = resnet_norm(4 * width) if project else None
        self.norm_3 = resnet_norm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_1(self.convolution_1(x)).relu_()
        y = self.norm_2(self.convolution_2(y)).relu_()
        y = self.norm_3(self.convolution_3(y))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return y.add_(x).relu_()


class ResNet50(nn.Module):
    def __init__(self, padding: str = "torch"):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), resnet_norm(64), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)
        )
        blocks: list[nn.Module] = []
        inputs = 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for number in range(count):
                blocks.append(Bottleneck(inputs, width, stride if number == 0 else 1))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.top = Classifier(2048)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.blocks(self.stem(x)))


class DenseLayer(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.body = nn.Sequential(
            resnet_norm(inputs),
            nn.ReLU(True),
            nn.Conv2d(inputs, 128, 1, bias=False),
            resnet_norm(128),
            nn.ReLU(True),
            nn.Conv2d(128, 32, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.body(x)), 1)


class DenseNet121(nn.Module):
    def __init__(self, padding: str = "torch"):
        super().__init__()
        body: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), resnet_norm(64), nn.ReLU(True)]
        body.append(nn.MaxPool2d(3, 2, 1))
        channels = 64
        for stage, layers in enumerate((6, 12, 24, 16)):
            for _ in range(layers):
                body.append(DenseLayer(channels))
                channels += 32
            body += [resnet_norm(channels), nn.ReLU(True)]
            if stage < 3:
                body += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
                channels //= 2
        self.body = nn.Sequential(*body)
        self.top = Classifier(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.body(x))


class InvertedBlock(nn.Module):
    """MobileNetV2's: wider, a window on each channel, narrower."""

    def __init__(self, inputs: int, expansion: int, outputs: int, stride: int, padding: str):
        super().__init__()
        wide = inputs * expansion
        body: list[nn.Module] = []
        if expansion > 1:
            body += [nn.Conv2d(inputs, wide, 1, bias=False), mobile_norm(wide), nn.ReLU6(True)]
        body += [convolution(wide, wide, 3, stride, wide, padding), mobile_norm(wide), nn.ReLU6(True)]
        body += [nn.Conv2d(wide, outputs, 1, bias=False), mobile_norm(outputs)]
        self.body = nn.Sequential(*body)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return y.add_(x) if self.adds else y


def mobile_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.001)


class MobileNetV2(nn.Module):
    def __init__(self, padding: str = "torch"):
        super().__init__()
        body: list[nn.Module] = [convolution(3, 32, 3, 2, 1, padding), mobile_norm(32), nn.ReLU6(True)]
        inputs = 32
        rows = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        for expansion, outputs, count, stride in rows:
            for number in range(count):
                body.append(InvertedBlock(inputs, expansion, outputs, stride if number == 0 else 1, padding))
                inputs = outputs
        body += [nn.Conv2d(inputs, 1280, 1, bias=False), mobile_norm(1280), nn.ReLU6(True)]
        self.body = nn.Sequential(*body)
        self.top = Classifier(1280)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.body(x))


def efficient_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Gate(nn.Module):
    """Squeeze and excite: each channel times a number that is computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = functional.silu(self.reduce(x.mean((2, 3), keepdim=True)), inplace=True)
        return x * self.expand(gate).sigmoid_()


class EfficientBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, expansion: int, stride: int, drop: float, padding: str):
        super().__init__()
        wide = inputs * expansion
        body: list[nn.Module] = []
        if expansion > 1:
            body += [nn.Conv2d(inputs, wide, 1, bias=False), efficient_norm(wide), nn.SiLU(True)]
        body += [convolution(wide, wide, kernel, stride, wide, padding), efficient_norm(wide), nn.SiLU(True)]
        body += [Gate(wide, inputs // 4), nn.Conv2d(wide, outputs, 1, bias=False), efficient_norm(outputs)]
        self.body = nn.Sequential(*body)
        self.adds = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if not self.adds:
            return y
        if self.training and self.drop:
            y = y * torch.empty(len(y), 1, 1, 1, dtype=y.dtype).bernoulli_(1 - self.drop).div_(1 - self.drop)
        return y.add_(x)


class EfficientNetB0(nn.Module):
    """Reads values from 0 to 255: its first step scales them, as that of Keras's model does."""

    def __init__(self, padding: str = "torch"):
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("scale", torch.full((3, 1, 1), 1 / 255))
        body: list[nn.Module] = [convolution(3, 32, 3, 2, 1, padding), efficient_norm(32), nn.SiLU(True)]
        rows = (  # kernel, outputs, blocks, expansion, stride
            (3, 16, 1, 1, 1),
            (3, 24, 2, 6, 2),
            (5, 40, 2, 6, 2),
            (3, 80, 3, 6, 2),
            (5, 112, 3, 6, 1),
            (5, 192, 4, 6, 2),
            (3, 320, 1, 6, 1),
        )
        inputs, built, total = 32, 0, sum(row[2] for row in rows)
        for kernel, outputs, count, expansion, stride in rows:
            for number in range(count):
                step, drop = stride if number == 0 else 1, 0.2 * built / total
                body.append(EfficientBlock(inputs, outputs, kernel, expansion, step, drop, padding))
                inputs, built = outputs, built + 1
        body += [nn.Conv2d(inputs, 1280, 1, bias=False), efficient_norm(1280), nn.SiLU(True)]
        self.body = nn.Sequential(*body)
        self.top = Classifier(1280, dropout=0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.body((x - self.mean).mul_(self.scale)))


CONVNETS = {network.__name__: network for network in (ResNet50, DenseNet121, MobileNetV2, EfficientNetB0)}


class Recurrent(nn.Module):
    """The last state of an LSTM or a GRU, and a dense layer."""

    def __init__(self, cell: str, features: int, units: int, classes: int = 10):
        super().__init__()
        self.recurrence = (nn.LSTM if cell == "LSTM" else nn.GRU)(features, units, batch_first=True)
        self.dense = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.recurrence(x)[0][:, -1])


class TransformerBlock(nn.Module):
    """Attention and two dense layers, each behind a normalisation and beside a shortcut; then classes."""

    def __init__(self, width: int, heads: int, classes: int = 10):
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dense = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.project(self.norm_1(x)).chunk(3, -1)
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.join(attended.transpose(1, 2).reshape(batch, tokens, width))
        x = x + self.narrow(functional.gelu(self.widen(self.norm_2(x))))
        return self.dense(x.mean(1))


def encoder() -> nn.Module:
    """The convolutional encoder of handwritten digits of `workloads.encoder`."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(True),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(True),
        nn.MaxPool2d(3),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(True),
        nn.Conv2d(32, 16, 3),
        nn.ReLU(True),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(True), nn.Linear(32, 16), nn.ReLU(True), nn.Linear(16, 1))

"""The workloads in plain torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks import data, plain_torch
from benchmarks.case import Case
from torch import Tensor, nn
from torch.nn import functional


def from_images(x: np.ndarray) -> Tensor:
    """(batch, height, width, channels) → a view (batch, channels, height, width), which is channels_last already."""
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def step_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, policy: str, inputs: Callable[[np.ndarray], Tensor]
) -> Any:
    """One training step on a batch of NumPy arrays."""
    mixed = policy == "mixed_bfloat16"

    def step(x: np.ndarray, y: np.ndarray) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = model(inputs(x))
        loss = functional.cross_entropy(logits.float(), torch.from_numpy(y).long())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def convnet_step(network: str, policy: str = "float32") -> Any:
    model = plain_torch.CONVNETS[network]().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    return step_of(model, optimizer, policy, from_images)


def train(network: str, size: int, batch: int, policy: str = "float32") -> Case:
    step = convnet_step(network, policy)
    x, y = data.images(batch, size)
    return Case(lambda: step(x, y))


def train_sequence(model: nn.Module, shape: tuple[int, int, int]) -> Case:
    step = step_of(model, torch.optim.Adam(model.parameters(), fused=True), "float32", torch.from_numpy)
    x, y = data.sequences(*shape)
    return Case(lambda: step(x, y))


def train_recurrent(cell: str, units: int, batch: int, steps: int, features: int) -> Case:
    return train_sequence(plain_torch.Recurrent(cell, features, units), (batch, steps, features))


def train_transformer(width: int, heads: int, tokens: int, batch: int) -> Case:
    return train_sequence(plain_torch.TransformerBlock(width, heads), (batch, tokens, width))


def epoch(model: nn.Module, x: Tensor, y: Tensor, batch: int, loss_of: Any, right: Any) -> Case:
    """One epoch in a new order, with the mean loss and the accuracy, which are read once at the end."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def run() -> tuple[float, float]:
        order = torch.randperm(len(x))
        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for chosen in order.split(batch):
            wanted = y[chosen]
            logits = model(x[chosen])
            loss = loss_of(logits, wanted)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
            correct += right(logits.detach(), wanted)
        return total.item(), correct.item() / len(x)

    return Case(run, steps=-(-len(x) // batch))


def fit_encoder(batch: int, steps: int) -> Case:
    x, y = data.digits(batch * steps)
    model = plain_torch.encoder().to(memory_format=torch.channels_last)
    right = lambda logits, wanted: (logits.argmax(1) == wanted).sum()  # noqa: E731
    return epoch(model, from_images(x), torch.from_numpy(y).long(), batch, functional.cross_entropy, right)


def fit_perceptron(batch: int, steps: int) -> Case:
    x, y = data.rows(batch * steps)
    right = lambda logits, wanted: ((logits > 0) == wanted.bool()).sum()  # noqa: E731
    loss_of = functional.binary_cross_entropy_with_logits
    return epoch(plain_torch.perceptron(), torch.from_numpy(x), torch.from_numpy(y), batch, loss_of, right)


def predictor(network: str, policy: str = "float32") -> Callable[[np.ndarray], np.ndarray]:
    dtype = torch.float32 if policy == "float32" else torch.bfloat16
    model = plain_torch.CONVNETS[network]().to(memory_format=torch.channels_last, dtype=dtype).eval()

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(from_images(x).to(dtype)).float().numpy()

    return run


def predict(network: str, size: int, batch: int, policy: str = "float32") -> Case:
    run, x = predictor(network, policy), data.images(batch, size)[0]
    return Case(lambda: run(x))


def overhead_predict(calls: int) -> Case:
    """The program's own time: what one who knows torch pays for one sample, from array to array."""
    model, x = plain_torch.perceptron().append(nn.Sigmoid()).eval(), data.rows(1)[0]

    def run() -> None:
        for _ in range(calls):
            with torch.inference_mode():
                model(torch.from_numpy(x)).numpy()

    return Case(run, steps=calls)


def overhead_call(calls: int) -> Case:
    model, x = plain_torch.perceptron().append(nn.Sigmoid()).eval(), torch.from_numpy(data.rows(1)[0])

    def run() -> None:
        for _ in range(calls):
            model(x)

    return Case(run, steps=calls)


def save(network: str) -> Case:
    model = plain_torch.CONVNETS[network]()
    path = os.path.join(tempfile.mkdtemp(), "weights.pt")
    return Case(lambda: torch.save(model.state_dict(), path))


def load(network: str) -> Case:
    path = os.path.join(tempfile.mkdtemp(), "weights.pt")
    torch.save(plain_torch.CONVNETS[network]().state_dict(), path)

    def run() -> nn.Module:
        with torch.device("meta"):
            model = plain_torch.CONVNETS[network]()
        model.load_state_dict(torch.load(path, weights_only=True), assign=True)
        return model

    return Case(run)


def kinds(engine: str) -> dict[str, Any]:
    made = (train, train_recurrent, train_transformer, fit_encoder, fit_perceptron, predict)
    return {kind.__name__: kind for kind in (*made, overhead_predict, overhead_call, save, load)}

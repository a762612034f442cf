"""Whole `fit` of small models beside a plain torch loop: microseconds a step, interleaved, medians.

.venv/bin/python benchmarks/capture.py [perceptron|encoder] [rounds] [verbose] [threads]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

import lamina
from lamina import layers

BATCH = {"perceptron": 32, "encoder": 256}
SAMPLES = {"perceptron": 6_400, "encoder": 5_120}


def data(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    count = SAMPLES[name]
    shape = (count, 4) if name == "perceptron" else (count, 28, 28, 1)
    x = torch.rand(shape, generator=generator)
    if name == "perceptron":
        return x, (x.sum(1, keepdim=True) > 2).float()
    return x, torch.randint(0, 10, (count,), generator=generator)


def perceptron() -> Any:
    model = lamina.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def encoder() -> Any:
    model = lamina.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(3),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def plain_perceptron() -> tuple[torch.nn.Module, Callable[..., Any], Callable[..., Any]]:
    nn = torch.nn
    net = nn.Sequential(
        nn.Linear(4, 32),
        nn.ReLU(inplace=True),
        nn.Linear(32, 16),
        nn.ReLU(inplace=True),
        nn.Linear(16, 1),
        nn.Sigmoid(),
    )
    return net, torch.nn.functional.binary_cross_entropy, lambda out, y: ((out > 0.5) == y).sum()


def plain_encoder() -> tuple[torch.nn.Module, Callable[..., Any], Callable[..., Any]]:
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 16, 3),
        nn.ReLU(inplace=True),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    ).to(memory_format=torch.channels_last)
    return net, torch.nn.functional.cross_entropy, lambda out, y: (out.argmax(1) == y).sum()


def plain_epoch(parts: Any, optimizer: Any, x: torch.Tensor, y: torch.Tensor, batch: int) -> None:
    net, loss_of, right_of = parts
    order = torch.randperm(len(x))
    right, total = torch.zeros((), dtype=torch.long), torch.zeros(())
    for indices in order.split(batch):
        inputs, targets = x[indices], y[indices]
        optimizer.zero_grad(set_to_none=True)
        out = net(inputs)
        loss = loss_of(out, targets)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            right += right_of(out, targets)
            total += loss * len(inputs)
    right.item(), total.item()


def main(name: str = "perceptron", rounds: int = 7, verbose: int = 0, threads: int = 2) -> None:
    torch.set_num_threads(threads)
    x, y = data(name)
    batch, steps = BATCH[name], -(-SAMPLES[name] // BATCH[name])
    parts = {"perceptron": plain_perceptron, "encoder": plain_encoder}[name]()
    plain_x = x if name == "perceptron" else x.permute(0, 3, 1, 2)
    optimizer = torch.optim.Adam(parts[0].parameters(), fused=True)
    models = {}
    for jit in ("auto", False):
        models[jit] = {"perceptron": perceptron, "encoder": encoder}[name]()
        settings = models[jit].get_compile_config()
        models[jit].compile(**{**settings, "jit_compile": jit})
    actions: dict[str, Callable[[], Any]] = {
        "plain": lambda: plain_epoch(parts, optimizer, plain_x, y, batch),
        "lamina": lambda: models["auto"].fit(x, y, batch_size=batch, verbose=verbose),
        "lamina, jit_compile=False": lambda: models[False].fit(x, y, batch_size=batch, verbose=verbose),
    }
    times: dict[str, list[float]] = {key: [] for key in actions}
    for turn in range(rounds + 1):
        for key, action in actions.items():
            start = time.perf_counter()
            action()
            if turn:
                times[key].append((time.perf_counter() - start) / steps * 1e6)
    base = statistics.median(times["plain"])
    for key, values in times.items():
        median = statistics.median(values)
        print(f"{key:28} {median:10.1f} us a step  {median / base:6.2f} of plain  (least {min(values):.1f})")
    print(getattr(models["auto"], "captured_step", ""))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*arguments[:1], *[int(number) for number in arguments[1:]])

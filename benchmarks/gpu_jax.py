"""The networks of `gpu.py` in JAX with flax and optax, each step one compiled program, as an expert would write them.

Images have the channels last; parameters are float32 and products bfloat16, as lamina's policy mixed_bfloat16 has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from benchmarks.gpu_networks import Sizes
from flax import linen
from jax import numpy as jnp

CLASSES = 1000


def platform() -> str:
    return jax.default_backend()


def memory() -> int | None:
    """The peak of the process so far, as JAX counts it."""
    said = jax.local_devices()[0].memory_stats()
    return None if said is None else said.get("peak_bytes_in_use")


class ResNet50(linen.Module):
    @linen.compact
    def __call__(self, x: Any, train: bool) -> Any:
        dtype = jnp.bfloat16
        convolution = partial(linen.Conv, use_bias=False, dtype=dtype)
        norm = partial(linen.BatchNorm, use_running_average=not train, momentum=0.99, epsilon=1.001e-5, dtype=dtype)
        x = convolution(64, (7, 7), (2, 2), padding=3)(x)
        x = linen.max_pool(linen.relu(norm()(x)), (3, 3), (2, 2), ((1, 1), (1, 1)))
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for number in range(count):
                step, before = stride if number == 0 else 1, x
                y = linen.relu(norm()(convolution(width, (1, 1), (step, step))(x)))
                y = linen.relu(norm()(convolution(width, (3, 3), padding=1)(y)))
                y = norm()(convolution(4 * width, (1, 1))(y))
                if number == 0:
                    before = norm()(convolution(4 * width, (1, 1), (step, step))(x))
                x = linen.relu(before + y)
        return linen.Dense(CLASSES, dtype=dtype)(x.mean((1, 2))).astype(jnp.float32)


class VisionTransformer(linen.Module):
    sizes: Sizes

    @linen.compact
    def __call__(self, x: Any, train: bool) -> Any:
        sizes, dtype = self.sizes, jnp.bfloat16
        patch = (sizes.patch, sizes.patch)
        x = linen.Conv(sizes.width, patch, patch, padding="VALID", dtype=dtype)(x)
        x = x.reshape(len(x), sizes.tokens, sizes.width)
        token = self.param("token", linen.initializers.zeros, (1, 1, sizes.width))
        positions = self.param("positions", linen.initializers.normal(0.05), (1, sizes.tokens + 1, sizes.width))
        token = jnp.broadcast_to(token.astype(dtype), (len(x), 1, sizes.width))
        x = jnp.concatenate([token, x], 1) + positions.astype(dtype)
        for _ in range(sizes.blocks):
            normalized = linen.LayerNorm(1e-6, dtype=dtype)(x)
            x = x + linen.MultiHeadDotProductAttention(sizes.heads, dtype=dtype)(normalized, normalized)
            hidden = linen.Dense(4 * sizes.width, dtype=dtype)(linen.LayerNorm(1e-6, dtype=dtype)(x))
            x = x + linen.Dense(sizes.width, dtype=dtype)(linen.gelu(hidden, approximate=False))
        x = linen.LayerNorm(1e-6, dtype=dtype)(x)[:, 0]
        return linen.Dense(CLASSES, dtype=dtype)(x).astype(jnp.float32)


class Perceptron(linen.Module):
    @linen.compact
    def __call__(self, x: Any, train: bool) -> Any:
        for units in (32, 16):
            x = linen.relu(linen.Dense(units)(x))
        return linen.Dense(1)(x)


def network_of(network: str, sizes: Sizes) -> linen.Module:
    if network == "ResNet-50":
        return ResNet50()
    return VisionTransformer(sizes) if network == "ViT-B/16" else Perceptron()


def ready(
    kind: str, network: str, batch: int, sizes: Sizes, data: tuple[np.ndarray, np.ndarray]
) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """`run(steps)` and `wait()`, as `gpu.Case` has them."""
    module = network_of(network, sizes)
    x, y = data
    variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), x[:2])
    if kind == "predict":
        call = jax.jit(lambda variables, x: module.apply(variables, x, train=False))
        return lambda steps: [np.asarray(call(variables, x)) for _ in range(steps)], lambda: None
    optimizer = optax.adam(1e-3) if kind == "fit" else optax.sgd(0.01, momentum=0.9)
    params = variables.pop("params")
    trainer = Training(module, optimizer, params, variables)
    if kind == "fit":
        return trainer.epochs(jnp.asarray(x), jnp.asarray(y), batch), trainer.wait
    return trainer.steps(jnp.asarray(x), jnp.asarray(y)), trainer.wait


class Training:
    """The state of a training, (parameters, statistics, optimizer's), and what moves it on."""

    def __init__(self, module: linen.Module, optimizer: Any, params: Any, statistics: Any):
        self.module, self.optimizer = module, optimizer
        self.state = (params, statistics, optimizer.init(params))

    def wait(self) -> None:
        jax.block_until_ready(self.state)

    def loss(self, params: Any, statistics: Any, x: Any, y: Any) -> Any:
        logits, changed = self.module.apply({"params": params, **statistics}, x, train=True, mutable=list(statistics))
        if y.ndim == 2:
            return optax.sigmoid_binary_cross_entropy(logits, y).mean(), (changed, ((logits > 0) == (y > 0)).sum())
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), (changed, jnp.zeros((), jnp.int32))

    def step(self, state: Any, x: Any, y: Any) -> Any:
        """The next state, the loss, and how many were right."""
        params, statistics, own = state
        gradient = jax.value_and_grad(self.loss, has_aux=True)
        (loss, (statistics, right)), gradients = gradient(params, statistics, x, y)
        updates, own = self.optimizer.update(gradients, own, params)
        return (optax.apply_updates(params, updates), statistics, own), loss, right

    def steps(self, x: Any, y: Any) -> Callable[[int], float]:
        step = jax.jit(self.step, donate_argnums=0)

        def run(steps: int) -> float:
            total = 0.0
            for _ in range(steps):
                self.state, loss, _ = step(self.state, x, y)
                total = total + loss
            return float(total) / steps

        return run

    def epochs(self, x: Any, y: Any, batch: int) -> Callable[[int], Any]:
        """Epochs as a loop in Python over batches in a new order, each step one program; losses are read at the end."""
        step = jax.jit(
            lambda state, chosen: self.step(state, jnp.take(x, chosen, 0), jnp.take(y, chosen, 0)), donate_argnums=0
        )
        rng = np.random.default_rng(0)

        def epoch() -> tuple[float, float]:
            total, correct = 0.0, 0
            for chosen in np.split(rng.permutation(len(x)), len(x) // batch):
                self.state, loss, right = step(self.state, chosen)
                total, correct = total + loss, correct + right
            return float(total) * batch / len(x), float(correct) / len(x)

        each = len(x) // batch
        return lambda steps: [epoch() for _ in range(max(1, round(steps / each)))]

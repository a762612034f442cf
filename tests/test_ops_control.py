"""Control flow and custom gradients of `lamina.ops` beside Keras's, and what wrong arguments are told."""

from __future__ import annotations

import keras
import pytest
import torch

from lamina import ops
from lamina.base.errors import ShapeError
from lamina.graph.keras_tensor import KerasTensor


def test_control_flow_as_keras():
    for package in (ops, keras.ops):
        assert package.cond(torch.tensor(False), lambda: 1, lambda: 2) == 2
        assert package.switch(5, [lambda x: x, lambda x: x + 1], 3) == 4
        assert package.fori_loop(0, 4, lambda i, total: total + i, 0) == 6
        assert package.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, s + i), (0, 10))[1] == 13
        assert package.while_loop(lambda i: i < 9, lambda i: i + 1, 0, maximum_iterations=4) == 4
        carry, sums = package.scan(lambda c, x: (c + x, c * x), torch.tensor(1.0), torch.tensor([1.0, 2.0, 3.0]))
        assert (carry.item(), sums.tolist()) == (7.0, [1.0, 4.0, 12.0])
        _, sums = package.scan(lambda c, x: (c + x, c + x), torch.tensor(0), torch.tensor([1, 2, 3]), reverse=True)
        assert sums.tolist() == [6, 5, 3]
        assert package.map(lambda x: x.sum(), torch.ones(3, 2)).tolist() == [2, 2, 2]
        assert package.vectorized_map(lambda x: x[0] * x[1], (torch.ones(3, 2), torch.ones(3, 2))).shape == (3, 2)
        scanned = package.associative_scan(lambda a, b: a + b, torch.tensor([[1, 2, 3]]), axis=1, reverse=True)
        assert scanned.tolist() == [[6, 5, 3]]
        assert package.vectorize(lambda a, b: a * b)(torch.ones(2, 1), torch.ones(3)).shape == (2, 3)


def test_control_flow_on_symbols():
    x = KerasTensor((None, 4))
    assert ops.map(lambda row: row[:2] * 2, x).shape == (None, 2)
    assert ops.cond(True, lambda: x, lambda: x) is x


def test_custom_gradient():
    def log1pexp(package):
        def wrapped(x):
            e = package.exp(x)

            def gradient(*args, upstream=None):
                upstream = args[0] if upstream is None else upstream
                return package.multiply(upstream, 1.0 - 1.0 / package.add(1, e))

            return package.log(1 + e), gradient

        return package.custom_gradient(wrapped)

    slopes = []
    for package in (ops, keras.ops):
        x = torch.tensor(2.0, requires_grad=True)
        log1pexp(package)(x).backward()
        slopes.append(x.grad.item())
    assert slopes[0] == pytest.approx(slopes[1])


def test_errors_say_what_to_do():
    with pytest.raises(ShapeError, match="one shape"):
        ops.binary_crossentropy(torch.ones(10), torch.ones(10, 1))
    with pytest.raises(ValueError, match="4 channels"):
        ops.conv(torch.ones(1, 5, 3), torch.ones(2, 4, 6))
    with pytest.raises(ShapeError, match="does not fit"):
        ops.conv(torch.ones(1, 5, 4), torch.ones(7, 4, 6))
    with pytest.raises(ValueError, match="no tensor"):
        ops.add("text", 1)
    with pytest.raises(ValueError, match="axis 5"):
        ops.sum([1.0], axis=5)

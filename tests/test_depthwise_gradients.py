"""Depthwise convolutions with gradients of lamina's own: those of torch, and taken where torch's are slow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina import layers
from lamina.engine.depthwise import _Depthwise, depthwise, has_slow_gradients


def images(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    return made.contiguous(memory_format=torch.channels_last).requires_grad_()


def gradients(function, *tensors):
    outputs = function(*tensors)
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=torch.float64).reshape(outputs.shape).to(outputs.dtype)
    return [outputs, *torch.autograd.grad((outputs * weights).sum(), tensors)]


@st.composite
def convolutions(draw):
    """(height, width, kernel, strides, pads) with at least one output along each axis."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 9)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = tuple(draw(st.integers(0, length // 2)) for length in kernel)
    sizes = tuple(draw(st.integers(max(1, length - 2 * pad), 12)) for length, pad in zip(kernel, pads, strict=True))
    return sizes, kernel, strides, pads


@settings(deadline=None, max_examples=60)
@given(convolutions(), st.sampled_from([torch.float64, torch.bfloat16]))
def test_gradients_are_those_of_torch(convolution, dtype):
    sizes, kernel, strides, pads = convolution
    bias = torch.linspace(-1, 1, 3).to(dtype).requires_grad_()
    tensors = images(2, 3, *sizes, dtype=dtype), images(3, 1, *kernel, dtype=dtype, seed=1), bias
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    ours = gradients(lambda x, weight, bias: depthwise(x, weight, bias, strides, pads), *tensors)
    theirs = gradients(lambda x, weight, bias: torch.conv2d(x, weight, bias, strides, pads, 1, 3), *exact)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype is dtype
        near = 1e-12 if dtype is torch.float64 else 0.02
        torch.testing.assert_close(one.double(), other, rtol=near, atol=near * max(other.abs().max().item(), 1))


def test_a_pad_as_wide_as_the_kernel():
    x, weight = images(1, 2, 5, 5, dtype=torch.bfloat16), images(2, 1, 2, 2, dtype=torch.bfloat16)
    ours = gradients(lambda x, weight: depthwise(x, weight, None, (2, 2), (2, 2)), x, weight)
    theirs = gradients(lambda x, weight: torch.conv2d(x, weight, None, 2, 2, 1, 2), x, weight)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own, for forward mode
@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_of_gradients_and_forward_too(strides):
    def function(x, weight, bias):
        return _Depthwise.apply(x, weight, bias, strides, (1, 2))

    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    tensors = images(1, 2, 4, 6), images(2, 1, 3, 5), bias
    assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, tensors)


def test_under_vmap():
    x, weight = torch.randn(3, 2, 2, 5, 6), torch.randn(2, 1, 3, 5)

    def loss(weight, x):
        return (depthwise(x, weight, None, (1, 1), (1, 2)) ** 2).sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)
    for one, image in zip(together, x, strict=True):
        torch.testing.assert_close(one, torch.func.grad(loss)(weight, image), rtol=1e-4, atol=1e-4)


def test_where_they_are_taken():
    def taken(kernel=3, strides=1, dtype=torch.float32, groups=4, dilation=1, needs=(True, True)):
        x = images(1, 4, 9, 9, dtype=dtype).requires_grad_(needs[0])
        weight = images(4, 4 // groups, kernel, kernel, dtype=dtype).requires_grad_(needs[1])
        return has_slow_gradients(x, weight, (strides, strides), (dilation, dilation), groups)

    assert taken(kernel=5)
    assert taken(kernel=5, dtype=torch.bfloat16)
    assert taken(strides=2, dtype=torch.bfloat16)
    assert not taken()
    assert not taken(strides=2)
    assert not taken(kernel=5, groups=1)
    assert not taken(kernel=5, dilation=2)
    assert not taken(kernel=5, dtype=torch.float64)
    assert not taken(kernel=5, needs=(True, False))
    assert not taken(strides=2, dtype=torch.bfloat16, needs=(False, True))
    with torch.no_grad():
        assert not taken(kernel=5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("layer", [layers.DepthwiseConv2D, layers.SeparableConv2D])
def test_layers_train_as_with_torch(monkeypatch, policy, layer):
    def trained():
        lamina.utils.set_random_seed(2)
        options = {"filters": 4} if layer is layers.SeparableConv2D else {}
        model = lamina.Sequential(
            [layers.Input((9, 9, 4)), layer(kernel_size=5, strides=2, padding="same", dtype=policy, **options)]
        )
        model.compile("sgd", "mse")
        x = np.random.default_rng(0).standard_normal((8, 9, 9, 4)).astype("float32")
        losses = model.fit(x, np.ones((8, 5, 5, 4), "float32"), epochs=8, batch_size=4, verbose=0).history["loss"]
        assert model.captured_step.fit.shapes
        return losses

    ours = trained()
    calls = []
    monkeypatch.setattr("lamina.engine.kernels.has_slow_gradients", lambda *_: calls.append(1))
    theirs = trained()
    assert calls
    np.testing.assert_allclose(ours, theirs, rtol=1e-5 if policy == "float32" else 1e-2)

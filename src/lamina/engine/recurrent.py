"""Recurrent layers over whole sequences: torch's fused kernels, and step loops with one product for all inputs.

Weights are Keras's: a kernel (features, gates·units) and a recurrent kernel (units, gates·units), with the gates side
by side; LSTM: input, forget, candidate, output; GRU: update, reset, candidate. Sequences are (batch, steps, features),
outputs (batch, steps, units). No function here knows masks but `squeezed`, which takes the masked steps out.

torch's LSTM runs in oneDNN on a CPU; its GRU and simple RNN go step by step there, and the loops below are faster.
Training step with Adam at 32 examples of 100 steps, 64 features, 128 units, interleaved on two busy cores: the GRU took
0.61 of torch's time (medians; 0.37 of the minima), the simple RNN 0.69 (0.58).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor


def _trains(*tensors: Tensor | None) -> bool:
    """What torch's kernels need to know: whether a gradient will be asked for."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def lstm(
    x: Tensor, h: Tensor, c: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs of all steps and the last two states. torch has the gates in the same order; its second bias is 0."""
    weights = [kernel.t(), recurrent.t()]
    if bias is not None:
        weights += [bias, torch.zeros_like(bias)]
    training = _trains(x, h, c, *weights)
    outputs, h, c = torch.lstm(x, (h[None], c[None]), weights, bias is not None, 1, 0.0, training, False, True)
    return outputs, h[0], c[0]


def gru(x: Tensor, h: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The outputs of all steps and the last state, for the GRU whose reset gate works behind the product (reset_after).
    `bias` is (2, 3·units): of the inputs, of the states."""
    if x.device.type == "cpu":
        inner = None if bias is None else bias[1]
        outputs = _GRULoop.apply(_projected(x, kernel, bias if bias is None else bias[0]), h, recurrent, inner)
        return outputs.transpose(0, 1), outputs[-1]
    return torch_gru(x, h, kernel, recurrent, bias)


def torch_gru(x: Tensor, h: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """`gru` with torch's kernel, which has the reset gate before the update gate. cuDNN's on a GPU."""
    weights = [_reset_first(kernel.t()), _reset_first(recurrent.t())]
    if bias is not None:
        weights += [_reset_first(bias[0]), _reset_first(bias[1])]
    outputs, last = torch.gru(x, h[None], weights, bias is not None, 1, 0.0, _trains(x, h, *weights), False, True)
    return outputs, last[0]


def _reset_first(weight: Tensor) -> Tensor:
    update, reset, candidate = weight.chunk(3)
    return torch.cat([reset, update, candidate])


def simple_rnn(x: Tensor, h: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The outputs of all steps and the last state of `h = tanh(x · kernel + h · recurrent + bias)`."""
    if x.device.type == "cpu":
        outputs = _TanhLoop.apply(_projected(x, kernel, bias), h, recurrent)
        return outputs.transpose(0, 1), outputs[-1]
    return torch_simple_rnn(x, h, kernel, recurrent, bias)


def torch_simple_rnn(
    x: Tensor, h: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`simple_rnn` with torch's kernel, cuDNN's on a GPU."""
    weights = [kernel.t(), recurrent.t()]
    if bias is not None:
        weights += [bias, torch.zeros_like(bias)]
    training = _trains(x, h, *weights)
    outputs, last = torch.rnn_tanh(x, h[None], weights, bias is not None, 1, 0.0, training, False, True)
    return outputs, last[0]


def _projected(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """The inputs' share in all gates of all steps, in one product: (steps, batch, gates·units)."""
    return torch.nn.functional.linear(x.transpose(0, 1), kernel.t(), bias).contiguous()


class _GRULoop(torch.autograd.Function):
    """The steps of a GRU. Backward, a gate's gradient is the state's times a factor that the forward run has fixed, so
    all factors are computed at once and four small operations remain for a step."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, first: Tensor, recurrent: Tensor, bias: Tensor | None) -> Tensor:
        steps, batch, units = inputs.shape[0], inputs.shape[1], first.shape[1]
        first, recurrent = first.to(inputs.dtype), recurrent.to(inputs.dtype)
        states = inputs.new_empty(steps + 1, batch, units)
        states[0] = first
        inner = inputs.new_empty(steps, batch, 3 * units)  # the states' share in the gates
        gates = inputs.new_empty(steps, batch, 2 * units)
        candidates = inputs.new_empty(steps, batch, units)
        rows = zip(
            states[:-1].unbind(),
            states[1:].unbind(),
            inner.unbind(),
            inner[..., : 2 * units].unbind(),
            inner[..., 2 * units :].unbind(),
            inputs[..., : 2 * units].unbind(),
            inputs[..., 2 * units :].unbind(),
            gates.unbind(),
            gates[..., :units].unbind(),
            gates[..., units:].unbind(),
            candidates.unbind(),
            strict=True,
        )
        for before, after, own, own_gates, own_candidate, x_gates, x_candidate, both, update, reset, candidate in rows:
            _affine(bias, before, recurrent, own)
            torch.add(x_gates, own_gates, out=both).sigmoid_()
            torch.addcmul(x_candidate, reset, own_candidate, out=candidate).tanh_()
            torch.lerp(candidate, before, update, out=after)
        ctx.save_for_backward(states, inner, gates, candidates, recurrent)
        ctx.has_bias = bias is not None
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        states, inner, gates, candidates, recurrent = ctx.saved_tensors
        steps, batch, units = candidates.shape
        update, reset = gates[..., :units], gates[..., units:]
        kept = 1 - update
        of_candidate = kept * (1 - candidates.square())
        factors = gates.new_empty(steps, batch, 3, units)
        torch.mul(states[:-1] - candidates, update * kept, out=factors[:, :, 0])
        torch.mul(of_candidate * inner[..., 2 * units :], reset * (1 - reset), out=factors[:, :, 1])
        torch.mul(of_candidate, reset, out=factors[:, :, 2])
        of_states, of_gates = torch.empty_like(candidates), torch.empty_like(factors)
        carried, turned = gates.new_zeros(batch, units), recurrent.t()
        for step in reversed(range(steps)):
            own = torch.add(carried, grad[step], out=of_states[step])
            torch.mul(factors[step], own.unsqueeze(1), out=of_gates[step])
            carried = torch.mul(own, update[step], out=carried).addmm_(of_gates[step].view(batch, -1), turned)
        flat = of_gates.view(steps, batch, 3 * units)
        of_inputs = flat.clone()
        torch.mul(of_states, of_candidate, out=of_inputs[..., 2 * units :])
        of_recurrent = states[:-1].reshape(-1, units).t() @ flat.view(-1, 3 * units)
        return of_inputs, carried, of_recurrent, flat.sum((0, 1)) if ctx.has_bias else None


class _TanhLoop(torch.autograd.Function):
    """The steps of a simple RNN, as `_GRULoop`."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, first: Tensor, recurrent: Tensor) -> Tensor:
        first, recurrent = first.to(inputs.dtype), recurrent.to(inputs.dtype)
        states = inputs.new_empty(inputs.shape[0] + 1, *first.shape)
        states[0] = first
        rows = states.unbind()
        for own, before, after in zip(inputs.unbind(), rows[:-1], rows[1:], strict=True):
            _affine(own, before, recurrent, after).tanh_()
        ctx.save_for_backward(states, recurrent)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        states, recurrent = ctx.saved_tensors
        factors = 1 - states[1:].square()
        of_inputs = torch.empty_like(factors)
        carried, turned = torch.zeros_like(states[0]), recurrent.t()
        for step in reversed(range(factors.shape[0])):
            own = torch.mul(carried.add_(grad[step]), factors[step], out=of_inputs[step])
            torch.mm(own, turned, out=carried)
        units = recurrent.shape[0]
        return of_inputs, carried, states[:-1].reshape(-1, units).t() @ of_inputs.view(-1, units)


def _affine(shift: Tensor | None, x: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    return torch.mm(x, weight, out=out) if shift is None else torch.addmm(shift, x, weight, out=out)


def squeezed(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The sequences with their unmasked steps moved to the front, and how many of these there are up to each step.

    A masked step leaves the state as it is, so a kernel that knows no masks can run over the result: what it gives
    after n steps holds at every step that has n unmasked ones behind it. No mask's values need to be known beforehand.

    >>> x, mask = torch.tensor([[[5.0], [6.0], [7.0]]]), torch.tensor([[False, True, True]])
    >>> squeezed(x, mask)
    (tensor([[[6.],
             [7.],
             [5.]]]), tensor([[0, 1, 2]]))
    """
    order = torch.argsort(~mask, dim=1, stable=True)
    return x.gather(1, order.unsqueeze(-1).expand_as(x)), mask.cumsum(1)


def after(outputs: Tensor, counts: Tensor, before: Tensor | None = None) -> Tensor:
    """The outputs (batch, steps, units) after `counts` steps (batch, n); after none, `before` (batch, units) or 0."""
    places = (counts - 1).clamp_min(0).unsqueeze(-1).expand(-1, -1, outputs.shape[-1])
    found = outputs.gather(1, places)
    first = found.new_zeros(()) if before is None else before.unsqueeze(1).to(found.dtype)
    return torch.where(counts.unsqueeze(-1) > 0, found, first)

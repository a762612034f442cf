"""Tensors of lamina beside those of Keras on torch."""

from __future__ import annotations

import numpy as np


def assert_agree(ours, theirs, rtol=1e-5, atol=1e-6):
    """The same shape and type, and numbers that differ by rounding."""
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)

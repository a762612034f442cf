"""Products, decompositions and solutions of matrices. Batches of matrices lie on the leading axes."""

from __future__ import annotations

from typing import Any

import torch

from lamina.base.registry import public
from lamina.graph.record import op
from lamina.ops.convert import Axis, Tensor, as_axes, as_float, as_tensor, promote
from lamina.ops.core import jvp as jvp


@public("ops")
@op
def matmul(x1: Any, x2: Any) -> Tensor:
    """The product of matrices: (…, m, k) and (…, k, n) to (…, m, n). Products of int8 are summed in int32.

    >>> matmul([[1, 2]], [[3], [4]]).tolist()
    [[11]]
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.dtype is x2.dtype is torch.int8:
        x1, x2 = x1.to(torch.int32), x2.to(torch.int32)
    return _multiplied(torch.matmul, *promote(x1, x2))


def _multiplied(product: Any, *tensors: Tensor) -> Tensor:
    """A product of tensors; bools, which torch does not multiply, go through int32."""
    if tensors[0].dtype is torch.bool:
        return product(*(tensor.to(torch.int32) for tensor in tensors)).to(torch.bool)
    return product(*tensors)


@public("ops")
@op
def dot(x1: Any, x2: Any) -> Tensor:
    """The sum of products over the last axis of `x1` and the last but one of `x2`; with a scalar, the product.

    >>> dot([1, 2], [3, 4]).tolist()
    11
    """
    x1, x2 = promote(x1, x2)
    if x1.ndim == 0 or x2.ndim == 0:
        return x1 * x2
    return _multiplied(lambda a, b: torch.tensordot(a, b, dims=([-1], [0 if b.ndim == 1 else -2])), x1, x2)


@public("ops")
@op
def vdot(x1: Any, x2: Any) -> Tensor:
    """The sum of products of the flat tensors; the first is conjugated.

    >>> vdot([1, 2], [3, 4]).tolist()
    11
    """
    return _multiplied(lambda a, b: torch.vdot(a.flatten(), b.flatten()), *promote(x1, x2))


@public("ops")
@op
def inner(x1: Any, x2: Any) -> Tensor:
    """The sum of products over the last axis of both.

    >>> inner([1, 2], [3, 4]).tolist()
    11
    """
    return _multiplied(torch.inner, *promote(x1, x2))


@public("ops")
@op
def outer(x1: Any, x2: Any) -> Tensor:
    """Every product of an element of `x1` (a row) and one of `x2` (a column).

    >>> outer([1, 2], [3, 4]).tolist()
    [[3, 4], [6, 8]]
    """
    x1, x2 = promote(x1, x2, one_device=True)
    return torch.outer(x1.flatten(), x2.flatten())


@public("ops")
@op
def kron(x1: Any, x2: Any) -> Tensor:
    """Every element of `x1` replaced by its product with the whole of `x2`.

    >>> kron([1, 2], [1, 10]).tolist()
    [1, 10, 2, 20]
    """
    return torch.kron(*promote(x1, x2, one_device=True))


@public("ops")
@op
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Tensor:
    """The sum of products over axes: the last so many of `x1` with the first of `x2`, or two lists of axes.

    >>> tensordot([[1, 2]], [3, 4], axes=1).tolist()
    [11]
    """
    dims = axes if isinstance(axes, int) else tuple([one] if isinstance(one, int) else list(one) for one in axes)
    return _multiplied(lambda a, b: torch.tensordot(a, b, dims), *promote(x1, x2))


@public("ops")
@op
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Tensor:
    """Sums of products in Einstein's notation: `"bij,jk->bik"`.

    >>> einsum("ij,j->i", [[1, 2], [3, 4]], [1, 1]).tolist()
    [3, 7]
    """
    tensors = promote(*operands)
    if len(tensors) > 1 and tensors[0].dtype is torch.int8:  # as in matmul
        tensors = [tensor.to(torch.int32) for tensor in tensors]
    return _multiplied(lambda *all_of_them: torch.einsum(subscripts, *all_of_them), *tensors)


@public("ops")
@op
def cross(x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Tensor:
    """The cross product of vectors of 3 (or 2) elements, which lie along the axes.

    >>> cross([1, 0, 0], [0, 1, 0]).tolist()
    [0, 0, 1]
    """
    x1, x2 = promote(x1, x2)
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    x1, x2 = torch.moveaxis(x1, axisa, -1), torch.moveaxis(x2, axisb, -1)
    flat = x1.shape[-1] == x2.shape[-1] == 2
    x1, x2 = (torch.nn.functional.pad(x, (0, 3 - x.shape[-1])) for x in (x1, x2))
    product = torch.linalg.cross(*torch.broadcast_tensors(x1, x2), dim=-1)
    return product[..., 2] if flat else torch.moveaxis(product, -1, axisc)


@public("ops")
@op
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of the diagonal of two axes.

    >>> trace([[1, 2], [3, 4]]).tolist()
    5
    """
    x = as_tensor(x)
    small = x.dtype in (torch.bool, torch.int8, torch.uint8, torch.int16)
    return torch.sum(torch.diagonal(x, offset, axis1, axis2), -1, dtype=torch.int32 if small else x.dtype)


@public("ops")
@op
def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The length of vectors (one axis) or the norm of matrices (two axes), of order `ord`.

    >>> norm([3.0, 4.0]).tolist()
    5.0
    """
    x = as_float(x)
    if axis is None and ord is None:
        return torch.linalg.vector_norm(x, 2, as_axes(None, x.ndim), keepdims)
    axes = tuple(axis) if isinstance(axis, list | tuple) else axis
    return torch.linalg.norm(x, ord, axes, keepdims)


@public("ops")
@op
def det(x: Any) -> Tensor:
    """The determinant: (…, n, n) to (…).

    >>> det([[2.0, 0.0], [0.0, 3.0]]).tolist()
    6.0
    """
    return torch.linalg.det(as_float(x))


@public("ops")
@op
def slogdet(x: Any) -> tuple[Tensor, Tensor]:
    """The sign and the logarithm of the size of the determinant.

    >>> [part.tolist() for part in slogdet([[1.0, 0.0], [0.0, -1.0]])]
    [-1.0, 0.0]
    """
    sign, logarithm = torch.linalg.slogdet(as_float(x))
    return sign, logarithm


@public("ops")
@op
def logdet(x: Any) -> Tensor:
    """The logarithm of the determinant; nan if that is negative.

    >>> logdet([[1.0, 0.0], [0.0, 1.0]]).tolist()
    0.0
    """
    return torch.logdet(as_float(x))


@public("ops")
@op
def inv(x: Any) -> Tensor:
    """The inverse matrix.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return torch.linalg.inv(as_float(x))


@public("ops")
@op
def pinv(x: Any, rcond: float | None = None) -> Tensor:
    """The inverse of Moore and Penrose: (…, m, n) to (…, n, m). Singular values below `rcond` of the largest are 0.

    >>> pinv([[1.0, 0.0, 0.0]]).shape
    torch.Size([3, 1])
    """
    return torch.linalg.pinv(as_float(x), rtol=rcond)


@public("ops")
@op
def solve(a: Any, b: Any) -> Tensor:
    """The x with `a @ x = b`; b is (…, n) or (…, n, k).

    >>> solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0]).tolist()
    [1.0, 1.0]
    """
    a, b = promote(a, b, floating=True)
    if b.ndim == a.ndim - 1:
        return torch.linalg.solve(a, b.unsqueeze(-1)).squeeze(-1)
    return torch.linalg.solve(a, b)


@public("ops")
@op
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Tensor:
    """The x with `a @ x = b`, for `a` with zeros below (or, with `lower`, above) its diagonal.

    >>> solve_triangular([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0]).tolist()
    [1.0, 1.0]
    """
    a, b = promote(a, b, floating=True)
    if b.ndim == a.ndim - 1:
        return torch.linalg.solve_triangular(a, b.unsqueeze(-1), upper=not lower).squeeze(-1)
    return torch.linalg.solve_triangular(a, b, upper=not lower)


@public("ops")
@op
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Tensor:
    """The x for which `a @ x` is nearest to `b`, and the shortest of them.

    >>> lstsq([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0]).shape
    torch.Size([2])
    """
    a, b = promote(a, b, floating=True)
    x = torch.linalg.pinv(a, rtol=rcond) @ (b.unsqueeze(-1) if b.ndim == a.ndim - 1 else b)
    return x.squeeze(-1) if b.ndim == a.ndim - 1 else x


@public("ops")
@op
def cholesky(x: Any, upper: bool = False) -> Tensor:
    """The triangular factor L with `L @ L.T = x`, or with `upper` its transpose.

    >>> cholesky([[4.0]]).tolist()
    [[2.0]]
    """
    return torch.linalg.cholesky(as_float(x), upper=upper)


@public("ops")
@op
def cholesky_inverse(x: Any, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose factor of `cholesky` this is.

    >>> cholesky_inverse([[2.0]]).tolist()
    [[0.25]]
    """
    return torch.cholesky_inverse(as_float(x), upper=upper)


@public("ops")
@op
def qr(x: Any, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """An orthogonal q and a triangular r with `q @ r = x`; `mode` is `"reduced"` or `"complete"`.

    >>> [part.shape for part in qr([[1.0], [2.0]])]
    [torch.Size([2, 1]), torch.Size([1, 1])]
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"mode is 'reduced' or 'complete'; got {mode!r}.")
    q, r = torch.linalg.qr(as_float(x), mode)
    return q, r


@public("ops")
@op
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """u, s, v with `u @ diag(s) @ v = x`; the singular values s alone without `compute_uv`.

    >>> svd([[3.0]], compute_uv=False).tolist()
    [3.0]
    """
    x = as_float(x)
    return tuple(torch.linalg.svd(x, full_matrices)) if compute_uv else torch.linalg.svdvals(x)


@public("ops")
@op
def eig(x: Any) -> tuple[Tensor, Tensor]:
    """The eigenvalues and eigenvectors (columns), both complex.

    >>> values, vectors = eig([[2.0, 0.0], [0.0, 3.0]])
    >>> values.real.tolist()
    [2.0, 3.0]
    """
    values, vectors = torch.linalg.eig(as_float(x))
    return values, vectors


@public("ops")
@op
def eigh(x: Any) -> tuple[Tensor, Tensor]:
    """The eigenvalues, rising, and eigenvectors (columns) of a symmetric matrix.

    >>> values, vectors = eigh([[3.0, 0.0], [0.0, 2.0]])
    >>> values.tolist()
    [2.0, 3.0]
    """
    values, vectors = torch.linalg.eigh(as_float(x))
    return values, vectors


@public("ops")
@op
def lu_factor(x: Any) -> tuple[Tensor, Tensor]:
    """Both triangular factors in one matrix, and the rows (int32, from 0) each row was exchanged with.

    >>> [part.tolist() for part in lu_factor([[2.0, 0.0], [0.0, 2.0]])]
    [[[2.0, 0.0], [0.0, 2.0]], [0, 1]]
    """
    factors, pivots = torch.linalg.lu_factor(as_float(x))
    return factors, pivots - 1


@public("ops")
@op
def matrix_rank(x: Any, tol: float | None = None) -> Tensor:
    """The number of singular values above `tol`, as int32.

    >>> matrix_rank([[1.0, 0.0], [2.0, 0.0]]).tolist()
    1
    """
    return torch.linalg.matrix_rank(as_float(x), atol=tol).to(torch.int32)


@public("ops")
@op
def corrcoef(x: Any) -> Tensor:
    """The correlations between the rows: (n, observations) to (n, n).

    >>> corrcoef([[1.0, 2.0], [2.0, 4.0]]).shape
    torch.Size([2, 2])
    """
    x = as_float(x)
    centred = x - torch.mean(x, -1, keepdim=True)
    covariance = centred @ centred.T
    deviation = torch.sqrt(torch.diagonal(covariance))
    return covariance / (deviation[:, None] * deviation)


@public("ops")
@op
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Tensor:
    """The sums of products at every shift of one vector along the other; `mode` as in `np.correlate`.

    >>> correlate([1.0, 2.0, 4.0], [3.0, 4.0]).tolist()
    [11.0, 22.0]
    """
    if mode not in ("valid", "same", "full"):
        raise ValueError(f"mode is 'valid', 'same' or 'full'; got {mode!r}.")
    x1, x2 = promote(x1, x2, floating=True)
    turned = x1.numel() < x2.numel()
    longer, shorter = (x2, x1) if turned else (x1, x2)
    padding = shorter.numel() - 1
    sums = torch.nn.functional.conv1d(longer[None, None], shorter[None, None], padding=padding)[0, 0]
    sums = sums.flip(0) if turned else sums
    if mode == "full":
        return sums
    before = padding if mode == "valid" else padding // 2 if not turned else (padding + 1) // 2
    length = longer.numel() - (padding if mode == "valid" else 0)
    return sums.narrow(0, before, length)


@public("ops")
@op
def cdist(x: Any, y: Any) -> Tensor:
    """The distance of every row of `x` (…, m, d) from every row of `y` (…, n, d): (…, m, n).

    >>> cdist([[0.0, 0.0]], [[3.0, 4.0]]).tolist()
    [[5.0]]
    """
    x, y = promote(x, y, floating=True)
    return torch.cdist(x, y)

"""Where tensors are made: `with lamina.device("meta"):` builds without memory."""

from __future__ import annotations

import platform
from functools import cache

import torch

from lamina.base.scope import Scoped

_device: Scoped[torch.device | None] = Scoped(None)


def current_device() -> torch.device:
    """The device of the enclosing `lamina.device` block, else cuda where there is one, else the CPU."""
    if _device.value is not None:
        return _device.value
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


@cache
def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16; True where nobody knows, as on ARM."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class device:
    """A block in which weights and new tensors live on this device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`, `"meta"`.

    On `"meta"` a model of any size is built, summarised and explained with no weight memory.

    >>> import lamina
    >>> with lamina.device("meta"):
    ...     dense = lamina.layers.Dense(10**6); dense.build((None, 10**6))
    >>> dense.kernel.device.type, dense.count_params()
    ('meta', 1000001000000)
    """

    def __init__(self, name: str | torch.device):
        kind = str(name).lower()
        if kind.startswith("gpu"):
            kind = "cuda" + kind[3:]
        if kind.split(":")[0] not in ("cpu", "cuda", "mps", "meta"):
            raise ValueError(
                f"A device is 'cpu', 'cuda', 'mps' or 'meta', with ':0' behind it if need be; got {name!r}."
            )
        self.device = torch.device(kind)

    def __enter__(self) -> torch.device:
        self._block = _device.set(self.device)
        self._block.__enter__()
        return self.device

    def __exit__(self, *exception: object) -> None:
        self._block.__exit__(None, None, None)

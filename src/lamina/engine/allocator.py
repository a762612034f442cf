"""Memory between steps: on Linux, glibc gives every large block back to the system when it is freed, and the next step
asks for it again, page by page. lamina tells it once to keep what is freed.

A training step on a processor frees and takes some hundred MB; the pages that come back empty cost a tenth of a step of
ResNet50 and a third of one of a small convolutional network. Kept are blocks of up to 32 MiB and at most 1 GiB in all.
`LAMINA_RETURN_MEMORY=1` in the environment leaves the allocator as it is, and so does a setting of its own there
(`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`, `GLIBC_TUNABLES`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # the names of <malloc.h>
_OWN_SETTINGS = ("LAMINA_RETURN_MEMORY", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> bool:
    """Does it, at the first call; whether it was done. Elsewhere than on Linux with glibc it does nothing."""
    if sys.platform != "linux" or any(os.environ.get(name) for name in _OWN_SETTINGS):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, 2**25) and library.mallopt(_TRIM_THRESHOLD, 2**30))

"""Floor 4: the functions of `keras.ops`, each a plain function over torch tensors.

They take torch tensors, NumPy arrays, numbers and lists. On a symbolic tensor they record a node instead. Types follow
Keras (see `lamina.ops.convert`), but 64-bit types are never narrowed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lamina.base.registry import known_names, lookup
from lamina.ops import (  # they fill the table of public names
    arithmetic,
    convert,
    convolution,
    core,
    creation,
    elementwise,
    image,
    indexing,
    linalg,
    nn,
    reductions,
    sorting,
    spectral,
    structure,
)
from lamina.ops.convert import no_such_name

# Names of keras.ops that are still to come.
_UNFINISHED = ("ctc_decode", "ctc_loss", "istft", "rearrange", "stft")

if TYPE_CHECKING:  # the same names for editors and mypy, which do not run the next line
    from lamina.ops.arithmetic import *  # noqa: F403
    from lamina.ops.convert import *  # noqa: F403
    from lamina.ops.convolution import *  # noqa: F403
    from lamina.ops.core import *  # noqa: F403
    from lamina.ops.creation import *  # noqa: F403
    from lamina.ops.elementwise import *  # noqa: F403
    from lamina.ops.indexing import *  # noqa: F403
    from lamina.ops.linalg import *  # noqa: F403
    from lamina.ops.nn import *  # noqa: F403
    from lamina.ops.reductions import *  # noqa: F403
    from lamina.ops.sorting import *  # noqa: F403
    from lamina.ops.spectral import *  # noqa: F403
    from lamina.ops.structure import *  # noqa: F403

# The decorator @public has written down every function of the modules above, with its aliases.
globals().update({name: lookup("ops", name) for name in known_names("ops") if "." not in name})


def __getattr__(name: str) -> Any:
    if name == "numpy":  # keras.ops.numpy holds functions that are all here
        return sys.modules[__name__]
    raise no_such_name("ops", name, _UNFINISHED, globals())

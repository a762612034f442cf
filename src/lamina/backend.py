"""`keras.backend`: settings, `clear_session`, and the tensor functions that old scripts call."""

from lamina.compat.backend import *  # noqa: F403
from lamina.compat.backend import __getattr__ as __getattr__

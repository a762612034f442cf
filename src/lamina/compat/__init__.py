"""Old names and other people's imports: nothing here runs unless a script asks for it.

`translate` reads Keras 1's and 2's spellings, `old_name` serves names that are gone, and `install()` lets
`import keras` and `import tensorflow` find lamina.
"""

from __future__ import annotations

from lamina.compat.calls import translate
from lamina.compat.importing import install, installed, uninstall
from lamina.compat.old_names import old_name, old_names

__all__ = ["install", "installed", "old_name", "old_names", "translate", "uninstall"]

"""lamina's main job on real images: train, explain, save, load, draw. `make demo` runs it, as `lamina demo` does."""

from __future__ import annotations

import sys
import warnings

from lamina.cli.demo import main

if __name__ == "__main__":
    warnings.simplefilter("default")
    sys.exit(0 if main()["difference"] == 0 else 1)

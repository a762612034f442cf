"""Makes the Fashion-MNIST subset that lamina carries: 6,000 training and 1,000 test images, equally many a class.

    python tools/make_fashion_subset.py [--source ../shared/data/fashion-mnist] [--output subset.npz]

The selection: of each class the first 600 training images and the first 100 test images, in the order of the original
files. Nothing is random, so the same files give the same subset. The original order is kept across classes as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lamina.datasets import fashion_mnist

ROOT = Path(__file__).resolve().parent.parent
PER_CLASS = {"train": 600, "test": 100}


def first_of_each_class(labels: np.ndarray, per_class: int) -> np.ndarray:
    """The positions of the first `per_class` entries of every class, in rising order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT.parent / "shared" / "data" / "fashion-mnist")
    parser.add_argument("--output", type=Path, default=fashion_mnist.BUNDLED)
    arguments = parser.parse_args()
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data(path=arguments.source)
    train = first_of_each_class(y_train, PER_CLASS["train"])
    test = first_of_each_class(y_test, PER_CLASS["test"])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        arguments.output, x_train=x_train[train], y_train=y_train[train], x_test=x_test[test], y_test=y_test[test]
    )
    print(f"{arguments.output}: {len(train)} + {len(test)} images, {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""Fashion-MNIST: 70,000 grey images of clothes, 28×28, in ten classes (Zalando, MIT licence)."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lamina.data.download import DownloadError, cache_directory, get_file

Array = np.ndarray[Any, Any]
Split = tuple[Array, Array]

ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
BUNDLED = Path(__file__).parent / "bundled" / "fashion_mnist_subset.npz"
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# SHA-256 of each file as it is published, and of what it holds. A copy may carry another gzip header (Debian's lacks
# the original name and date), so files that are given by `path=` are held against the second. The MD5 sums that Zalando
# published belong to the first: tests/test_datasets.py restores the original headers and compares.
FILES: dict[str, tuple[str, str]] = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


def load_data(path: str | os.PathLike[str] | None = None, subset: str | None = None) -> tuple[Split, Split]:
    """`(x_train, y_train), (x_test, y_test)`: images (n, 28, 28) from 0 to 255 and labels (n,), all uint8.

    Without arguments all 60,000 + 10,000 images, fetched once and kept in `datasets/fashion-mnist` of the cache
    (`~/.keras`, or `LAMINA_HOME`), where Keras's download is found too.

    Parameters: `path`, a folder that holds the four files (`train-images-idx3-ubyte.gz` ...), packed or unpacked;
    `subset="bundled"`, the 6,000 + 1,000 images in the package, the first 600 and 100 of each class: no network.

    Errors: `DownloadError` (an OSError) without network, FileNotFoundError when `path` lacks a file, ValueError for a
    file with other content or another subset.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017, arXiv:1708.07747.

    >>> (x_train, y_train), (x_test, y_test) = load_data(subset="bundled")
    >>> x_train.shape, y_test.shape, CLASS_NAMES[y_train[0]]
    ((6000, 28, 28), (1000,), 'Ankle boot')
    """
    if subset is not None:
        if subset != "bundled":
            raise ValueError(f"The only subset of Fashion-MNIST is 'bundled'; got {subset!r}.")
        if path is not None:
            raise ValueError("Pass path= for all images or subset='bundled' for those in the package, not both.")
        with np.load(BUNDLED) as arrays:
            return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    folder = _fetched() if path is None else Path(path).expanduser()
    return (
        (_read(folder, "train-images-idx3-ubyte.gz"), _read(folder, "train-labels-idx1-ubyte.gz")),
        (_read(folder, "t10k-images-idx3-ubyte.gz"), _read(folder, "t10k-labels-idx1-ubyte.gz")),
    )


def _fetched() -> Path:
    subfolder = os.path.join("datasets", "fashion-mnist")
    folder = cache_directory() / subfolder
    for name, (packed_hash, content_hash) in FILES.items():
        # A good copy with another gzip header, put there by hand, is not fetched again.
        if (folder / name).is_file() and hashlib.sha256(_content(folder / name)).hexdigest() == content_hash:
            continue
        try:
            get_file(name, ADDRESS + name, file_hash=packed_hash, cache_subdir=subfolder)
        except DownloadError as error:
            raise DownloadError(
                f"Fashion-MNIST could not be fetched. Two ways out: load_data(path='folder') with a folder that holds "
                f"{', '.join(FILES)}; or load_data(subset='bundled') for the 6,000 + 1,000 images in the package, "
                f"which need no network.\n{error}"
            ) from error
    return folder


def _read(folder: Path, name: str) -> Array:
    """The array of an IDX file: two zero bytes, the type, the number of axes, the sizes (big-endian), the values."""
    packed, unpacked = folder / name, folder / name.removesuffix(".gz")
    file = packed if packed.is_file() else unpacked
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder} holds neither {name} nor {unpacked.name}; Fashion-MNIST needs {', '.join(FILES)}."
        )
    content = _content(file)
    if hashlib.sha256(content).hexdigest() != FILES[name][1]:
        raise ValueError(f"{file} is not the {name} of Fashion-MNIST, or it is damaged: its content has another hash.")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    # A copy, for an array over bytes is read-only and torch would warn of that.
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()


def _content(file: Path) -> bytes:
    """The bytes of a file, unpacked if need be; a damaged archive has no content, so that its hash is wrong."""
    packed = file.read_bytes()
    if file.suffix != ".gz":
        return packed
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        return b""

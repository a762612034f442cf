"""Fashion-MNIST: the files, the bundled subset, and what is said without a network."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import shutil
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from lamina.data import DownloadError
from lamina.datasets import fashion_mnist

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data" / "fashion-mnist"
needs_files = pytest.mark.skipif(not SHARED.is_dir(), reason="the original files lie in the project's shared folder")

# MD5 sums from Zalando's page (and torchvision), and the date in the header of each published file.
PUBLISHED = {
    "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 1504176606),
    "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", 1504176606),
    "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", 1504176627),
    "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", 1504176627),
}


def published_form(name: str) -> bytes:
    """A shared file with the gzip header that the published one has: original name and date."""
    packed = (SHARED / name).read_bytes()
    head = b"\x1f\x8b\x08\x08" + struct.pack("<I", PUBLISHED[name][1]) + b"\x00\x03"
    return head + name.removesuffix(".gz").encode() + b"\x00" + packed[10:]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "datasets" / "fashion-mnist"


@needs_files
@pytest.mark.parametrize("name", PUBLISHED)
def test_hashes_are_those_of_the_published_files(name):
    packed = published_form(name)
    assert hashlib.md5(packed).hexdigest() == PUBLISHED[name][0]
    hashes = hashlib.sha256(packed).hexdigest(), hashlib.sha256(gzip.decompress(packed)).hexdigest()
    assert fashion_mnist.FILES[name] == hashes


@needs_files
def test_all_images_of_the_original_files():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data(path=SHARED)
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10


SIZES = {"train": 40, "t10k": 10}


@pytest.fixture
def made_files(tmp_path, monkeypatch):
    """A folder with four small IDX files of Fashion-MNIST's names, and their hashes in place of the published ones."""
    folder, hashes = tmp_path / "made", {}
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in PUBLISHED:
        count = SIZES[name.split("-")[0]]
        shape = (count, 28, 28) if "images" in name else (count,)
        values = rng.integers(0, 256, shape, "uint8") if "images" in name else np.arange(count, dtype="uint8") % 10
        content = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()
        packed = gzip.compress(content, mtime=0)
        (folder / name).write_bytes(packed)
        hashes[name] = (hashlib.sha256(packed).hexdigest(), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(fashion_mnist, "FILES", hashes)
    return folder


def test_path_loads_all_images(made_files):
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data(path=made_files)
    assert (x_train.shape, x_test.shape) == ((40, 28, 28), (10, 28, 28))
    assert y_train[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert {array.dtype.name for array in (x_train, y_train, x_test, y_test)} == {"uint8"}
    assert x_train.flags.writeable


def test_files_in_the_cache_need_no_network(made_files, own_cache, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "ADDRESS", "http://127.0.0.1:9/")
    shutil.copytree(made_files, own_cache)
    assert fashion_mnist.load_data()[1][1].shape == (10,)


def test_files_are_fetched_and_read(made_files, own_cache, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "ADDRESS", made_files.as_uri() + "/")
    assert fashion_mnist.load_data()[0][0].shape == (40, 28, 28)
    assert {path.name for path in own_cache.iterdir()} == set(PUBLISHED)


def test_unpacked_and_damaged_files(made_files, tmp_path):
    for name in PUBLISHED:
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress((made_files / name).read_bytes()))
    assert fashion_mnist.load_data(path=tmp_path)[1][0].shape == (10, 28, 28)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes((made_files / "t10k-labels-idx1-ubyte.gz").read_bytes()[:20])
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte.gz is not the .* of Fashion-MNIST, or it is damaged"):
        fashion_mnist.load_data(path=tmp_path)


def test_bundled_subset():
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data(subset="bundled")
    assert (x_train.shape, x_train.dtype, x_test.shape) == ((6000, 28, 28), np.uint8, (1000, 28, 28))
    assert np.bincount(y_train).tolist() == [600] * 10
    assert np.bincount(y_test).tolist() == [100] * 10
    assert (fashion_mnist.BUNDLED.parent / "LICENSE-fashion-mnist").is_file()


@needs_files
def test_subset_is_what_the_tool_makes():
    specification = importlib.util.spec_from_file_location("make_subset", ROOT / "tools" / "make_fashion_subset.py")
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    everything, bundled = fashion_mnist.load_data(path=SHARED), fashion_mnist.load_data(subset="bundled")
    for (images, labels), (some_images, some_labels), per_class in zip(
        everything, bundled, tool.PER_CLASS.values(), strict=True
    ):
        chosen = tool.first_of_each_class(labels, per_class)
        np.testing.assert_array_equal(images[chosen], some_images)
        np.testing.assert_array_equal(labels[chosen], some_labels)


def test_without_network_both_ways_out_are_named_at_once(monkeypatch):
    monkeypatch.setattr(fashion_mnist, "ADDRESS", "http://127.0.0.1:9/")
    start = time.perf_counter()
    with pytest.raises(DownloadError) as caught:
        fashion_mnist.load_data()
    assert time.perf_counter() - start < 10
    message = str(caught.value)
    for part in ("load_data(path='folder')", "load_data(subset='bundled')", "http://127.0.0.1:9/train-images-idx3"):
        assert part in message


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="The only subset of Fashion-MNIST is 'bundled'; got 'small'"):
        fashion_mnist.load_data(subset="small")
    with pytest.raises(ValueError, match="not both"):
        fashion_mnist.load_data(path=tmp_path, subset="bundled")
    with pytest.raises(FileNotFoundError, match=r"holds neither train-images-idx3-ubyte.gz nor"):
        fashion_mnist.load_data(path=tmp_path)

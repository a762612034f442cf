"""Batches, splits, class weights, small encodings and downloads, against Keras where the behaviour is Keras's."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import tarfile
import threading
import time
import warnings
import zipfile

import numpy as np
import pytest
import torch

from lamina.data import (
    DownloadError,
    PyDataset,
    get_file,
    make_loader,
    normalize,
    pad_sequences,
    to_categorical,
    train_validation_split,
)


@pytest.fixture(scope="module")
def keras_batches(keras):
    """What a Keras model sees in `fit`: the batches with dtypes, as NumPy."""

    class Recorder(keras.Model):
        def __init__(self):
            super().__init__()
            self.seen = []

        def build(self, shape):
            self.built = True

        def call(self, x):
            return x

        def train_step(self, data):
            self.seen.append([None if part is None else part.cpu().numpy() for part in data])
            return {"loss": 0.0}

    def record(*args, **kwargs):
        model = Recorder()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.build(None)
            model.compile("sgd", "mse")
            model.fit(*args, verbose=0, **kwargs)
        return model.seen

    return record


def epochs_of(loader, epochs=1):
    return [list(loader) for _ in range(epochs)]


def assert_same_batches(loader, expected, epochs=1):
    ours = [batch for epoch in epochs_of(loader, epochs) for batch in epoch]
    assert len(ours) == len(expected)
    for batch, wanted in zip(ours, expected, strict=True):
        for part, value in zip(batch, wanted):  # noqa: B905  # Keras leaves missing parts off
            assert part.numpy().dtype == value.dtype
            np.testing.assert_array_equal(part.numpy(), value)


def column(count, dtype="float64"):
    return np.arange(count, dtype=dtype)[:, None]


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "uint16", "uint32", "bool"]
)
def test_array_batches_equal_keras(keras_batches, dtype):
    x = column(7).astype(dtype)
    expected = keras_batches(x, x[:, 0], batch_size=3, shuffle=False)
    assert_same_batches(make_loader(x, x[:, 0], batch_size=3), expected)


def test_default_batch_size_and_torch_tensors_equal_keras(keras_batches):
    x, y = torch.arange(70, dtype=torch.float64)[:, None], torch.arange(70)
    loader = make_loader(x, y)
    assert (loader.batch_size, loader.num_batches, loader.num_samples) == (32, 3, 70)
    assert_same_batches(loader, keras_batches(x, y, shuffle=False))


def test_pandas_equals_keras(keras_batches):
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3, 4, 5]})
    expected = keras_batches(frame, frame["b"], batch_size=2, shuffle=False)
    assert_same_batches(make_loader(frame, frame["b"], batch_size=2), expected)
    mixed = pd.DataFrame({"a": [1.0, 2.0], "flag": [True, False]})
    assert next(iter(make_loader(mixed)))[0].tolist() == [[1.0, 1.0], [2.0, 0.0]]
    with pytest.raises(ValueError, match=r"x has columns that are no numbers.*'name'"):
        make_loader(pd.DataFrame({"a": [1.0], "name": ["b"]}))


def test_nested_parts_and_lists_of_numbers():
    x = {"image": np.zeros((5, 2, 2)), "more": [[1], [2], [3], [4], [5]]}
    loader = make_loader(x, (np.arange(5), [1.0, 2, 3, 4, 5]), batch_size=4)
    first, last = list(loader)
    assert first[0]["image"].shape == (4, 2, 2)
    assert last[0]["more"].tolist() == [[5]]
    assert isinstance(first[1], tuple)
    assert last[1][1].tolist() == [5.0]
    assert first[2] is None


@pytest.mark.parametrize("shuffle", [True, "batch"])
def test_shuffling_keeps_pairs_and_changes_by_epoch(shuffle):
    torch.manual_seed(3)
    loader = make_loader(column(50), np.arange(50), batch_size=8, shuffle=shuffle)
    first, second = ([y.tolist() for _, y, _ in epoch] for epoch in epochs_of(loader, 2))
    assert first != second
    assert sorted(label for batch in first for label in batch) == list(range(50))
    assert [len(batch) for batch in first] == [8] * 6 + [2]
    x, y, _ = loader.peek()
    assert x[:, 0].tolist() == y.tolist()
    if shuffle == "batch":
        assert all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in first)


def test_order_follows_the_seed():
    orders = []
    for _ in range(2):
        torch.manual_seed(5)
        orders.append([x.tolist() for x, _, _ in make_loader(column(9), batch_size=4, shuffle=True)])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_steps_of_arrays_go_on_as_in_keras(keras_batches, steps):
    x = column(6)
    expected = keras_batches(x, x, steps_per_epoch=steps, batch_size=2, epochs=3, shuffle=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same_batches(make_loader(x, x, batch_size=2, steps=steps), expected, epochs=3)


def test_unwritable_reversed_and_big_endian_arrays():
    frozen = np.arange(4.0, dtype="float32")
    frozen.flags.writeable = False
    for x in (frozen, np.arange(4.0)[::-1], np.arange(4, dtype=">i2"), np.arange(4, dtype=">f8")):
        np.testing.assert_array_equal(next(iter(make_loader(x)))[0].numpy(), x)


def test_a_plain_array_is_not_copied():
    x = np.zeros((4, 1), dtype="float32")
    assert next(iter(make_loader(x)))[0].data_ptr() == x.ctypes.data


def test_peek_uses_nothing_up():
    loader = make_loader(iter([(column(1),), (column(2),)]))
    assert loader.peek()[0].shape == (1, 1)
    assert [x.shape[0] for x, _, _ in loader] == [1, 2]
    with pytest.raises(ValueError, match="gave no batch"):
        loader.peek()


def test_epoch_broken_off_starts_anew():
    loader = make_loader(np.arange(6), batch_size=2)
    next(iter(loader))
    assert [x.tolist() for x, _, _ in loader] == [[0, 1], [2, 3], [4, 5]]


def batches(count):
    for index in range(count):
        yield np.full((1, 1), float(index)), np.array([index])


def test_generator_goes_on_over_epochs_and_warns_when_it_ends(keras_batches):
    loader = make_loader(batches(5), steps=2)
    assert loader.num_batches == 2
    with pytest.warns(UserWarning, match="The data ran out: this epoch wanted 2 batches and got 1"):
        seen = epochs_of(loader, 3)
    assert [[y.item() for _, y, _ in epoch] for epoch in seen] == [[0, 1], [2, 3], [4]]
    assert loader.exhausted
    assert seen[0][0][0].dtype is torch.float32
    expected = keras_batches(batches(5), steps_per_epoch=2, epochs=3)
    assert [batch[1].item() for batch in expected] == [0, 1, 2, 3, 4]


def test_generator_without_steps_is_one_epoch():
    loader = make_loader(batches(3))
    assert loader.num_batches is None
    assert len(list(loader)) == 3
    assert loader.exhausted
    with pytest.warns(UserWarning, match="wanted a batch and got 0"):
        assert list(loader) == []


class Counting(PyDataset):
    def __init__(self, length=4, **kwargs):
        super().__init__(**kwargs)
        self.length = length
        self.events = []

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        time.sleep(0.005 * (index % 2))
        return np.full((1, 1), float(index)), np.array([index])

    def on_epoch_begin(self):
        self.events.append("begin")

    def on_epoch_end(self):
        self.events.append("end")


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_py_dataset(workers):
    dataset = Counting(9, workers=workers, max_queue_size=2)
    loader = make_loader(dataset)
    assert loader.num_batches == 9
    assert [y.item() for _, y, _ in loader] == list(range(9))
    loader.on_epoch_end()
    assert dataset.events == ["begin", "end"]
    torch.manual_seed(0)
    shuffled = [y.item() for _, y, _ in make_loader(dataset, shuffle=True)]
    assert shuffled != list(range(9))
    assert sorted(shuffled) == list(range(9))


def test_py_dataset_equals_keras(keras, keras_batches):
    class Same(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return np.full((1, 1), index, dtype="float32"), np.array([index])

    for steps in (None, 2, 6):
        expected = keras_batches(Same(), shuffle=False, steps_per_epoch=steps, epochs=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_same_batches(make_loader(Counting(), steps=steps), expected, epochs=3)


def test_py_dataset_thread_raises_its_error_and_a_subclass_may_skip_init():
    class Broken(PyDataset):
        def __init__(self):
            pass

        def __len__(self):
            return 3

        def __getitem__(self, index):
            raise KeyError("no such image")

    broken = Broken()
    broken.workers = 2
    with pytest.raises(KeyError, match="no such image"):
        list(make_loader(broken))


def test_endless_py_dataset():
    class Endless(Counting):
        num_batches = None

    assert [[y.item() for _, y, _ in epoch] for epoch in epochs_of(make_loader(Endless(), steps=2), 2)] == [
        [0, 1],
        [2, 3],
    ]
    with pytest.raises(ValueError, match="needs steps_per_epoch"):
        make_loader(Endless())


def test_torch_data_loader_and_dataset(keras_batches):
    dataset = torch.utils.data.TensorDataset(torch.arange(5.0)[:, None], torch.arange(5))
    data_loader = torch.utils.data.DataLoader(dataset, batch_size=2)
    expected = keras_batches(data_loader, epochs=2)
    loader = make_loader(data_loader)
    assert (loader.num_batches, loader.batch_size) == (3, 2)
    assert_same_batches(loader, expected, epochs=2)
    assert_same_batches(make_loader(dataset, batch_size=2), expected[:3])

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([torch.ones(2), torch.zeros(2), torch.ones(2)])

    loader = make_loader(Stream(), batch_size=2)
    assert loader.num_batches is None
    assert [tuple(x.shape) for x, _, _ in loader] == [(2, 2), (1, 2)]


def test_any_iterable_of_batches():
    class Twice:
        def __len__(self):
            return 2

        def __iter__(self):
            return batches(2)

    loader = make_loader(Twice())
    assert loader.num_batches == 2
    assert [[y.item() for _, y, _ in epoch] for epoch in epochs_of(loader, 2)] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, 3, 1]),
        np.array([[0], [1], [2], [1]]),
        np.eye(3)[[2, 0, 1, 1]],
        np.array([0.0, 1.0, 1.0, 0.0]),
    ],
)
def test_class_weights_equal_keras(keras_batches, y):
    weights = {0: 0.5, 1: 2.0, 2: 3.0}
    expected = keras_batches(column(4), y, class_weight=weights, shuffle=False)
    assert_same_batches(make_loader(column(4), y, class_weight=weights), expected)


def test_class_weight_multiplies_sample_weight_and_works_on_streams():
    loader = make_loader(column(2), np.array([0, 1]), np.array([2.0, 3.0]), class_weight={1: 5.0})
    assert loader.peek()[2].tolist() == [2.0, 15.0]
    assert [w.item() for _, _, w in make_loader(batches(2), class_weight={1: 4.0})] == [1.0, 4.0]


@pytest.mark.parametrize("count", [10, 11, 20, 97])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.3, 0.5])
def test_validation_split_equals_keras(keras, count, share):
    from keras.src.trainers.data_adapters.array_slicing import train_validation_split as keras_split

    arrays = (np.arange(count), np.arange(count) * 2.0, None)
    for ours, theirs in zip(train_validation_split(arrays, share), keras_split(arrays, share), strict=True):
        np.testing.assert_array_equal(ours[0].numpy(), np.asarray(theirs[0]))
        np.testing.assert_array_equal(ours[1].numpy(), np.asarray(theirs[1]))
        assert ours[2] is None


ERRORS = {
    "lengths": (
        lambda: make_loader({"a": column(4)}, column(5), np.ones(4)),
        "All parts must have the same number of samples: x['a'] has 4, y has 5, sample_weight has 4.\n"
        "  received   x['a']  (4, 1)\n"
        "             y  (5, 1)\n"
        "             sample_weight  (4,)\n"
        "  expected   the same size on the first axis of every part\n"
        "  because    the first axis counts the samples, and each part has one entry for each of them\n"
        "  to mend    look where the parts were made: one was cut, shuffled out or stacked along another axis",
    ),
    "no samples": (
        lambda: make_loader(column(0), np.zeros(0)),
        "There are no samples: x and y have length 0.",
    ),
    "no samples at all": (lambda: make_loader(Counting(0)), "There are no samples: Counting has length 0."),
    "a scalar": (lambda: make_loader(np.float32(3)), "x is a single number; its first axis must count the samples."),
    "none": (lambda: make_loader(None, purpose="predict"), "predict needs data: x is None."),
    "empty dict": (lambda: make_loader({}), "x holds no array."),
    "text": (
        lambda: make_loader("abc"),
        "x holds values of type <U3; a model takes numbers. Encode them first.",
    ),
    "type": (
        lambda: make_loader(object()),
        "x is of type object, which is no data that a model takes. Give NumPy arrays, torch tensors, pandas frames, "
        "lists of numbers, dicts, lists or tuples of those, a generator, a DataLoader, a torch Dataset, a PyDataset or "
        "an iterable of batches.",
    ),
    "objects": (
        lambda: make_loader(column(1), np.array([None])),
        "y is an array of Python objects (dtype object); a model takes numbers.",
    ),
    "ragged": (
        lambda: make_loader([[1, 2], [3]]),
        "x is a list whose rows differ in length; pad_sequences makes them equal.",
    ),
    "y with a generator": (
        lambda: make_loader(batches(1), column(1)),
        "x is a generator, whose batches bring their own y; do not pass y.",
    ),
    "weights with a PyDataset": (
        lambda: make_loader(Counting(), None, column(1)),
        "x is a PyDataset, whose batches bring their own sample_weight; do not pass sample_weight.",
    ),
    "a list from a generator": (
        lambda: list(make_loader([column(1), column(1)] for _ in range(1))),
        "A batch of a generator is a list of 2, which may mean several inputs or (x, y). Give a tuple: (x,), (x, y) or "
        "(x, y, sample_weight); x itself may be a list.",
    ),
    "four parts": (
        lambda: list(make_loader((column(1),) * 4 for _ in range(1))),
        "A batch is (x,), (x, y) or (x, y, sample_weight); a generator gave 4 parts.",
    ),
    "split of a generator": (
        lambda: train_validation_split((batches(1), None, None), 0.5),
        "validation_split cuts arrays, and x is of type generator, whose samples cannot be cut before they come. Pass "
        "validation_data.",
    ),
    "split share": (
        lambda: train_validation_split((column(4), None, None), 1.5),
        "validation_split is a share between 0 and 1; got 1.5.",
    ),
    "empty split": (
        lambda: train_validation_split((column(2), None, None), 0.99),
        "validation_split=0.99 of 2 samples leaves none for training. Give more samples or another share.",
    ),
    "class weight of two targets": (
        lambda: make_loader(column(2), [column(2), column(2)], class_weight={0: 1}),
        "class_weight needs one target with classes, and y has 2 parts. Pass sample_weight instead.",
    ),
    "class weight without target": (
        lambda: make_loader(column(2), class_weight={0: 1}),
        "class_weight needs one target with classes, and there is no y. Pass sample_weight instead.",
    ),
    "class weight of images": (
        lambda: make_loader(column(2), np.zeros((2, 3, 4)), class_weight={0: 1}),
        "class_weight needs y of shape (n,), (n, 1) or (n, classes); got (2, 3, 4).",
    ),
    "class weight list": (
        lambda: make_loader(column(2), column(2), class_weight=[1, 2]),
        "class_weight is a dict from class index to weight; got list.",
    ),
    "class weight names": (
        lambda: make_loader(column(2), column(2), class_weight={"cat": 1}),
        "class_weight maps class indices to numbers; got {'cat': 1}.",
    ),
    "batch size": (
        lambda: make_loader(column(2), batch_size=0),
        "batch_size of fit is a whole number of at least 1; got 0.",
    ),
    "categories": (
        lambda: to_categorical([0, 5], 3),
        "5 is no class index: with num_classes=3 they run 0 to 2.",
    ),
    "no categories": (lambda: to_categorical([]), "to_categorical of no labels needs num_classes."),
    "padding": (lambda: pad_sequences([[1]], padding="x"), "padding is 'pre' or 'post'; got 'x'."),
    "padding of one": (lambda: pad_sequences([1]), "Each sequence is a list or an array; number 0 is 1."),
    "padding of none": (lambda: pad_sequences(3), "pad_sequences needs a list of sequences; got int."),
    "padding text": (
        lambda: pad_sequences([["a"]], value="x"),
        "An array of int32 cannot hold the string 'x'; pass dtype=object.",
    ),
    "padding shapes": (
        lambda: pad_sequences([[[1, 2]], [[3]]]),
        "Sequence 1 holds samples of shape (1,); those before it have (2,).",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error_messages(case):
    action, message = ERRORS[case]
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        action()
    assert str(caught.value) == message


def test_shuffled_batches_are_cheap():
    """No Python per sample: 200,000 samples in a fraction of a second."""
    loader = make_loader(np.zeros((200_000, 10), dtype="float32"), np.zeros(200_000), batch_size=32, shuffle=True)
    start = time.perf_counter()
    assert sum(1 for _ in loader) == 6250
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("labels", [[0, 2, 1], [[0], [2]], [[0, 1], [2, 1]], [[1]], [[[1]], [[0]]], [0.0, 1.7]])
def test_to_categorical_equals_keras(keras, labels):
    for num_classes in (None, 4):
        ours, theirs = (
            to_categorical(np.array(labels), num_classes),
            keras.utils.to_categorical(np.array(labels), num_classes),
        )
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert to_categorical(torch.tensor([0, 2]), 3).tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(("axis", "order"), [(-1, 2), (-1, 1), (1, np.inf), (-1, 0)])
def test_normalize_equals_keras(keras, axis, order):
    x = np.array([[3.0, -4.0], [0.0, 0.0], [1.0, 0.5]])
    np.testing.assert_allclose(normalize(x, axis, order), keras.utils.normalize(x, axis, order))
    np.testing.assert_allclose(normalize(torch.tensor(x), axis, order).numpy(), keras.utils.normalize(x, axis, order))


def test_normalize_along_the_first_axis():
    """Keras 3.15 takes axis=0 for the last one; the columns are meant."""
    np.testing.assert_allclose(normalize(np.array([[3, 4], [1, 1]]), 0, 1), [[0.75, 0.8], [0.25, 0.2]])


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [None, 2, 5])
def test_pad_sequences_equals_keras(keras, padding, truncating, maxlen):
    for sequences in ([[1], [2, 3], [], [4, 5, 6]], [[[1, 2]], [[3, 4], [5, 6]]]):
        given = (sequences, maxlen, "float32", padding, truncating, -1.0)
        ours, theirs = pad_sequences(*given), keras.utils.pad_sequences(*given)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A local address that serves two archives and counts the requests."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "inner").mkdir()
    (folder / "inner" / "a.txt").write_text("shape")
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "inner", "inner")
    with zipfile.ZipFile(folder / "b.zip", "w") as zipped:
        zipped.write(folder / "inner" / "a.txt", "inner/a.txt")
    with tarfile.open(folder / "evil.tar.gz", "w:gz") as tar:
        tar.add(folder / "inner" / "a.txt", "../../escaped.txt")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            counted.append(self.path)

    counted: list[str] = []
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/", folder, counted
    running.shutdown()
    running.server_close()
    thread.join()


def test_get_file_fetches_once_and_again_when_damaged(server, tmp_path):
    address, folder, counted = server
    right = hashlib.sha256((folder / "b.zip").read_bytes()).hexdigest()
    counted.clear()
    fetch = functools.partial(get_file, origin=address + "b.zip", cache_dir=tmp_path, file_hash=right)
    path = fetch()
    assert path == str(tmp_path / "datasets" / "b.zip")
    fetch()
    assert len(counted) == 1
    (tmp_path / "datasets" / "b.zip").write_text("damaged")
    fetch()
    fetch(force_download=True)
    assert len(counted) == 3
    md5 = hashlib.md5((folder / "b.zip").read_bytes()).hexdigest()
    assert get_file(origin=address + "b.zip", cache_dir=tmp_path, md5_hash=md5) == path
    assert os.listdir(tmp_path / "datasets") == ["b.zip"]


def test_get_file_unpacks_where_keras_does(server, tmp_path):
    address = server[0]
    tar = get_file("a.tar.gz", address + "a.tar.gz", cache_dir=tmp_path, cache_subdir="t", extract=True)
    assert tar == str(tmp_path / "t" / "a_extracted")
    untar = get_file("a", address + "a.tar.gz", cache_dir=tmp_path, cache_subdir="u", untar=True)
    assert untar == str(tmp_path / "u" / "a")
    zipped = get_file(origin=address + "b.zip", cache_dir=tmp_path, cache_subdir="z", extract=True)
    assert zipped == str(tmp_path / "z" / "b.zip")
    for folder in (tar, untar, zipped):
        with open(os.path.join(folder, "inner", "a.txt")) as file:
            assert file.read() == "shape"
    with pytest.raises(DownloadError, match="is no archive of the kind tar"):
        get_file(origin=address + "b.zip", cache_dir=tmp_path, cache_subdir="w", extract=True, archive_format="tar")
    with pytest.raises(ValueError, match="To extract, archive_format is"):
        get_file(origin=address + "b.zip", cache_dir=tmp_path, cache_subdir="n", extract=True, archive_format=None)


def test_get_file_unpacks_nothing_outside_its_folder(server, tmp_path):
    with pytest.raises(tarfile.TarError):
        get_file(origin=server[0] + "evil.tar.gz", cache_dir=tmp_path, extract=True)
    assert not list(tmp_path.rglob("escaped.txt"))


def test_get_file_errors_leave_nothing_behind(server, tmp_path):
    address = server[0]
    with pytest.raises(DownloadError, match=r"does not have the sha256:0+ that is expected") as caught:
        get_file(origin=address + "b.zip", cache_dir=tmp_path, file_hash="0" * 64)
    assert str(tmp_path / "datasets" / "b.zip") in str(caught.value)
    with pytest.raises(DownloadError, match=r"could not be fetched.*404"):
        get_file(origin=address + "c.zip", cache_dir=tmp_path)
    assert os.listdir(tmp_path / "datasets") == []
    for arguments, message in (
        ({"fname": "x"}, "get_file needs origin"),
        ({"fname": "../x", "origin": address + "b.zip"}, "leads out of the cache folder"),
        ({"origin": address}, "ends in no file name"),
        ({"origin": address + "b.zip", "file_hash": "12"}, "A md5 hash has 32 digits; got 2"),
        ({"origin": address + "b.zip", "file_hash": "12", "hash_algorithm": "crc"}, "hash_algorithm is 'auto'"),
    ):
        with pytest.raises(ValueError, match=message):
            get_file(cache_dir=tmp_path, **arguments)


def test_without_network_the_error_comes_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_HOME", str(tmp_path))
    start = time.perf_counter()
    with pytest.raises(DownloadError) as caught:
        get_file("w.bin", "http://127.0.0.1:9/w.bin")
    assert time.perf_counter() - start < 10
    assert isinstance(caught.value, OSError)
    assert "http://127.0.0.1:9/w.bin could not be fetched" in str(caught.value)
    assert f"put it at {tmp_path / 'datasets' / 'w.bin'}" in str(caught.value)

"""Model files that do harm in a loader which trusts them. Each builder writes one into a folder and returns its path.

None of them comes from elsewhere: every file is written here, byte for byte where it must be.
"""

from __future__ import annotations

import base64
import json
import marshal
import pickle
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SENTINEL = "/tmp/lamina-was-run"  # what the code in the files would write
GIB = 2**30


# ------------------------------------------------------------------------------------------------------------- parts


def entry(name: str, config: Any = None, module: Any = "keras.layers", registered: Any = None, **more: Any) -> Any:
    """The description of an object, as files have it."""
    return {"module": module, "class_name": name, "config": config or {}, "registered_name": registered, **more}


def dense(units: int = 2, **arguments: Any) -> Any:
    return entry("Dense", {"name": "dense", "units": units, **arguments})


def sequential(*layers: Any, **more: Any) -> Any:
    """A Sequential of an input of 3 features and these layers."""
    first = entry("InputLayer", {"batch_shape": [None, 3], "dtype": "float32", "name": "input"})
    return entry("Sequential", {"name": "net", "layers": [first, *layers]}, "keras", **more)


def functional(*calls: Any, shape: Any = (None, 3)) -> Any:
    """A graph of one input and layers or functions with their calls; the last gives the output."""
    first = entry("InputLayer", {"batch_shape": list(shape), "dtype": "float32", "name": "input"})
    layers = [{**first, "name": "input", "inbound_nodes": []}, *calls]
    inside = {"name": "net", "layers": layers, "input_layers": [["input", 0, 0]]}
    return entry("Functional", {**inside, "output_layers": [[layers[-1]["name"], 0, 0]]}, "keras")


def symbol(name: str = "input", shape: Any = (None, 3)) -> Any:
    config = {"shape": list(shape), "dtype": "float32", "keras_history": [name, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def call(*args: Any, **kwargs: Any) -> Any:
    return {"args": list(args), "kwargs": kwargs}


def function(module: str, name: str, registered: str = "function") -> Any:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


def bytecode() -> str:
    """What Keras stores of a lambda, of one that leaves a trace when it runs."""
    code = compile(f"open({SENTINEL!r}, 'w').write('ran')", "model", "eval")
    return base64.b64encode(marshal.dumps(code)).decode()


class Harm:
    """An object whose pickle leaves a trace when it is read."""

    def __reduce__(self) -> Any:
        return open, (SENTINEL, "w")


def weights(fill: Callable[[h5py.File], None] | None = None) -> bytes:
    """A weights file for a Dense of 3 inputs and 2 units, or what `fill` makes of an empty one."""
    memory = BytesIO()
    with h5py.File(memory, "w") as file:
        if fill is None:
            put(file, "layers/dense/vars/0", np.ones((3, 2), "float32"))
            put(file, "layers/dense/vars/1", np.ones(2, "float32"))
        else:
            fill(file)
    return memory.getvalue()


def put(file: h5py.File, name: str, values: Any) -> None:
    file[name] = values


def archive(folder: Path, config: Any, stored: bytes | None = None, name: str = "m.keras") -> Path:
    """A `.keras` file of a config (or its text) and weights."""
    path = folder / name
    text = config if isinstance(config, str) else json.dumps(config)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", text)
        file.writestr("model.weights.h5", weights() if stored is None else stored)
    return path


def legacy(folder: Path, config: Any, training: Any = None, layer_name: str = "dense") -> Path:
    """A whole model in `.h5`."""
    path = folder / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([layer_name.encode()])
        inside = group.create_group("dense")
        inside.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        inside["dense/kernel:0"], inside["dense/bias:0"] = np.ones((3, 2), "float32"), np.ones(2, "float32")
    return path


def safetensors(folder: Path, header: Any, content: bytes, length: int | None = None) -> Path:
    path = folder / "m.safetensors"
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + content)
    return path


# --------------------------------------------------------------------------------------------- what a config may name

CALLABLES = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "__import__"),
    ("subprocess", "Popen"),
    ("torch", "load"),
    ("numpy", "load"),
    ("pickle", "loads"),
    ("keras.utils", "get_file"),
    ("keras", "get_file"),
    ("keras.saving", "load_model"),
    ("keras.models", "load_model"),
    ("keras.config", "enable_unsafe_deserialization"),
    ("keras.src.utils.file_utils", "get_file"),
    ("lamina.data.download", "get_file"),
    ("lamina.layers", "Dense"),
    ("lamina.saving.archive", "load_model"),
    ("lamina", "load_model"),
    (None, "os.system"),
]
_SHELL = {"command": f"touch {SENTINEL}", "args": [f"touch {SENTINEL}"], "origin": "http://127.0.0.1:9/x", "fname": "x"}


def named_as_layer(module: Any, name: str) -> Any:
    return sequential(entry(name, _SHELL, module))


def named_by_registration(module: Any, name: str) -> Any:
    return sequential(entry("Dense", {"units": 2}, "mine", registered=f"{module}>{name}"))


def _part(role: str) -> Callable[[Any, str], Any]:
    def build(module: Any, name: str) -> Any:
        return sequential(dense(**{role: entry(name, _SHELL, module)}))

    return build


def _function_part(module: Any, name: str) -> Any:
    return sequential(dense(activation=function(module, name)))


def _compiled(**settings: Any) -> Any:
    plain = {"optimizer": "sgd", "loss": "mse", "metrics": None}
    return sequential(dense(), compile_config={**plain, **settings})


PLACES: dict[str, Callable[[Any, str], Any]] = {
    "layer": named_as_layer,
    "registered_name": named_by_registration,
    "activation": _part("activation"),
    "activation function": _function_part,
    "initializer": _part("kernel_initializer"),
    "regularizer": _part("kernel_regularizer"),
    "constraint": _part("kernel_constraint"),
    "dtype policy": _part("dtype"),
    "activation layer": lambda module, name: sequential(entry("Activation", {"activation": function(module, name)})),
    "nested model": lambda module, name: sequential(named_as_layer(module, name)),
    "Lambda": lambda module, name: sequential(entry("Lambda", {"function": function(module, name)})),
    "argument of a call": lambda module, name: functional(
        {**dense(), "name": "dense", "inbound_nodes": [call(symbol(), training=entry(name, _SHELL, module))]}
    ),
    "argument of a function": lambda module, name: functional(
        {
            **entry("Clip", {"x_min": entry(name, _SHELL, module), "x_max": 1}, "keras.src.ops.numpy"),
            "name": "clip",
            "inbound_nodes": [call(symbol())],
        }
    ),
    "optimizer": lambda module, name: _compiled(optimizer=entry(name, _SHELL, module)),
    "schedule": lambda module, name: _compiled(
        optimizer=entry("SGD", {"learning_rate": entry(name, _SHELL, module)}, "keras.optimizers")
    ),
    "loss": lambda module, name: _compiled(loss=entry(name, _SHELL, module)),
    "loss function": lambda module, name: _compiled(loss=function(module, name)),
    "loss inside": lambda module, name: _compiled(
        loss=entry("LossFunctionWrapper", {"fn": function(module, name)}, "keras.losses")
    ),
    "metric": lambda module, name: _compiled(metrics=[entry(name, _SHELL, module)]),
    "weighted metric": lambda module, name: _compiled(weighted_metrics=[function(module, name)]),
}
# Plain names: a text where a config might stand.
TEXTS = {
    "activation": lambda name: sequential(dense(activation=name)),
    "initializer": lambda name: sequential(dense(kernel_initializer=name)),
    "regularizer": lambda name: sequential(dense(kernel_regularizer=name)),
    "constraint": lambda name: sequential(dense(kernel_constraint=name)),
    "optimizer": lambda name: _compiled(optimizer=name),
    "loss": lambda name: _compiled(loss=name),
    "metric": lambda name: _compiled(metrics=[name]),
}
# Classes that lamina may not have yet: when it has them, the same files must end the same way.
WRAPPERS = {
    "Pipeline": lambda inner: entry("Pipeline", {"layers": [inner]}),
    "TimeDistributed": lambda inner: entry("TimeDistributed", {"layer": inner}),
    "Bidirectional": lambda inner: entry("Bidirectional", {"layer": inner}),
}


# ------------------------------------------------------------------------------------------------- configs as wholes

_PICKLED = base64.b64encode(pickle.dumps(Harm())).decode()
_LAMBDA = {"class_name": "__lambda__", "config": {"code": bytecode(), "defaults": None, "closure": None}}


def _function_of_graph(name: str, config: Any, *calls: Any, module: str = "keras.src.ops.numpy", **more: Any) -> Any:
    return functional({**entry(name, config, module), "name": "f", "inbound_nodes": list(calls)}, **more)


def _nested(levels: int) -> Any:
    config = dense()
    for level in range(levels):
        config = entry("Sequential", {"name": f"n{level}", "layers": [config]}, "keras")
    return config


CONFIGS: dict[str, Callable[[], Any]] = {
    "Lambda with bytecode": lambda: sequential(entry("Lambda", {"function": _LAMBDA})),
    "Lambda with bytecode for its shape": lambda: sequential(
        entry("Lambda", {"function": "relu", "output_shape": _LAMBDA})
    ),
    "Lambda with bytecode for its mask": lambda: sequential(entry("Lambda", {"function": "relu", "mask": _LAMBDA})),
    "Lambda with bytecode as a list": lambda: sequential(
        entry("Lambda", {"function": [bytecode(), None, None], "function_type": "lambda"})
    ),
    "bytecode as an activation": lambda: sequential(dense(activation=_LAMBDA)),
    "bytecode as a loss": lambda: _compiled(loss=_LAMBDA),
    "TorchModuleWrapper": lambda: sequential(entry("TorchModuleWrapper", {"module": _PICKLED})),
    "TFSMLayer": lambda: sequential(entry("TFSMLayer", {"filepath": "/etc"})),
    "JaxLayer": lambda: sequential(entry("JaxLayer", {"call_fn": _LAMBDA})),
    "vocabulary at a path": lambda: sequential(entry("StringLookup", {"vocabulary": "/etc/passwd"})),
    "vocabulary at an address": lambda: sequential(entry("StringLookup", {"vocabulary": "http://127.0.0.1:9/v"})),
    "numbers at a path": lambda: sequential(entry("IntegerLookup", {"vocabulary": "../../etc/passwd"})),
    "text at a path": lambda: sequential(entry("TextVectorization", {"vocabulary": "s3://bucket/v"})),
    "weights of words at a path": lambda: sequential(
        entry("TextVectorization", {"vocabulary": ["a"], "idf_weights": "/etc/passwd"})
    ),
    "function outside ops": lambda: _function_of_graph("System", {}, call(symbol()), module="keras.src.ops.os"),
    "function of lamina outside ops": lambda: _function_of_graph("get_file", {}, call(symbol()), module="lamina.ops"),
    "array of objects": lambda: sequential(
        dense(kernel_initializer=entry("Constant", {"value": _array(["x"], "object")}, "keras.initializers"))
    ),
    "array of long texts": lambda: sequential(
        dense(kernel_initializer=entry("Constant", {"value": _array(["x"], "S4000000000")}, "keras.initializers"))
    ),
    "name leads up": lambda: sequential(entry("Dense", {"units": 2, "name": "../../etc/cron.d/x"})),
    "name is absolute": lambda: sequential(entry("Dense", {"units": 2, "name": "/etc/cron.d/x"})),
    "name leads up in Windows": lambda: sequential(entry("Dense", {"units": 2, "name": "..\\x"})),
    "name on a drive": lambda: sequential(entry("Dense", {"units": 2, "name": "C:/x"})),
    "name with a zero": lambda: sequential(entry("Dense", {"units": 2, "name": "dense\0.txt"})),
    "model's name leads up": lambda: entry("Sequential", {"name": "../net", "layers": []}, "keras"),
    "Dense of 10**12": lambda: sequential(dense(10**12)),
    "Dense of 10**30": lambda: sequential(dense(10**30)),
    "Dense of 10**12 in a model inside": lambda: sequential(sequential(dense(10**12))),
    "Embedding of 10**12": lambda: sequential(entry("Embedding", {"input_dim": 10**12, "output_dim": 8})),
    "many layers of a GiB": lambda: sequential(
        *(entry("Dense", {"units": 16_384, "name": f"d{number}"}) for number in range(1_000))
    ),
    "weights by build_config": lambda: entry(
        "Sequential",
        {"name": "net", "layers": [{**dense(), "build_config": {"input_shape": [None, 10**12]}}]},
        "keras",
    ),
    "100 models inside one another": lambda: _nested(100),
    "lists without end": lambda: sequential(dense(kernel_initializer=_deep(300))),
    "a million layers": lambda: entry("Sequential", {"name": "net", "layers": [{}] * 400_000}, "keras"),
}


def _array(value: Any, dtype: str) -> Any:
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": dtype}}


def _deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


# Configs that no model is made of: an error of lamina, nothing allocated.
SENSELESS: dict[str, Callable[[], Any]] = {
    "a function of nothing makes 10**12 ones": lambda: _function_of_graph("Ones", {"shape": [10**12]}, call()),
    "a function of numbers": lambda: _function_of_graph("Ones", {}, call([10**6, 10**6])),
    "a call of itself": lambda: functional({**dense(), "name": "d", "inbound_nodes": [call(symbol("d"))]}),
    "a call of what is not there": lambda: functional({**dense(), "name": "d", "inbound_nodes": [call(symbol("z"))]}),
    "10**9 slices": lambda: _function_of_graph(
        "Unstack",
        {"num": 10**9, "axis": 1},
        call(symbol(shape=(None, 10**9))),
        module="keras.src.ops.core",
        shape=(None, 10**9),
    ),
    "10**9 parts": lambda: _function_of_graph(
        "Split", {"indices_or_sections": 10**9, "axis": 1}, call(symbol(shape=(None, 10**9))), shape=(None, 10**9)
    ),
    "a chain that is listed backwards": lambda: functional(
        *(
            {
                **entry("Identity", {"name": f"i{number}"}),
                "name": f"i{number}",
                "inbound_nodes": [call(symbol(f"i{number + 1}"))],
            }
            for number in range(3_000)
        )
    ),
}

# -------------------------------------------------------------------------------------------------------------- files


def text_nested(folder: Path) -> Path:
    return archive(folder, '{"a":' * 100_000 + "1" + "}" * 100_000)


def text_of_parts(folder: Path) -> Path:
    return archive(folder, "[" + "[]," * 2_000_000 + "[]]")


def _with_member(folder: Path, name: str, content: bytes = b"x", kind: int = 0) -> Path:
    path = archive(folder, sequential(dense()))
    with zipfile.ZipFile(path, "a") as file:
        member = zipfile.ZipInfo(name)
        member.external_attr = kind << 16
        file.writestr(member, content)
    return path


def zip_leads_up(folder: Path) -> Path:
    return _with_member(folder, "../../outside.txt")


def zip_absolute(folder: Path) -> Path:
    return _with_member(folder, "/tmp/outside.txt")


def zip_backslash(folder: Path) -> Path:
    path = _with_member(folder, "..0outside.txt")
    path.write_bytes(path.read_bytes().replace(b"..0outside", b"..\\outside"))
    return path


def zip_link(folder: Path) -> Path:
    return _with_member(folder, "assets", b"/etc/passwd", stat.S_IFLNK | 0o777)


def zip_device(folder: Path) -> Path:
    return _with_member(folder, "assets", b"", stat.S_IFCHR | 0o666)


def zip_twice(folder: Path) -> Path:
    """Two configs: a scanner may read the one, a loader the other."""
    path = _with_member(folder, "config.jsoN", json.dumps(sequential(entry("Lambda", {"function": _LAMBDA}))).encode())
    path.write_bytes(path.read_bytes().replace(b"config.jsoN", b"config.json"))
    return path


def zip_encrypted(folder: Path) -> Path:
    path = archive(folder, sequential(dense()))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1
    path.write_bytes(content)
    return path


def zip_overlapping(folder: Path) -> Path:
    """Two entries of the table over the same bytes, with which small files unpack to large ones."""
    path = archive(folder, sequential(dense()))
    with zipfile.ZipFile(path, "a") as file:
        twin = file.getinfo("model.weights.h5")
        copy = zipfile.ZipInfo("again.h5")
        for name in ("CRC", "compress_size", "file_size", "header_offset", "flag_bits", "external_attr"):
            setattr(copy, name, getattr(twin, name))
        file.filelist.append(copy)
        file._didModify = True
    return path


def zip_bomb(folder: Path, size: int = 200 * 2**20, member: str = "model.weights.h5") -> Path:
    """A member that declares and unpacks `size` bytes of zeros from a thousandth of them."""
    block = 2**24
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)  # what follows does not refer to it
    stream = packed * (size // block) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    path = folder / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in (("metadata.json", "{}"), ("config.json", json.dumps(sequential(dense())))):
            if name != member:
                file.writestr(name, text)
        info = zipfile.ZipInfo(member)
        file.writestr(info, stream)
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, size // block * block
        if member != "model.weights.h5":
            file.writestr("model.weights.h5", weights())
    return path


def zip_bomb_of_3_9_gib(folder: Path) -> Path:
    return zip_bomb(folder, int(3.9 * GIB))


def zip_bomb_as_config(folder: Path) -> Path:
    return zip_bomb(folder, 1 * GIB, "config.json")


def zip_with_pickles(folder: Path) -> Path:
    path = folder / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(sequential(dense())))
        memory = BytesIO()
        np.savez(memory, a=np.array([Harm()], dtype=object))
        file.writestr("model.weights.npz", memory.getvalue())
    return path


ARCHIVES = [
    text_nested, text_of_parts, zip_leads_up, zip_absolute, zip_backslash, zip_link, zip_device, zip_twice,
    zip_encrypted, zip_overlapping, zip_bomb, zip_bomb_of_3_9_gib, zip_bomb_as_config, zip_with_pickles,
]  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- HDF5


def _kernel_by(make: Callable[[h5py.Group], None]) -> Callable[[h5py.File], None]:
    """Good weights but for the kernel, which `make` puts into its group as "0"."""

    def fill(file: h5py.File) -> None:
        group = file.create_group("layers/dense/vars")
        make(group)
        group["1"] = np.ones(2, "float32")

    return fill


def _external_storage(group: h5py.Group) -> None:
    group.create_dataset("0", (3, 2), "float32", external=[("/etc/passwd", 0, 24)])


def _virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource("/etc/hostname.h5", "data", (3, 2), "float32")
    group.create_virtual_dataset("0", layout)


def _declared(group: h5py.Group) -> None:
    group.create_dataset("0", (10**6, 10**6), "float32")


def _declared_in_chunks(group: h5py.Group) -> None:
    huge = group.create_dataset("0", (10**6, 10**6), "float32", chunks=(1024, 1024), compression="gzip")
    huge[0, 0] = 1


def _large_chunks(group: h5py.Group) -> None:
    small = group.create_dataset("0", (3, 2), "float32", chunks=(30_000, 20_000), maxshape=(None, None), fillvalue=1)
    assert small.chunks == (30_000, 20_000)


def _texts(group: h5py.Group) -> None:
    group.create_dataset("0", data=["x"] * 6, dtype=h5py.string_dtype())


def _references(group: h5py.Group) -> None:
    group.create_dataset("0", data=[group.ref], dtype=h5py.ref_dtype)


def _circle(group: h5py.Group) -> None:
    group["0"] = np.ones((3, 2), "float32")
    group["inside"] = group.parent


def _link(link: Any) -> Callable[[h5py.Group], None]:
    def make(group: h5py.Group) -> None:
        group["0"] = link

    return make


HDF5 = {
    "external link": _link(h5py.ExternalLink("/etc/hostname.h5", "/data")),
    "soft link": _link(h5py.SoftLink("/somewhere")),
    "soft link that leads up": _link(h5py.SoftLink("../../../x")),
    "external storage": _external_storage,
    "virtual dataset": _virtual,
    "10**12 numbers": _declared,
    "10**12 numbers in packed chunks": _declared_in_chunks,
    "chunks of 2 GiB": _large_chunks,
    "texts": _texts,
    "references": _references,
    "circle": _circle,
}


def hdf5(name: str) -> bytes:
    return weights(_kernel_by(HDF5[name]))


# ------------------------------------------------------------------------------------------------------------ the rest


def _tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


SAFETENSORS: dict[str, Callable[[Path], Path]] = {
    "overlapping": lambda folder: safetensors(
        folder, {"dense.kernel": _tensor([3, 2], 0, 24), "dense.bias": _tensor([2], 16, 24)}, bytes(24)
    ),
    "the same bytes": lambda folder: safetensors(
        folder, {"dense.kernel": _tensor([2], 0, 8), "dense.bias": _tensor([2], 0, 8)}, bytes(8)
    ),
    "a gap": lambda folder: safetensors(
        folder, {"dense.kernel": _tensor([3, 2], 0, 24), "dense.bias": _tensor([2], 32, 40)}, bytes(40)
    ),
    "10**5 entries": lambda folder: safetensors(
        folder, {f"t{number}": _tensor([0], 0, 0) for number in range(10**5)}, b""
    ),
    "a long header": lambda folder: safetensors(folder, b"{" + b" " * (40 * 2**20) + b"}", b""),
    "a deep header": lambda folder: safetensors(folder, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b""),
}
DAMAGED_SAFETENSORS: dict[str, Callable[[Path], Path]] = {
    "header beyond the end": lambda folder: safetensors(folder, b"{}", b"", 2**60),
    "10**12 numbers": lambda folder: safetensors(folder, {"dense.kernel": _tensor([10**12], 0, 4 * 10**12)}, bytes(8)),
    "negative": lambda folder: safetensors(folder, {"dense.kernel": _tensor([-2, -2], 0, 16)}, bytes(16)),
    "unknown type": lambda folder: safetensors(folder, {"dense.kernel": _tensor([2], 0, 8, "PICKLE")}, bytes(8)),
    "truth for a number": lambda folder: safetensors(folder, {"dense.kernel": _tensor([True], 0, 4)}, bytes(4)),
    "no dict": lambda folder: safetensors(folder, b"[1, 2]", b""),
    "metadata of numbers": lambda folder: safetensors(folder, {"__metadata__": [1]}, b""),
}


# ------------------------------------------------------------------------------------------------------------- shards


def _shards(folder: Path, places: Any, **files: bytes) -> Path:
    """An index of weights in several files, and those files: `a` is `a.weights.h5`."""
    for name, content in files.items():
        (folder / f"{name}.weights.h5").write_bytes(content)
    path = folder / "m.weights.json"
    path.write_text(json.dumps({"metadata": {"total_size": 32.0}, "weight_map": places}))
    return path


def _shard_named(name: Any) -> Callable[[Path], Path]:
    return lambda folder: _shards(folder, {"/layers/dense/vars": name}, a=weights())


_PLACE = "/layers/dense/vars"
SHARDS: dict[str, Callable[[Path], Path]] = {
    "name leads up": _shard_named("../a.weights.h5"),
    "name leads down and up": _shard_named("x/../../a.weights.h5"),
    "name is absolute": _shard_named("/etc/a.weights.h5"),
    "name is an address": _shard_named("http://127.0.0.1:9/a.weights.h5"),
    "name on a drive": _shard_named("C:a.weights.h5"),
    "name with a zero": _shard_named("a\0.weights.h5"),
    "name of a device": _shard_named("/dev/stdin"),
    "name leads up in a list": _shard_named(["a.weights.h5", "..\\a.weights.h5"]),
    "name of no weights": _shard_named("passwd"),
    "index of parts": _shard_named([[]] * 2_000_000),
    **{
        f"shard with {name}": lambda folder, name=name: _shards(folder, {_PLACE: "a.weights.h5"}, a=hdf5(name))
        for name in HDF5
    },
}
DAMAGED_SHARDS: dict[str, Callable[[Path], Path]] = {
    "a shard twice": lambda folder: _shards(
        folder, {_PLACE: ["a.weights.h5", "b.weights.h5"]}, a=weights(), b=weights()
    ),
    "no shard": lambda folder: _shards(folder, {_PLACE: "b.weights.h5"}, a=weights()),
    "a shard cut short": lambda folder: _shards(folder, {_PLACE: "a.weights.h5"}, a=weights()[:1000]),
    "a shard without weights": lambda folder: _shards(
        folder, {_PLACE: "a.weights.h5"}, a=weights(lambda file: put(file, "layers/other/vars/0", np.ones(2)))
    ),
    "10**5 shards": lambda folder: _shards(folder, {_PLACE: [f"{n}.weights.h5" for n in range(10**5)]}, a=weights()),
    "an empty index": lambda folder: _shards(folder, {}, a=weights()),
}


def npz(folder: Path) -> Path:
    path = folder / "m.npz"
    np.savez(path, a=np.array([Harm()], dtype=object))
    return path


def npy(folder: Path) -> Path:
    path = folder / "m.npy"
    np.save(path, np.array([Harm()], dtype=object), allow_pickle=True)
    return path


def torch_pickle(folder: Path) -> Path:
    path = folder / "m.pt"
    path.write_bytes(pickle.dumps(Harm()))
    return path


PICKLES = [npz, npy, torch_pickle]

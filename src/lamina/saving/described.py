"""What a config says a model is, without making any of it: classes, settings, and what one should know of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lamina.base import registry
from lamina.base.late import late
from lamina.base.serialization import _packages_of

_CODE = {
    "Lambda": "a Lambda layer; where its function is code, lamina does not run it unless safe_mode=False says so",
    "__lambda__": "Python bytecode, which lamina does not run unless safe_mode=False says so",
    "TorchModuleWrapper": "a pickled torch module, which lamina does not read",
    "TFSMLayer": "a program of TensorFlow in another folder, which lamina does not read",
}
_OLD_WORDS = ("Model", "Functional", "Sequential", "Merge", "Policy", "PolicyV1", "DTypePolicy", "function", "class")
_PLACES = ("vocabulary", "idf_weights")


@dataclass(frozen=True)
class DescribedLayer:
    """A layer of a config. `inside`: the names of the models around it. `known`: whether lamina, or a registration in
    this process, has its class."""

    name: str
    class_name: str
    inside: str
    known: bool


@dataclass
class Described:
    """A model of a config: its title, its layers with those of the models inside, its compile settings in words."""

    title: str | None = None
    layers: list[DescribedLayer] = field(default_factory=list)
    compiled: dict[str, Any] | None = None
    remarks: list[str] = field(default_factory=list)


def described_model(config: Any) -> Described:
    """What a config says, or the `training_config` of an older file. Nothing that it names is imported or made."""
    found = Described()
    if not isinstance(config, dict):
        found.remarks.append(f"The description of the model is a {type(config).__name__}, not an object.")
        return found
    if isinstance(config.get("class_name"), str):
        own = _own(config)
        found.title = (
            f"{config['class_name']} {str(own.get('name', ''))!r}" if own.get("name") else config["class_name"]
        )
        found.layers = list(_layers(config, ""))
        if not is_known(config):
            found.remarks.append(f"The model itself is of the class {_full_name(config)}, which is unknown here.")
    found.compiled = _compiled(config.get("compile_config") or ("optimizer_config" in config and config) or None)
    found.remarks += dict.fromkeys(_remarks(config))
    return found


def _own(entry: dict[str, Any]) -> dict[str, Any]:
    own = entry.get("config")
    return own if isinstance(own, dict) else {}


def _entries(entry: dict[str, Any]) -> list[Any]:
    """The layers that an entry lists. A Sequential of Keras 1 is a list itself."""
    own = entry.get("config")
    listed = own if isinstance(own, list) else _own(entry).get("layers")
    return listed if isinstance(listed, list) else []


def _layers(model: dict[str, Any], inside: str) -> Iterator[DescribedLayer]:
    """Without recursion: a file decides how deep it goes."""
    waiting = [(entry, inside) for entry in reversed(_entries(model))]
    while waiting:
        entry, inside = waiting.pop()
        if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
            continue
        name = str(entry.get("name") or _own(entry).get("name") or "")
        yield DescribedLayer(name, entry["class_name"], inside, is_known(entry))
        path = f"{inside}/{name}" if inside else name
        waiting += [(one, path) for one in reversed(_entries(entry))]


def is_known(entry: dict[str, Any]) -> bool:
    """Whether the class or function that an entry names is lamina's, or registered in this process."""
    name, module, registered = (entry.get(key) for key in ("class_name", "module", "registered_name"))
    if name in ("function", "class"):
        name, module = entry.get("config"), None
    if not isinstance(name, str):
        return False
    for candidate in (registered, name):
        if isinstance(candidate, str) and registry.get_registered_object(candidate) is not None:
            return True
    if str(module).startswith(("keras.src.ops.", "lamina.ops")):
        return name.replace("_", "").lower() in {known.replace("_", "") for known in registry.known_names("ops")}
    if module is None and (name in _OLD_WORDS or name in late("compat").old_names("layers")):
        return True
    bare = name.removeprefix("Custom>")  # TensorFlow's own optimizers
    packages = _packages_of(module) if isinstance(module, str | None) else ()
    if module is None and "inbound_nodes" in entry:
        packages = (*packages, "ops")
    return any(registry.lookup(package, bare) is not None for package in packages)


def _full_name(entry: dict[str, Any]) -> str:
    module = entry.get("module") or ""
    return repr(f"{module}.{entry['class_name']}" if module else entry.get("registered_name") or entry["class_name"])


def _compiled(settings: Any) -> dict[str, Any] | None:
    """The compile settings, each in a word."""
    if not isinstance(settings, dict):
        return None
    chosen = {"optimizer": settings.get("optimizer") or settings.get("optimizer_config")}
    chosen |= {key: settings.get(key) for key in ("loss", "metrics", "weighted_metrics")}
    return {key: _word(value) for key, value in chosen.items() if value}


def _word(value: Any) -> str:
    """A loss, an optimizer, a metric, or a list or dict of them, by name."""
    if isinstance(value, dict) and isinstance(value.get("class_name"), str):
        name = value["config"] if value["class_name"] == "function" else value["class_name"]
        return str(name)[:60]
    if isinstance(value, list):
        return ", ".join(_word(one) for one in value[:5]) + (", …" if len(value) > 5 else "")
    if isinstance(value, dict):
        return ", ".join(f"{str(key)[:60]}: {_word(one)}" for key, one in list(value.items())[:5])
    return str(value)[:60]


def _remarks(config: Any) -> Iterator[str]:
    """What one should know before loading: code, unknown names, and places that the file names."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        if not isinstance(value, dict):
            continue
        waiting += value.values()
        name = value.get("class_name")
        if not isinstance(name, str):
            continue
        label = _own(value).get("name")
        where = f" ({str(label)[:60]!r})" if label and name in _CODE else ""
        if name in _CODE:
            yield f"It holds {_CODE[name]}{where}."
        elif not name.startswith("__") and "config" in value and not is_known(value):
            shown = (
                f"the function {value['config']!r:.60}" if name == "function" else f"the class {_full_name(value):.80}"
            )
            yield f"It names {shown}, which is neither lamina's nor registered here."
        for argument in _PLACES:
            if isinstance(_own(value).get(argument), str):
                yield f"{name} names a place to read its {argument} from: {_own(value)[argument]!r:.80}."

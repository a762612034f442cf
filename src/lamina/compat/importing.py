"""`install()`: `import keras` and `import tensorflow` find lamina, until `uninstall()`.

One finder in front of `sys.meta_path` answers for both names and everything below them. Public packages are the same
module objects (`keras.layers is lamina.layers`); the inner paths of Keras 1 and 2 are `Alias` modules onto them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from lamina.base.errors import LaminaError
from lamina.base.registry import nearest
from lamina.compat.old_methods import OLD_METHODS
from lamina.compat.old_names import old_name, old_names
from lamina.compat.rows import words
from lamina.compat.tensorflow import StandIn, make_tensorflow

# Packages of lamina that `keras.` shows, where lamina has them; the rest of lamina is not Keras's.
PUBLIC = words(
    "activations applications backend callbacks config constraints datasets distribution dtype_policies export"
    " initializers layers losses metrics mixed_precision models ops optimizers quantizers random regularizers saving"
    " tree utils visualization"
)
_LAYER_MODULES = words(
    "advanced_activations attention convolutional convolutional_recurrent core cudnn_recurrent embeddings experimental"
    " experimental.preprocessing local merge merging noise normalization pooling preprocessing recurrent regularization"
    " reshaping rnn wrappers"
)
_ENGINE_MODULES = words("base_layer functional input_layer network sequential topology training")
_UTILS_MODULES = words("data_utils generic_utils io_utils layer_utils np_utils vis_utils visualize_util")
_APPLICATION_MODULES = words(
    "convnext densenet efficientnet efficientnet_v2 imagenet_utils inception_resnet_v2 inception_v3 mobilenet"
    " mobilenet_v2 mobilenet_v3 nasnet resnet resnet50 resnet_v2 vgg16 vgg19 xception"
)
_ENGINE = ("layers", "models")

# Inner modules of Keras 1 and 2, and the packages of lamina in which their names are found today.
INNER: dict[str, tuple[str, ...]] = {
    **{f"layers.{name}": ("layers",) for name in _LAYER_MODULES},
    **{f"engine.{name}": _ENGINE for name in _ENGINE_MODULES},
    **{f"utils.{name}": ("utils",) for name in _UTILS_MODULES},
    **{f"applications.{name}": ("applications",) for name in _APPLICATION_MODULES},
    "backend.tensorflow_backend": ("backend",),
    "engine": _ENGINE,
    "initializations": ("initializers",),
    "legacy": _ENGINE,
    "legacy.layers": ("layers",),
    "objectives": ("losses",),
    "optimizers.legacy": ("optimizers",),
    "preprocessing": ("utils",),
    "preprocessing.image": ("utils",),
    "preprocessing.sequence": ("utils",),
    "preprocessing.text": ("utils",),
}
_ROOTS = ("keras", "tensorflow.keras")


class Alias(types.ModuleType):
    """A module of Keras 1 or 2 that is no module today: its names are looked up where they are now."""

    def __init__(self, path: str):
        super().__init__(f"keras.{path}", f"`keras.{path}` as it was; today: {', '.join(INNER[path])}.")
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(self.__name__, None, is_package=True)
        self._path = path
        self.parent_path = path.rpartition(".")[0]
        self.covered: types.ModuleType | None = None  # lamina's own module of this name, read last

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        known: list[str] = []
        for source in self._sources():
            if hasattr(source, name):
                return getattr(source, name)
            package = source.__name__.removeprefix("lamina.")
            if name in old_names(package):
                return old_name(package, name)
            known += [*dir(source), *old_names(package)]
        raise AttributeError(f"{self.__name__} has no {name!r} in lamina.{nearest(name, known)}")

    def __dir__(self) -> list[str]:
        return sorted({name for source in self._sources() for name in dir(source) if not name.startswith("_")})

    def _sources(self) -> tuple[types.ModuleType, ...]:
        """lamina's module of the very path, if it is public (`applications.densenet`), then the table's packages."""
        package, _, inner = self._path.partition(".")
        own = [self._path] if inner and package == "applications" and _exists(f"lamina.{self._path}") else []
        covered = () if self.covered is None else (self.covered,)
        return (*(importlib.import_module(f"lamina.{name}") for name in (*own, *INNER[self._path])), *covered)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what should hold it is no package
        return False


def _public_module(path: str) -> types.ModuleType | None:
    """The module that lamina shows at a dotted path, by whatever name it has inside; None if there is none."""
    module = importlib.import_module("lamina")
    if path.split(".")[0] not in PUBLIC:
        return None
    for part in path.split("."):
        found = getattr(module, part, None)
        if isinstance(found, Alias):
            return None
        if not isinstance(found, types.ModuleType):
            name = f"{module.__name__}.{part}"
            if not _exists(name):
                return None
            found = importlib.import_module(name)
        module = found
    return module


class _ReadyModule(Loader):
    """A loader of a module that exists already and now gets a second name. It keeps its own spec."""

    def __init__(self, module: types.ModuleType):
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return self.module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self.spec


class _Installation(MetaPathFinder):
    """The finder, and a list of what it changed in lamina's modules."""

    def __init__(self) -> None:
        self.aliases: dict[str, Alias] = {}
        self.tensorflow = make_tensorflow()
        self.changes: list[tuple[Any, str, Any]] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name.split(".")[0] not in _NAMES:
            return None
        root = next((root for root in _ROOTS if name == root or name.startswith(f"{root}.")), None)
        module = self._of_tensorflow(name) if root is None else self._of_keras(name, root)
        return ModuleSpec(name, _ReadyModule(module), is_package=hasattr(module, "__path__"))

    def _of_tensorflow(self, name: str) -> types.ModuleType:
        module: Any = self.tensorflow
        for part in name.split(".")[1:]:
            module = vars(module).get(part)
        if not isinstance(module, StandIn):
            text = "this `tensorflow` is lamina's stand-in, which has the modules tensorflow.keras, .nn and .random"
            raise ModuleNotFoundError(f"No module named {name!r}: {text}.", name=name)
        return module

    def _of_keras(self, name: str, root: str) -> types.ModuleType:
        path = name[len(root) + 1 :]
        module = self._alias(path) if path in INNER else _public_module(path) if path else _lamina()
        if module is None:
            hint = nearest(path, [*PUBLIC, *INNER])
            raise ModuleNotFoundError(
                f"No module named {name!r}: `keras` is lamina here, which has none.{hint}", name=name
            )
        self._dress(root, path, module)
        return module

    def _alias(self, path: str) -> Alias:
        if path not in self.aliases:
            self.aliases[path] = Alias(path)
        return self.aliases[path]

    def _dress(self, root: str, path: str, module: types.ModuleType) -> None:
        """Gives a package what a script of its time finds below it.

        The inner modules go into `sys.modules` while their parent is imported. Had they to be found one by one, the
        import system would set each on its parent, over a module of lamina's own of that name (`lamina.layers.core`).
        """
        for name in old_names(path):
            if not hasattr(module, name):
                self._set(module, name, old_name(path, name))
        for inner in INNER:
            parent, _, child = inner.rpartition(".")
            if parent == path:
                alias = sys.modules[f"{root}.{inner}"] = self._alias(inner)
                self._show(module, child, alias)
                self._dress(root, inner, alias)
        if not path:
            model = _lamina().Model
            for name, method in OLD_METHODS.items():
                if not hasattr(model, name):
                    self._set(model, name, method)

    def _show(self, module: types.ModuleType, child: str, alias: Alias) -> None:
        """Makes `keras.layers.core.Dense` work where lamina has a `layers.core` of its own: the alias covers it.

        lamina's own top floors stay as they are, and so do functions of the name (`keras.layers.merge` of Keras 1).
        """
        present = vars(module).get(child)
        if present is alias or child in old_names(alias.parent_path) or (present is None and child in dir(module)):
            return
        if present is None:
            self._set(module, child, alias)
        elif isinstance(present, types.ModuleType) and alias.parent_path:
            alias.covered = present
            self._set(module, child, alias)

    def _set(self, holder: Any, name: str, value: Any) -> None:
        self.changes.append((holder, name, vars(holder).get(name, _ABSENT)))
        setattr(holder, name, value)

    def undo(self) -> None:
        """Takes every change back, the last first, and every second name out of `sys.modules`."""
        for holder, name, before in reversed(self.changes):
            if before is _ABSENT:
                delattr(holder, name)
            else:
                setattr(holder, name, before)
        for name in _imported():
            del sys.modules[name]


_NAMES = ("keras", "tensorflow")
_ABSENT = object()
_installations: list[_Installation] = []


def _lamina() -> Any:
    return importlib.import_module("lamina")


def _imported() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in _NAMES]


def install() -> None:
    """From now on `import keras`, `keras.layers`, `tensorflow` and `tensorflow.keras` find lamina in this process.

    `keras.layers is lamina.layers`, and so for every public package; inner paths of Keras 1 and 2
    (`keras.layers.core`, `keras.utils.np_utils`) work too; of `tensorflow` itself a small set of functions is there.
    A second call changes nothing. `lamina run script.py` calls it first.

    Errors: a `LaminaError` where the real keras or tensorflow is imported already: two of one name would be mixed.

    >>> import sys
    >>> from lamina import compat
    >>> if "keras" not in sys.modules:
    ...     compat.install()
    ...     import keras
    ...     assert keras.__name__ == "lamina"
    ...     compat.uninstall()
    """
    if installed():
        return
    taken = _imported()
    if taken:
        raise LaminaError(
            f"{taken[0]!r} is imported already, so `import {taken[0].split('.')[0]}` cannot find lamina any more. Call "
            "lamina.compat.install() before anything imports it, or run the script with `lamina run`."
        )
    _installations.append(_Installation())
    sys.meta_path.insert(0, _installations[0])


def uninstall() -> None:
    """Takes `install()` back: the next `import keras` finds what Python's path has. Without `install()`, nothing."""
    while _installations:
        installation = _installations.pop()
        sys.meta_path.remove(installation)
        installation.undo()


def installed() -> bool:
    """Whether `import keras` finds lamina."""
    return bool(_installations)

"""Floor 11: the model zoo. Families are tables of stages; each has one builder; all share one ending."""

from __future__ import annotations

import importlib
from typing import Any

from lamina.base.errors import UnfinishedError

_FAMILIES = {
    "densenet": ("DenseNet121", "DenseNet169", "DenseNet201"),
    "resnet": ("ResNet50", "ResNet101", "ResNet152"),
    "vgg": ("VGG16", "VGG19"),
}
_MODULES = ("densenet", "resnet", "resnet50", "vgg16", "vgg19")
_UNFINISHED_MODULES = (
    "convnext efficientnet efficientnet_v2 imagenet_utils inception_resnet_v2 inception_v3 mobilenet mobilenet_v2 "
    "mobilenet_v3 nasnet resnet_v2 xception"
).split()
_UNFINISHED_PREFIXES = ("ConvNeXt", "EfficientNet", "Inception", "MobileNet", "NASNet", "ResNet", "Xception")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lamina.applications.{name}")
    for family, models in _FAMILIES.items():
        if name in models:
            return getattr(importlib.import_module(f"lamina.applications.{family}"), name)
    if name in _UNFINISHED_MODULES or name.startswith(_UNFINISHED_PREFIXES):
        known = ", ".join(model for models in _FAMILIES.values() for model in models)
        raise UnfinishedError(f"lamina.applications does not have {name!r} yet; it has {known}.")
    raise AttributeError(f"lamina.applications has no {name!r}.")


def __dir__() -> list[str]:
    return sorted([*_MODULES, *(model for models in _FAMILIES.values() for model in models)])

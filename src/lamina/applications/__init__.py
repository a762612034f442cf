"""Floor 11: the model zoo. Families are tables of stages; each has one builder; all share one ending."""

from __future__ import annotations

import importlib
from typing import Any

from lamina.base.collecting import collector_paused

_FAMILIES = {
    "convnext": "ConvNeXtBase ConvNeXtLarge ConvNeXtSmall ConvNeXtTiny ConvNeXtXLarge",
    "densenet": "DenseNet121 DenseNet169 DenseNet201",
    "efficientnet": " ".join(f"EfficientNetB{size}" for size in range(8)),
    "efficientnet_v2": " ".join(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "L", "M", "S")),
    "inception_resnet_v2": "InceptionResNetV2",
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3": "MobileNetV3Large MobileNetV3Small",
    "nasnet": "NASNetLarge NASNetMobile",
    "resnet": "ResNet50 ResNet101 ResNet152",
    "resnet_v2": "ResNet50V2 ResNet101V2 ResNet152V2",
    "vgg": "VGG16 VGG19",
    "xception": "Xception",
}
_FAMILY_OF = {model: family for family, models in _FAMILIES.items() for model in models.split()}
_MODULES = {*_FAMILIES, "imagenet_utils", "resnet50", "vgg16", "vgg19"} - {"vgg"}  # as in Keras


def __getattr__(name: str) -> Any:
    module = name if name in _MODULES else _FAMILY_OF.get(name)
    if module is None:
        raise AttributeError(f"lamina.applications has no {name!r}; it has {', '.join(__dir__())}.")
    with collector_paused():
        found = importlib.import_module(f"{__name__}.{module}")
    return found if name in _MODULES else getattr(found, name)


def __dir__() -> list[str]:
    return sorted([*_MODULES, *_FAMILY_OF])

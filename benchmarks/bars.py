"""The bars that lamina is measured against, as data, and whether results meet them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.catalogue import CONVNETS, KERAS, UNITS, WORKLOADS

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]  # workload → engine → result
SPECIALISTS = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Bar:
    """lamina's median may be `factor` of the best of `against`, and `offset` (seconds, bytes) more.

    `other`: the workload at which those of `against` are looked at, if it is another one. `fact`: a number that
    lamina's result states, in place of its median; `offset` alone is its limit. `remark`: what softens the bar.
    """

    workload: str
    against: tuple[str, ...] = ()
    factor: float = 1.0
    offset: float = 0.0
    other: str = ""
    fact: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Verdict:
    """A bar beside results: `state` is "met", "missed" or, with the reason in `why`, "not measured"."""

    bar: Bar
    state: str
    ours: float | None = None
    limit: float | None = None
    theirs: float | None = None
    best: str = ""
    why: str = ""


def _speed_bars() -> list[Bar]:
    bars = []
    for name, offset in (("fresh/import", 0.15), ("fresh/build", 0.3), ("fresh/step", 0.3)):
        bars.append(Bar(name, ("torch",), offset=offset))
        bars.append(Bar(name, KERAS, 0.5, remark="where that is possible"))
    for network in CONVNETS:
        bars.append(Bar(f"train/{network}/float32", ("torch",)))
        bars.append(Bar(f"train/{network}/float32", KERAS, 0.9))
    for network in CONVNETS:
        name = f"train/{network}/bfloat16"
        bars.append(Bar(name, ("torch",)))
        bars.append(Bar(name, ("lamina",), other=f"train/{network}/float32", remark="not slower than float32"))
    bars.append(Bar("fit/encoder", ("torch",)))
    bars += [Bar("fit/perceptron", ("torch",), 0.7), Bar("fit/perceptron", ("keras-jax",))]
    bars += [Bar(f"train/{name}", ("torch",), 1.05) for name in ("LSTM", "GRU", "transformer")]
    for batch, factor in ((8, 1.05), (1, 1.2)):
        bars += [Bar(f"predict/{network}/float32/{batch}", SPECIALISTS, factor) for network in CONVNETS]
    for network in CONVNETS:
        name = f"predict/{network}/bfloat16/8"
        bars += [Bar(name, ("openvino",), 1.15), Bar(name, fact="difference", offset=1e-2)]
    return bars


def _other_bars() -> list[Bar]:
    return [
        Bar("overhead/predict", ("torch",), offset=100e-6),
        Bar("overhead/call", ("torch",), offset=30e-6),
        Bar("overhead/predict", fact="growth", offset=1e6),
        Bar("overhead/call", fact="growth", offset=1e6),
        Bar("files/save", KERAS, 0.5),
        Bar("files/load", KERAS, 0.5),
        Bar("memory/train", ("torch",), 1.05),
        Bar("memory/predict", ("torch",), 1.05),
    ]


BARS = (*_speed_bars(), *_other_bars())


def judged(bar: Bar, results: Results) -> Verdict:
    """Whether results meet a bar; whatever is missing leaves it "not measured"."""
    ours = results.get(bar.workload, {}).get("lamina")
    if ours is None or "failed" in ours:
        return Verdict(bar, "not measured", why=(ours or {}).get("failed") or "lamina was not run")
    if bar.fact:
        value = ours["facts"].get(bar.fact)
        if value is None:
            return Verdict(bar, "not measured", why=f"no {bar.fact} was stated")
        return Verdict(bar, "met" if value <= bar.offset else "missed", value, bar.offset)
    others = results.get(bar.other or bar.workload, {})
    found = {name: others[name]["value"] for name in bar.against if "value" in others.get(name, {})}
    if not found:
        return Verdict(bar, "not measured", ours["value"], why=f"no result of {', '.join(bar.against)}")
    best = min(found, key=lambda name: found[name])
    limit = bar.factor * found[best] + bar.offset
    state = "met" if ours["value"] <= limit else "missed"
    absent = [name for name in bar.against if name not in found]
    why = f"without {', '.join(absent)}" if absent else ""
    return Verdict(bar, state, ours["value"], limit, found[best], best, why)


def verdicts(results: Results) -> list[Verdict]:
    return [judged(bar, results) for bar in BARS]


def number(value: float, unit: str) -> str:
    """A median in its unit with three digits: 0.0412 s as "41.2" in ms."""
    scaled = value / UNITS[unit]
    digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    return f"{scaled:.{digits}f}"


def limit_text(bar: Bar) -> str:
    """A bar in words: "≤ 0.90 of the best Keras", "≤ plain torch + 0.15 s"."""
    unit = WORKLOADS[bar.workload].unit
    if bar.fact == "growth":
        return f"memory grows by ≤ {bar.offset / 1e6:.0f} MB"
    if bar.fact:
        return f"outputs within {bar.offset:.0e} of float32's largest".replace("e-0", "e-")
    names = {KERAS: "the best Keras", SPECIALISTS: "the better specialist", ("torch",): "plain torch"}
    other = names.get(bar.against) or {"keras-jax": "Keras JAX", "openvino": "OpenVINO"}.get(bar.against[0], "")
    if bar.other:
        other = f"lamina's `{bar.other}`"
    text = f"≤ {other} + {bar.offset / UNITS[unit]:g} {unit}" if bar.offset else f"≤ {bar.factor:.2f} of {other}"
    return f"{text} ({bar.remark})" if bar.remark and not bar.other else text

"""A fresh process that does one thing and says so. `python -m benchmarks.fresh ENGINE KIND OPTIONS`

Nothing but the standard library is imported before the engine. For the kinds of time the driver stops the clock, which
it started before the process, when the line comes; for the kinds of memory the line holds the bytes.
"""

import json
import sys


def engine_module(engine: str):
    if engine == "lamina":
        import lamina as keras
    elif engine == "torch":
        import torch as keras
    else:
        import keras
    return keras


def imported(engine: str) -> None:
    engine_module(engine)


def built(engine: str, network: str) -> None:
    """Imports, builds a network, prints its layers and the number of its parameters."""
    module = engine_module(engine)
    if engine == "torch":
        from benchmarks.plain_torch import CONVNETS

        model = CONVNETS[network]()
        print(model, sum(parameter.numel() for parameter in model.parameters()), file=sys.stderr)
    else:
        getattr(module.applications, network)(weights=None).summary(print_fn=lambda text: print(text, file=sys.stderr))


def trained(engine: str, steps: int = 1, **options) -> None:
    """Imports, builds a network, takes training steps."""
    module = engine_module(engine)
    if engine == "torch":
        from benchmarks import plain_cases

        case = plain_cases.train(**options)
    else:
        from benchmarks import workloads

        case = workloads.train(module, **options)
    for _ in range(steps):
        case.run()


def predicted(engine: str, steps: int = 1, **options) -> None:
    module = engine_module(engine)
    if engine == "torch":
        from benchmarks import plain_cases

        case = plain_cases.predict(**options)
    else:
        from benchmarks import workloads

        case = workloads.predict(module, **options)
    for _ in range(steps):
        case.run()


def memory(engine: str, work, **options) -> dict[str, float]:
    """The highest resident size beyond that with the engine imported, in bytes."""
    from benchmarks.case import resident

    module = engine_module(engine)
    if engine == "lamina":
        _ = (
            module.applications.ResNet50,
            module.layers.Dense,
        )  # its import leaves torch for later; compared is what follows
    imported = resident()
    work(engine, **options)
    return {"value": resident("VmHWM") - imported, "imported": imported}


def main(engine: str, kind: str, options: str) -> None:
    given = json.loads(options)
    if kind.startswith("memory_"):
        answer = memory(engine, {"memory_train": trained, "memory_predict": predicted}[kind], **given)
    else:
        {"fresh_import": imported, "fresh_build": built, "fresh_step": trained}[kind](engine, **given)
        answer = {}
    print("DONE " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`make bench`, or `python -m benchmarks [--only predict,GRU] [--engines lamina,torch] [--rounds 7]`."""

from __future__ import annotations

import argparse
import os
import tempfile

from benchmarks import driver, report
from benchmarks.catalogue import WORKLOADS, chosen
from benchmarks.engines import ENGINES, make_environment


def engines_of(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()] or list(ENGINES)
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        raise SystemExit(f"No engine is called {', '.join(unknown)}. The engines: {', '.join(ENGINES)}")
    return names


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="lamina beside its peers, in one run.")
    parser.add_argument("--only", default="", help="parts of the names of workloads: predict,train/ResNet50,GRU")
    parser.add_argument("--engines", default="", help=f"some of {', '.join(ENGINES)}")
    parser.add_argument("--rounds", type=int, default=driver.Plan.rounds)
    parser.add_argument("--seconds", type=float, default=driver.Plan.seconds, help="of each turn")
    parser.add_argument("--no-write", action="store_true", help="print only; leave RESULTS.md as it is")
    parser.add_argument("--list", action="store_true", help="list the workloads")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.list:
        print("\n".join(WORKLOADS))
        return
    workloads, engines = chosen(given.only), engines_of(given.engines)
    for environment in dict.fromkeys(ENGINES[name].environment for name in [*engines, "torch"]):
        make_environment(environment)
    plan = driver.Plan(rounds=given.rounds, seconds=given.seconds)
    store = report.Store()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        for workload in workloads:
            results = driver.measure(workload, engines, plan)
            found = {name: result.to_dict() for name, result in results.items()}
            print(report.lines_of(workload, found), flush=True)
            if not given.no_write:
                store.keep(workload.name, found)
    if given.no_write:
        return
    store.measure_machine()
    report.write(store)
    print(report.bars_text(store))


if __name__ == "__main__":
    main()

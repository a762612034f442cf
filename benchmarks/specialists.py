"""predict in ONNX Runtime and OpenVINO, on the networks of `plain_torch`, which their own optimizers fold."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmarks import data
from benchmarks.case import Case
from benchmarks.engines import THREADS
from benchmarks.export import onnx_path

Predictor = Callable[[np.ndarray], np.ndarray]


def onnxruntime_predictor(path: str, policy: str) -> Predictor:
    import onnxruntime

    if policy != "float32":
        raise NotImplementedError("ONNX Runtime computes convolutions in float32 only on a CPU")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def openvino_predictor(path: str, policy: str) -> Predictor:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": THREADS,
        "INFERENCE_PRECISION_HINT": "f32" if policy == "float32" else "bf16",
    }
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda x: request.infer([x], share_inputs=True, share_outputs=True)[0]


PREDICTORS = {"onnxruntime": onnxruntime_predictor, "openvino": openvino_predictor}


def predict(engine: str, network: str, size: int, batch: int, policy: str = "float32") -> Case:
    path = str(onnx_path(network, size, batch))
    x = np.ascontiguousarray(data.images(batch, size)[0].transpose(0, 3, 1, 2))
    run = PREDICTORS[engine](path, policy)
    facts = {}
    if policy != "float32":
        wanted = PREDICTORS[engine](path, "float32")(x).copy()
        facts["difference"] = float(np.abs(run(x) - wanted).max() / np.abs(wanted).max())
    return Case(lambda: run(x), facts=facts)


def kinds(engine: str) -> dict[str, Any]:
    return {"predict": functools.partial(predict, engine)}

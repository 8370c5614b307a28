"""The formats: how each is written from a SavedModel, and how a file of it is run."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faces.errors import UserError

if TYPE_CHECKING:  # export.py reads the formats for its help, which needs no framework
    from keras_impl.model import FaceModel

OPSET = 18  # the newest that tf2onnx writes
REQUIREMENTS = "pip install -r requirements-export.txt"


@dataclass(frozen=True)
class Format:
    """One way of storing a model.

    Attributes:
        suffix: of the file's name; "" for a folder.
        packages: importable names of what writing and running need besides TensorFlow.
        write: fn(folder of a SavedModel, path).
        load: fn(path) -> fn(uint8 faces (N, S, S, 3)) -> {name: array}.
    """

    suffix: str
    packages: tuple
    write: Callable
    load: Callable


def require_packages(name: str) -> None:
    """UserError, with the command that installs them, where a package that the format needs is missing."""
    for package in FORMATS[name].packages:
        if find_spec(package) is None:
            raise UserError(f"The format {name} needs the package {package}, which is not installed: {REQUIREMENTS}")


# === SavedModel ===


def write_saved_model(model: "FaceModel", folder: str | Path) -> None:
    """Write the prediction of a FaceModel, from uint8 faces on, as a SavedModel with the endpoint `serve`."""
    import tensorflow as tf
    from keras.export import ExportArchive

    def serve(images):
        prediction = model.predict_faces(tf.cast(images, tf.float32))
        return {name: tf.identity(values, name=name) for name, values in prediction.items()}

    size = model.image_size
    archive = ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8, "images")])
    archive.write_out(str(folder), verbose=False)


def _copy_saved_model(saved_model, path):
    os.rename(saved_model, path)


def _load_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda faces: {name: values.numpy() for name, values in loaded.serve(faces).items()}


# === ONNX ===


def _write_onnx(saved_model, path):
    import onnx
    from tf2onnx import convert, tf_loader

    # tf2onnx takes constants that a function captures, EfficientNet's normalisation among them, for further inputs;
    # frozen from the SavedModel they are in the graph.
    graph, inputs, outputs, names = tf_loader.from_saved_model(
        str(saved_model), None, None, return_tensors_to_rename=True
    )
    with _additions_of_numbers():
        content, _ = convert.from_graph_def(
            graph, input_names=inputs, output_names=outputs, tensors_to_rename=names, opset=OPSET
        )
    for tensor in (*content.graph.input, *content.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(content)
    onnx.save(content, str(path))


@contextmanager
def _additions_of_numbers():
    """Lets tf2onnx's transpose optimizer pass the addition of a number to what a convolution gives.

    It takes the number for a bias and fails on its empty shape, and then each convolution keeps two transposes.
    """
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

    handler = TransposeOptimizer._add_handler

    def handle(optimizer, transpose, node):
        added = node.inputs[1]
        if added.is_const() and added.get_tensor_value(as_list=False).ndim == 0:
            return optimizer._handle_node_having_branches(transpose, node)
        return handler(optimizer, transpose, node)

    TransposeOptimizer._add_handler = handle
    try:
        yield
    finally:
        TransposeOptimizer._add_handler = handler


def _load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda faces: dict(zip(names, session.run(names, {"images": faces}), strict=True))


# === LiteRT ===


def _write_litert(saved_model, path):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    Path(path).write_bytes(converter.convert())


def _load_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    predict = Interpreter(str(path), num_threads=os.cpu_count()).get_signature_runner()
    return lambda faces: {name: np.array(values) for name, values in predict(images=faces).items()}


# === OpenVINO ===


def _write_openvino(saved_model, path):
    import openvino

    # Core reads a SavedModel itself; openvino.convert_model would report its use to a server.
    model = openvino.Core().read_model(str(saved_model))
    # Halved weights would move ages by more than an export may.
    openvino.save_model(model, str(path), compress_to_fp16=False)


def _load_openvino(path):
    import openvino

    # Left alone, OpenVINO computes in bfloat16 on processors that can.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda faces: {output.any_name: np.array(values) for output, values in model(faces).items()}


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "tf2onnx", "onnxruntime"), _write_onnx, _load_onnx),
    "litert": Format(".tflite", ("ai_edge_litert",), _write_litert, _load_litert),
    "saved_model": Format("", (), _copy_saved_model, _load_saved_model),
    "openvino": Format(".xml", ("openvino",), _write_openvino, _load_openvino),
}

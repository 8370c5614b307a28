"""An ONNX file with the inputs and outputs of YuNet that finds red squares, written in the format's own bytes.

Field numbers are those of onnx.proto. A model of three strides answers `cls`, `obj`, `bbox` and `kps` for each cell of
its grid; OpenCV's FaceDetectorYN makes faces of them.
"""

import numpy as np

FLOAT, INT64 = 1, 7  # TensorProto.DataType
INT, INTS = 2, 7  # AttributeProto.AttributeType
STRIDE = 32  # of the cells that look for red
# In cells: centre and logarithm of the sides of the box; right eye, left eye, nose, corners of the mouth.
BOX = (0.5, 0.5, np.log(2.0), np.log(3.0))
KEYPOINTS = (0.25, 0.25, 0.75, 0.25, 0.5, 0.5, 0.3, 0.75, 0.7, 0.75)


def _varint(number):
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def _field(number, value):
    """A protobuf field: a whole number, or text, bytes or a message with its length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    value = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _message(*fields):
    return b"".join(_field(number, value) for number, value in fields)


def _tensor(name, values):
    kind = INT64 if values.dtype == np.int64 else FLOAT
    return _message(*((1, size) for size in values.shape), (2, kind), (8, name), (9, values.tobytes()))


def _attribute(name, value):
    if isinstance(value, int):
        return _message((1, name), (3, value), (20, INT))
    return _message((1, name), *((8, item) for item in value), (20, INTS))


def _node(kind, inputs, output, **attributes):
    named = [(5, _attribute(name, value)) for name, value in attributes.items()]
    return _message(*((1, name) for name in inputs), (2, output), (3, f"make_{output}"), (4, kind), *named)


def _value(name, shape):
    sizes = _message(*((1, _message((1, size))) for size in shape))
    return _message((1, name), (2, _message((1, _message((1, FLOAT), (2, sizes))))))


def _branch(name, stride, weights, bias, last=None):
    """(nodes, initializers) from the picture to one answer (1, cells, channels)."""
    channels = len(bias)
    constants = {
        f"{name}_w": weights.astype(np.float32),
        f"{name}_b": np.asarray(bias, np.float32),
        f"{name}_s": np.array([1, -1, channels]),
    }
    conv = dict(kernel_shape=[stride, stride], strides=[stride, stride], pads=[0, 0, 0, 0], group=1)
    steps = [("Conv", [f"{name}_w", f"{name}_b"], conv), ("Transpose", [], {"perm": [0, 2, 3, 1]})]
    steps += [("Reshape", [f"{name}_s"], {}), *([(last, [], {})] if last else [])]
    nodes, came = [], "input"
    for index, (kind, more, attributes) in enumerate(steps):
        output = name if index == len(steps) - 1 else f"{name}_{index}"
        nodes.append(_node(kind, [came, *more], output, **attributes))
        came = output
    return nodes, [_tensor(key, values) for key, values in constants.items()]


def make_tiny_yunet():
    """Bytes of the model."""
    nodes, tensors, outputs = [], [], []
    for stride in (8, 16, 32):
        red = np.zeros((1, 3, stride, stride))
        if stride == STRIDE:
            red[0, :, :, :] = np.array([-0.1, -0.1, 0.1])[:, None, None] / stride**2  # the picture is BGR
        for kind, bias, last in (
            ("cls", [-10], "Sigmoid"),
            ("obj", [-10], "Sigmoid"),
            ("bbox", BOX, None),
            ("kps", KEYPOINTS, None),
        ):
            weights = red if last else np.zeros((len(bias), 3, stride, stride))
            own_nodes, own_tensors = _branch(f"{kind}_{stride}", stride, weights, bias, last)
            nodes += own_nodes
            tensors += own_tensors
            outputs.append(_value(f"{kind}_{stride}", [1, (640 // stride) ** 2, len(bias)]))
    graph = [*((1, node) for node in nodes), (2, "tiny"), *((5, tensor) for tensor in tensors)]
    graph += [(11, _value("input", [1, 3, 640, 640])), *((12, output) for output in outputs)]
    return _message((1, 7), (7, _message(*graph)), (8, _message((1, ""), (2, 11))))

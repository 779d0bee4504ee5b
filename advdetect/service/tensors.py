"""Tensors as the Open Inference Protocol writes them: JSON, or bytes after it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from advdetect.checks import check_images
from advdetect.data.arrays import to_pixels
from advdetect.errors import InputError
from advdetect.service.bodies import parse_json
from advdetect.service.refusals import Refused
from advdetect.service.settings import Settings

# Little-endian, as the protocol's binary extension wants them.
INPUT_TYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "UINT8": "u1"}
OUTPUT_TYPES = {"INT64": "<i8", "FP64": "<f8", "BOOL": "?"}


@dataclass(frozen=True)
class InferRequest:
    """What a client asks: images ``(n, c, h, w)``, and which outputs, each binary or not."""

    identifier: str | None
    images: Tensor
    outputs: Mapping[str, bool] | None
    binary: bool

    def wants(self, name: str) -> bool:
        """Whether an output was asked for."""
        return self.outputs is None or name in self.outputs

    def wants_binary(self, name: str) -> bool:
        """Whether it is to come as bytes."""
        return self.binary if self.outputs is None else self.outputs[name]


def parse_infer(
    body: bytes, header_length: str | None, shape: tuple[int, int, int], settings: Settings
) -> InferRequest:
    """Read an inference request.

    Args:
        body: JSON, and after its first ``header_length`` bytes tensors as bytes.
        header_length: The header ``Inference-Header-Content-Length``.
        shape: Channels, height and width of an image.
        settings: The limits.

    Raises:
        Refused: 400 for what is no such request, 413 for too many inputs.
    """
    length = len(body)
    if header_length is not None:
        # Python reads no number of thousands of digits.
        digits = header_length.isascii() and header_length.isdigit() and len(header_length) < 20
        if not digits or int(header_length) > length:
            raise _bad("Inference-Header-Content-Length is not the length of the JSON")
        length = int(header_length)
    content = parse_json(body[:length], settings.max_depth)
    if not isinstance(content, dict):
        raise _bad("expected a JSON object")
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _bad("expected one input, images")
    identifier = content.get("id")
    if identifier is not None and not (isinstance(identifier, str) and _is_text(identifier)):
        raise _bad("expected the id as a string")
    array = _array(inputs[0], body[length:], shape)
    if len(array) > settings.max_inputs:
        raise Refused(413, "inputs", f"at most {settings.max_inputs} inputs a request")
    try:
        images = to_pixels(array)
        check_images(images, shape=shape)
    except InputError as error:
        raise _bad(str(error)) from None
    parameters = content.get("parameters")
    binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    return InferRequest(identifier, images, _outputs(content.get("outputs"), binary), binary)


def write_tensor(
    name: str, datatype: str, values: list[Any], *, binary: bool
) -> tuple[dict[str, Any], bytes]:
    """Write an output: its JSON, and its bytes where they come apart."""
    array: NDArray[Any] = np.array(values, OUTPUT_TYPES[datatype])
    written: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
    if not binary:
        return written | {"data": array.ravel().tolist()}, b""
    raw = array.tobytes()
    return written | {"parameters": {"binary_data_size": len(raw)}}, raw


def _array(given: dict[str, Any], raw: bytes, shape: tuple[int, int, int]) -> NDArray[Any]:
    datatype, dims = given.get("datatype"), given.get("shape")
    if not isinstance(datatype, str) or datatype not in INPUT_TYPES:
        raise _bad(f"expected a datatype of {', '.join(INPUT_TYPES)}")
    wanted = f"[n, {', '.join(map(str, shape))}]"
    if not isinstance(dims, list) or any(type(size) is not int for size in dims):
        raise _bad(f"expected images of shape {wanted}")
    if not dims or dims[0] < 1 or tuple(dims[1:]) != shape:
        raise _bad(f"expected images of shape {wanted}")
    dtype = np.dtype(INPUT_TYPES[datatype])
    count = dims[0] * int(np.prod(shape))
    parameters = given.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None:
        if "data" in given or size != len(raw) or size != count * dtype.itemsize:
            raise _bad("binary_data_size is not the size of the tensor that follows")
        # A copy: what is read from bytes may not be written to, which torch warns of.
        return np.frombuffer(raw, dtype).reshape(dims).copy()
    try:
        array = np.array(given.get("data"))
    except (ValueError, OverflowError):
        array = np.array(None)
    kinds = "iu" if dtype.kind == "u" else "fiu"
    if array.dtype.kind not in kinds or array.size != count:
        raise _bad(f"expected {count} numbers of type {datatype} as data")
    if dtype.kind == "u" and (array.min() < 0 or array.max() > 255):
        raise _bad("UINT8 runs from 0 to 255")
    with np.errstate(over="ignore"):  # becomes infinite, which the check of pixels names
        return array.reshape(dims).astype(dtype)


def _outputs(given: Any, binary: bool) -> dict[str, bool] | None:
    if given is None or given == []:
        return None
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise _bad("expected outputs as a list of objects")
    wanted = {}
    for one in given:
        name, parameters = one.get("name"), one.get("parameters")
        if not isinstance(name, str):
            raise _bad("expected the name of each output")
        own = parameters.get("binary_data") if isinstance(parameters, dict) else None
        wanted[name] = binary if own is None else own is True
    return wanted


def _is_text(given: str) -> bool:
    """Whether UTF-8 can hold it: JSON has half characters."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad(message: str) -> Refused:
    return Refused(400, "request", message)

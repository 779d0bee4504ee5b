"""The Open Inference Protocol, asked by hand and by a client that others wrote."""

import json
import warnings

import numpy as np
import pytest

URL = "/v2/models/small/infer"


def tensor(images, **changes):
    given = {
        "name": "images",
        "datatype": "FP32",
        "shape": list(images.shape),
        "data": images.flatten().tolist(),
    }
    return {"inputs": [given | changes]}


def outputs(response):
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


def test_health_and_metadata(server, small_guard):
    for path in ("", "/health/live", "/health/ready", "/models/small/ready"):
        assert server.client.get(f"/v2{path}").status_code == 200
    found = server.client.get("/v2/models/small").json()
    assert found == server.client.get("/v2/models/small/versions/1").json()
    assert found["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    names = ["label", "confidence", "score", "p_value", "flagged", "evidence"]
    assert [output["name"] for output in found["outputs"]] == names
    layers = list(small_guard(small_guard_images()).evidence)
    assert found["outputs"][-1]["parameters"]["layers"] == layers
    assert found["parameters"]["false_alarm_rate"] == 0.05


def small_guard_images():
    import torch

    return torch.zeros(1, 1, 8, 8)


@pytest.mark.parametrize("nested", [False, True])
def test_json_tensors(server, sent, nested):
    images = sent.images[:5]
    content = tensor(images, **({"data": images.tolist()} if nested else {}))
    response = server.client.post(URL, json=content | {"id": "42"})
    assert response.json()["id"] == "42"
    assert response.json()["model_name"] == "small"
    found = outputs(response)
    assert found["label"]["data"] == sent.labels[:5]
    assert found["label"]["datatype"] == "INT64"
    assert found["score"]["data"] == pytest.approx(sent.scores[:5], abs=1e-3)
    assert found["flagged"]["data"] == [p <= 0.05 for p in found["p_value"]["data"]]
    assert found["evidence"]["shape"] == [5, len(found["evidence"]["data"]) // 5]


def test_grey_levels_and_chosen_outputs(server, sent):
    levels = (sent.images[:2] * 255).round().int()
    content = tensor(levels, datatype="UINT8") | {"outputs": [{"name": "score"}]}
    found = outputs(server.client.post("/v2/models/small/versions/1/infer", json=content))
    assert list(found) == ["score"]
    assert found["score"]["data"] == pytest.approx(sent.scores[:2], abs=1e-3)


def without(content, name):
    return {"inputs": [{k: v for k, v in content["inputs"][0].items() if k != name}]}


# Each: how a good request is spoilt, status, start of the message.
BROKEN = {
    "list": (lambda c: [], 400, "expected a JSON object"),
    "no inputs": (lambda c: {}, 400, "expected one input, images"),
    "two inputs": (lambda c: {"inputs": c["inputs"] * 2}, 400, "expected one input, images"),
    "no object": (lambda c: {"inputs": [1]}, 400, "expected one input, images"),
    "id": (lambda c: c | {"id": 3}, 400, "expected the id as a string"),
    "half a character": (lambda c: c | {"id": "\ud800"}, 400, "expected the id as a string"),
    "no type": (lambda c: without(c, "datatype"), 400, "expected a datatype of FP16, FP32"),
    "type": (
        lambda c: {"inputs": [c["inputs"][0] | {"datatype": "BYTES"}]},
        400,
        "expected a datatype of FP16, FP32, FP64, UINT8",
    ),
    "no shape": (lambda c: without(c, "shape"), 400, "expected images of shape [n, 1, 8, 8]"),
    "shape": (
        lambda c: {"inputs": [c["inputs"][0] | {"shape": [2, 8, 8]}]},
        400,
        "expected images of shape [n, 1, 8, 8]",
    ),
    "none": (
        lambda c: {"inputs": [c["inputs"][0] | {"shape": [0, 1, 8, 8], "data": []}]},
        400,
        "expected images of shape [n, 1, 8, 8]",
    ),
    "count": (
        lambda c: {"inputs": [c["inputs"][0] | {"data": [0.5]}]},
        400,
        "expected 128 numbers of type FP32 as data",
    ),
    "huge": (
        lambda c: {"inputs": [c["inputs"][0] | {"shape": [10**18, 1, 8, 8]}]},
        400,
        "expected 64000000000000000000 numbers of type FP32 as data",
    ),
    "no data": (lambda c: without(c, "data"), 400, "expected 128 numbers of type FP32 as data"),
    "words": (
        lambda c: {"inputs": [c["inputs"][0] | {"data": ["a"] * 128}]},
        400,
        "expected 128 numbers of type FP32 as data",
    ),
    "range": (
        lambda c: {"inputs": [c["inputs"][0] | {"data": [2.0] * 128}]},
        400,
        "pixels must lie in [0, 1], got [2, 2]",
    ),
    "beyond floats": (
        lambda c: {"inputs": [c["inputs"][0] | {"data": [1e300] * 128}]},
        400,
        "pixels must be finite",
    ),
    "grey levels": (
        lambda c: {"inputs": [c["inputs"][0] | {"datatype": "UINT8", "data": [256] * 128}]},
        400,
        "UINT8 runs from 0 to 255",
    ),
    "binary": (
        lambda c: {"inputs": [c["inputs"][0] | {"parameters": {"binary_data_size": 512}}]},
        400,
        "binary_data_size is not the size of the tensor that follows",
    ),
    "outputs": (lambda c: c | {"outputs": 3}, 400, "expected outputs as a list of objects"),
    "output": (lambda c: c | {"outputs": [{}]}, 400, "expected the name of each output"),
    "unknown": (
        lambda c: c | {"outputs": [{"name": "logits"}]},
        400,
        "outputs are label, confidence, score, p_value, flagged, evidence",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request(server, sent, name):
    spoil, status, message = BROKEN[name]
    body = json.dumps(spoil(tensor(sent.images[:2])))
    response = server.client.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    assert response.json()["error"].startswith(message), response.text


def test_other_refusals(server, sent):
    many = tensor(sent.images[:9])
    assert server.client.post(URL, json=many).json() == {"error": "at most 8 inputs a request"}
    text = server.client.post(URL, content=b"{}", headers={"Content-Type": "text/plain"})
    assert (text.status_code, text.json()) == (415, {"error": "expected application/json"})
    for path in ("/v2/models/other", "/v2/models/small/versions/2"):
        missing = server.client.get(path)
        message = "no such model: this service has small, version 1"
        assert (missing.status_code, missing.json()) == (404, {"error": message})
    for length in ("x", "-1", "99999", "²", "1" * 5000):
        headers = {"Inference-Header-Content-Length": length.encode()}
        wrong = server.client.post(URL, content=b"{}", headers=headers)
        assert wrong.status_code == 400
        assert "is not the length of the JSON" in wrong.json()["error"]


@pytest.fixture(scope="module")
def triton():
    """The client library of Triton Inference Server, which speaks this protocol."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its own dependencies warn of at import
        return pytest.importorskip("tritonclient.http")


@pytest.mark.parametrize("binary", [True, False])
def test_a_public_client_works_unchanged(triton, server, sent, binary):
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("small")
        assert client.get_server_metadata()["name"] == "advdetect"
        declared = client.get_model_metadata("small")["inputs"][0]
        images = sent.images[:8].numpy()
        given = triton.InferInput(declared["name"], list(images.shape), declared["datatype"])
        given.set_data_from_numpy(images, binary_data=binary)
        some = [triton.InferRequestedOutput(n, binary_data=binary) for n in ("label", "p_value")]
        for outputs in (None, some):  # none given: all, as bytes
            found = client.infer("small", [given], outputs=outputs, request_id="7")
            assert found.get_response()["id"] == "7"
            assert found.as_numpy("label").tolist() == sent.labels[:8]
            p_values = found.as_numpy("p_value")
            assert p_values == pytest.approx(np.array(sent.p_values[:8]), abs=0.02)
        flagged = client.infer("small", [given]).as_numpy("flagged")
        assert flagged.dtype == bool
        with pytest.raises(triton.InferenceServerException, match="no such model"):
            client.infer("other", [given])
    finally:
        client.close()

"""What the page asks over HTTP: samples, the map, reasons, attacks, traffic; and its files."""

import base64
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from advdetect.guard import Guard
from advdetect.service.inspecting import attacking, inspector
from advdetect.service.pages import PATHS, POLICY
from advdetect.service.traffic import read_traffic
from tests.service.pictures import encode

TOKEN = "a-token-of-some-length"
PNG = {"Content-Type": "image/png"}


def pixels(url):
    """The picture in a data: URL, as whole levels."""
    assert url.startswith("data:image/png;base64,")
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))).astype(int)


def explain(server, picture, **options):
    return server.client.post("/v1/explain", content=picture, headers=PNG, **options)


def attack(server, picture, **parameters):
    return server.client.post("/v1/attack", params=parameters, content=picture, headers=PNG)


@pytest.fixture(scope="module")
def settled(server, sent):
    """The server once it has looked through all pictures for its landmarks."""
    for _ in range(1000):
        if explain(server, sent.pictures[0]).json()["pictures"] != "looking":
            return server
    raise AssertionError("it looks for ever")


def test_the_reasons_are_those_of_the_verdict(server, sent):
    for i in range(4):
        found = explain(server, sent.pictures[i])
        assert found.status_code == 200, found.text
        found = found.json()
        detected = server.client.post("/v1/detect", content=sent.pictures[i], headers=PNG)
        (verdict,) = detected.json()["results"]
        for name in ("label", "class_name", "flagged", "p_value", "false_alarm_rate", "guard"):
            assert found[name] == verdict[name]
        assert found["score"] == pytest.approx(verdict["score"], abs=1e-3)
        assert found["evidence"] == pytest.approx(verdict["evidence"], abs=1e-3)
        assert (pixels(found["picture"]) == (sent.images[i, 0].numpy() * 255).round()).all()


def test_a_landmark_is_its_own_nearest_neighbour(settled, digits, small_guard):
    """A picture whose codes the guard keeps: but for a PNG's rounding it agrees with itself."""
    landmarks = inspector.Landmarks.of(small_guard)
    shown = inspector.LandmarkPictures(small_guard, landmarks, digits["reference"])
    while shown.look_on():
        pass
    row = next(row for row in range(9) if shown.picture(row) is not None)
    found = explain(settled, encode(shown.picture(row))).json()
    assert found["pictures"] == "found"
    assert [layer["layer"] for layer in found["neighbors"]] == list(landmarks.shown)
    for layer in found["neighbors"]:
        nearest = layer["nearest"]
        assert nearest[0]["similarity"] > 0.98
        assert nearest[0]["label"] == int(landmarks.classes[row])
        similarities = [one["similarity"] for one in nearest]
        assert similarities == sorted(similarities, reverse=True)
    last = found["neighbors"][-1]["nearest"][0]
    assert (pixels(last["picture"]) == pixels(found["picture"])).all()


def test_every_landmark_is_found_among_the_pictures_it_came_from(digits, small_guard):
    landmarks = inspector.Landmarks.of(small_guard)
    shown = inspector.LandmarkPictures(small_guard, landmarks, digits["reference"])
    assert shown.state == "looking"
    while shown.look_on():
        pass
    assert shown.state == "found"
    found = [shown.picture(row) for row in range(len(landmarks.classes))]
    assert all(picture is not None for picture in found)
    with torch.no_grad():
        predicted = small_guard.model(torch.stack(found)).argmax(1)
    assert torch.equal(predicted, landmarks.classes)
    strangers = inspector.LandmarkPictures(small_guard, landmarks, digits["evaluation"])
    while strangers.look_on():
        pass
    assert strangers.state == "none"
    assert inspector.LandmarkPictures(small_guard, landmarks, None).state == "none"


def test_the_map_holds_landmarks_of_every_class(server, small_guard):
    found = server.client.get("/v1/landmarks").json()
    assert found["classes"] == small_guard.about["classes"]
    assert found["input_shape"] == [1, 8, 8]
    assert found["calibrated_on"] == len(small_guard.calibration.scores)
    landmarks = inspector.Landmarks.of(small_guard)
    assert [point["label"] for point in found["points"]] == landmarks.classes[
        landmarks.drawn
    ].tolist()
    assert {point["label"] for point in found["points"]} == set(range(10))
    assert len(found["points"]) <= 300


def test_pictures_of_one_class_lie_together_on_the_map(server, digits):
    """The mean distance to a place is least for the input's own class, mostly."""
    points = server.client.get("/v1/landmarks").json()["points"]
    right = 0
    some = digits["evaluation"].subset(range(40))
    for image in some.images:
        found = explain(server, encode(image)).json()
        x, y = found["place"]
        far = {
            label: np.mean(
                [np.hypot(p["x"] - x, p["y"] - y) for p in points if p["label"] == label]
            )
            for label in range(10)
        }
        right += sorted(far, key=far.get).index(found["label"]) < 3
    assert right >= 30  # of 40; 12 by chance


def test_samples_are_clean_and_attacked(server, small_guard):
    found = server.client.get("/v1/samples").json()
    assert found["reason"] is None
    clean = [sample for sample in found["samples"] if not sample["eps"]]
    attacked = [sample for sample in found["samples"] if sample["eps"]]
    assert [sample["label"] for sample in clean] == list(range(10))
    assert attacked
    flagged = passed = 0
    for sample in attacked:
        assert sample["attack"] == "linf_pgd"
        twin = pixels(clean[sample["label"]]["picture"])
        assert 0 < abs(pixels(sample["picture"]) - twin).max() <= sample["eps"]
        body = base64.b64decode(sample["picture"].partition(",")[2])
        verdict = explain(server, body).json()
        assert verdict["label"] != sample["label"]
        flagged += verdict["flagged"]
    for sample in clean:
        body = base64.b64decode(sample["picture"].partition(",")[2])
        verdict = explain(server, body).json()
        assert verdict["label"] == sample["label"]
        passed += not verdict["flagged"]
    assert flagged / len(attacked) > 1 - passed / len(clean)


def test_a_guard_of_other_data_has_no_samples_and_says_why(start, small_guard, tmp_path):
    before = dict(small_guard.about)
    try:
        small_guard.about["classes"] = [f"thing {i}" for i in range(10)]
        small_guard.save(tmp_path / "own")
    finally:
        small_guard.about.clear()
        small_guard.about.update(before)
    with start(tmp_path / "own") as server:
        found = server.client.get("/v1/samples").json()
        assert found["samples"] == []
        assert found["reason"].startswith("This guard takes pictures of 8 x 8 pixels in 1 channel,")
        found = explain(server, encode(torch.full((1, 8, 8), 0.5))).json()
        assert found["class_name"].startswith("thing ")
        assert found["pictures"] == "none"
        assert {one["picture"] for layer in found["neighbors"] for one in layer["nearest"]} == {
            None
        }


def test_a_guard_without_landmarks_or_layers_says_so(start, small_guard, digits, sent, tmp_path):
    one = Guard.fit(small_guard.model, digits["reference"].images, detector="energy")
    one.architecture = small_guard.architecture
    one.save(tmp_path / "energy")
    with start(tmp_path / "energy") as server:
        found = explain(server, sent.pictures[0]).json()
        nothing = ("neighbors", "pictures", "place", "evidence")
        assert [found[name] for name in nothing] == [None, "none", None, {}]
        map_ = server.client.get("/v1/landmarks").json()
        assert (map_["points"], map_["layer"], map_["classes"]) == ([], None, None)
        assert server.client.get("/v1/samples").json()["samples"] == []
        assert attack(server, sent.pictures[0], eps=32).status_code == 200


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_an_attack_keeps_its_budget_and_leads_the_model_away(server, sent, name):
    misled = 0
    for picture in sent.pictures[:8]:
        clean = explain(server, picture).json()
        found = attack(server, picture, eps=32, attack=name)
        assert found.status_code == 200, found.text
        found = found.json()
        assert (found["attack"], found["eps"]) == (name, 32)
        assert 0 < found["distance"] <= 32 / 255 + 1e-6
        moved = pixels(found["picture"]) - pixels(clean["picture"])
        assert abs(moved).max() <= 32
        # What was added, as grey levels around the middle.
        expected = 127.5 + moved * (127.5 / 32)
        assert abs(pixels(found["perturbation"]) - expected).max() <= 3
        misled += found["label"] != clean["label"]
    assert misled >= 5


def test_an_attack_of_no_size_is_the_clean_verdict(server, sent):
    clean = explain(server, sent.pictures[0]).json()
    found = attack(server, sent.pictures[0], eps=0).json()
    assert found["distance"] == 0
    assert (pixels(found["perturbation"]) == 128).all()
    for name in ("label", "p_value", "score", "picture", "place", "flagged"):
        assert found[name] == clean[name]


@pytest.mark.parametrize(
    "parameters",
    [{}, {"eps": 33}, {"eps": -1}, {"eps": "much"}, {"eps": 1.5}, {"eps": 8, "attack": "cw"}],
)
def test_an_attack_beyond_the_limits_is_refused(server, sent, parameters):
    response = attack(server, sent.pictures[0], **parameters)
    assert response.status_code == 400
    assert response.json()["error"]["reason"] == "parameter"


@pytest.mark.parametrize("route", ["/v1/explain", "/v1/attack?eps=8"])
def test_what_is_no_single_picture_is_refused(server, sent, route):
    def post(**options):
        response = server.client.post(route, **options)
        return response.status_code, response.json()["error"]["reason"]

    assert post(json={"inputs": sent.base64[:2]}) == (400, "inputs")
    assert post(json={"inputs": []}) == (400, "empty")
    assert post(content=b"broken", headers=PNG) == (422, "format")
    assert post(content=sent.pictures[0][:80], headers=PNG) == (422, "damaged")
    assert post(content=b"{", headers={"Content-Type": "application/json"}) == (400, "body")
    assert post(content=b"", headers={"Content-Type": "text/plain"}) == (415, "content-type")
    assert post(content=bytes(300_000), headers=PNG) == (413, "bytes")
    assert post(json={"inputs": [[[]]]}) == (422, "pixels")
    large = encode(torch.zeros(1, 101, 100))
    assert post(content=large, headers=PNG) == (413, "too-many-pixels")
    small = encode(torch.zeros(1, 4, 4))
    assert post(content=small, headers=PNG) == (422, "size")
    separator = "&" if "?" in route else "?"
    scaled = server.client.post(f"{route}{separator}resize=true", content=small, headers=PNG)
    assert scaled.status_code == 200


def test_looking_enters_no_books(server, sent):
    counted = ("advdetect_inputs_total", "advdetect_flagged_total", "advdetect_p_value_count")
    before = server.metrics()
    explain(server, sent.pictures[0])
    attack(server, sent.pictures[0], eps=8)
    explain(server, b"broken")
    after = server.metrics()
    assert [after[name] for name in counted] == [before[name] for name in counted]
    rejected = [name for name in after if name.startswith("advdetect_rejected_inputs_total")]
    assert [after[name] for name in rejected] == [before.get(name) for name in rejected]
    answered = 'advdetect_requests_total{route="/v1/explain",status="200"}'
    assert after[answered] > before.get(answered, 0)


class Held:
    """Holds attacks until let go."""

    def __init__(self, monkeypatch):
        self.go, self.begun = threading.Event(), threading.Event()
        perturb = attacking.attack_chunk

        def wait(*arguments, **options):
            self.begun.set()
            assert self.go.wait(20)
            return perturb(*arguments, **options)

        monkeypatch.setattr(attacking, "attack_chunk", wait)


def test_one_attack_at_a_time_and_traffic_goes_on(start, sent, monkeypatch):
    with start() as server, ThreadPoolExecutor(1) as pool:
        held = Held(monkeypatch)
        first = pool.submit(attack, server, sent.pictures[0], eps=8)
        assert held.begun.wait(20)
        with httpx.Client(base_url=server.url, timeout=30) as other:
            refused = other.post("/v1/attack?eps=8", content=sent.pictures[0], headers=PNG)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["error"] == {
                "reason": "busy",
                "message": "others ask for the same just now: ask again later",
            }
            judged = other.post("/v1/detect", content=sent.pictures[0], headers=PNG)
            assert judged.status_code == 200
        held.go.set()
        assert first.result().status_code == 200
        assert attack(server, sent.pictures[0], eps=8).status_code == 200


def test_an_attack_that_takes_too_long_is_told_so(start, sent, monkeypatch):
    with start(timeout=4) as server:
        held = Held(monkeypatch)
        response = attack(server, sent.pictures[0], eps=8)
        assert response.status_code == 503
        assert response.json()["error"]["reason"] == "timeout"
        # It is still under way, and takes the one place there is.
        assert attack(server, sent.pictures[0], eps=8).json()["error"]["reason"] == "busy"
        held.go.set()


def test_a_new_guard_is_looked_into(start, small_guard, sent, tmp_path):
    small_guard.save(tmp_path / "small")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with start(tmp_path / "small", token=TOKEN, headers=headers) as server:
        before = explain(server, sent.pictures[0]).json()
        replace(small_guard, false_alarm_rate=0.2).save(tmp_path / "small")
        assert server.client.post("/v1/reload").status_code == 200
        after = explain(server, sent.pictures[0]).json()
        assert (before["false_alarm_rate"], after["false_alarm_rate"]) == (0.05, 0.2)
        assert before["guard"] != after["guard"]


def test_a_model_is_attacked_on_a_copy(server, sent):
    model = server.service.served.guard.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []
    handle = model.register_forward_pre_hook(lambda *_: seen.append(1))
    try:
        attack(server, sent.pictures[0], eps=16)
    finally:
        handle.remove()
    assert not seen
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_traffic_is_what_the_books_say(start, sent):
    with start() as server:
        empty = server.client.get("/v1/traffic").json()
        assert (empty["requests"], empty["inputs"], empty["ready"]) == (0, 0, True)
        results = server.client.post("/v1/detect", json={"inputs": sent.base64}).json()["results"]
        server.client.post("/v1/detect", content=b"", headers={"Content-Type": "text/plain"})
        now = server.client.get("/v1/traffic").json()
        assert (now["requests"], now["refused"], now["inputs"]) == (2, 1, 10)
        assert now["flagged"] == sum(result["flagged"] for result in results)
        assert now["false_alarm_rate"] == 0.05
        assert now["drift_warning"] is False
        assert sum(one["count"] for one in now["p_values"]) == 10
        below = sum(one["count"] for one in now["p_values"] if one["upto"] <= 0.5)
        assert below == sum(result["p_value"] <= 0.5 for result in results)


def test_traffic_of_several_processes_is_summed_up():
    registry = CollectorRegistry()
    requests = Counter("advdetect_requests", "-", ["route", "status"], registry=registry)
    requests.labels("/v1/detect", "200").inc(5)
    requests.labels("/v2/models/{name}/infer", "503").inc(2)
    requests.labels("/v1/traffic", "200").inc(100)
    # Gauges of several processes come apart, each with its own label.
    for name, values in {
        "advdetect_queue_depth": (3, 4),
        "advdetect_drift_warning": (0, 1),
        "advdetect_drift_evidence": (-2.0, 0.5),
    }.items():
        gauge = Gauge(name, "-", ["pid"], registry=registry)
        for pid, value in enumerate(values):
            gauge.labels(str(pid)).set(value)
    p_value = Histogram("advdetect_p_value", "-", buckets=(0.1, 0.5, 1), registry=registry)
    for value in (0.05, 0.1, 0.3, 0.9, 1.0):
        p_value.observe(value)
    found = read_traffic(registry)
    assert (found["requests"], found["refused"], found["waiting"]) == (7, 2, 7)
    assert (found["drift_warning"], found["drift_evidence"]) == (True, 0.5)
    assert found["p_values"] == [
        {"upto": 0.1, "count": 2},
        {"upto": 0.5, "count": 1},
        {"upto": 1.0, "count": 2},
    ]
    nothing = read_traffic(CollectorRegistry())
    assert (nothing["inputs"], nothing["p_values"], nothing["drift_evidence"]) == (0, [], None)


KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_a_file_of_the_page(server, path):
    response = server.client.get(path)
    assert response.status_code == 200
    kind = KINDS["html" if path == "/" else path.rpartition(".")[2]]
    assert response.headers["content-type"].partition(";")[0] == kind
    assert response.headers.get_list("content-security-policy") == [POLICY]
    assert response.headers.get_list("cache-control") == ["no-cache"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "http" not in response.text.replace("http://www.w3.org/2000/svg", "")
    known = {"If-None-Match": response.headers["etag"]}
    again = server.client.get(path, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    other = server.client.get(path, headers={"If-None-Match": '"0"'})
    assert other.status_code == 200


def test_the_page_holds_no_script_or_style_of_its_own(server):
    text = server.client.get("/").text
    assert " style=" not in text
    assert "<style" not in text
    assert text.count("<script") == 1
    assert '<script type="module" src="page/main.js"></script>' in text
    assert "unsafe" not in POLICY


@pytest.mark.parametrize("path", ["/page/", "/page/nothing.js", "/page/..%2fpages.py", "/page/a/b"])
def test_nothing_else_is_served_from_the_folder(server, path):
    assert server.client.get(path).status_code == 404


def test_the_page_is_open_and_what_it_asks_is_not(start, sent):
    with start(token=TOKEN) as server:
        for path in PATHS:
            assert server.client.get(path).status_code == 200
        for path in ("/v1/samples", "/v1/landmarks", "/v1/traffic"):
            assert server.client.get(path).status_code == 401
        for path in ("/v1/explain", "/v1/attack?eps=1"):
            assert server.client.post(path, content=sent.pictures[0]).status_code == 401


def test_pages_of_others_cannot_have_the_service_work(server, sent):
    """A form on any site can make a browser post a picture to this machine."""
    files = [("picture", ("a.png", sent.pictures[0]))]
    for path in ("/v1/detect", "/v1/explain", "/v1/attack?eps=8"):
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
            headers = {"Sec-Fetch-Site": site}
            response = server.client.post(path, files=files, headers=headers)
            assert response.status_code == status
            assert status == 200 or response.json()["error"]["reason"] == "origin"
    # A link to the page is no harm.
    assert server.client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_without_the_page_none_of_it_is_there(start, sent):
    with start(page=False) as server:
        for path in (*PATHS, "/v1/samples", "/v1/landmarks", "/v1/traffic"):
            assert server.client.get(path).status_code == 404
        for path in ("/v1/explain", "/v1/attack?eps=1"):
            assert server.client.post(path, content=sent.pictures[0]).status_code == 404
        paths = server.client.get("/openapi.json").json()["paths"]
        assert "/v1/attack" not in paths
        assert server.client.post("/v1/detect", content=sent.pictures[0], headers=PNG).is_success


def test_the_routes_are_described(server):
    paths = server.client.get("/openapi.json").json()["paths"]
    for path, method, shape in (
        ("/v1/samples", "get", "Samples"),
        ("/v1/landmarks", "get", "Map"),
        ("/v1/traffic", "get", "Traffic"),
        ("/v1/explain", "post", "Explanation"),
        ("/v1/attack", "post", "Attacked"),
    ):
        answers = paths[path][method]["responses"]
        schema = answers["200"]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith(f"/{shape}")
    eps = next(p for p in paths["/v1/attack"]["post"]["parameters"] if p["name"] == "eps")
    assert (eps["schema"]["minimum"], eps["schema"]["maximum"]) == (0, 32)

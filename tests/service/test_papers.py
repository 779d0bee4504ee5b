"""What operators are handed: each file is checked by the tool that will read it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAPERS = Path(__file__).parents[2] / "docs" / "serving"
METRIC = re.compile(r"\badvdetect_[a-z_]+")


def tool(name):
    """The path of a tool; without it the test is skipped."""
    beside = Path(sys.executable).parent  # where packages put theirs
    path = shutil.which(name, path=os.pathsep.join([str(beside), os.environ["PATH"]]))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def check(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def exported(server):
    """Names of samples that the service has, or will have once something happened."""
    names = set()
    for line in server.client.get("/metrics").text.splitlines():
        if found := re.match(r"# TYPE (\w+) (\w+)", line):
            name, kind = found.groups()
            endings = ("", "_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names |= {name + ending for ending in endings}
    return names


@pytest.mark.parametrize(
    "name", ["alerts.yml", "alerts_test.yml", "dashboard.json", "../serving.md"]
)
def test_what_is_asked_for_is_exported(exported, name):
    asked = set(METRIC.findall((PAPERS / name).read_text(encoding="utf-8")))
    assert asked
    assert asked - exported == set()


def test_every_metric_is_in_the_dashboard_or_has_an_alert(exported):
    papers = [
        (PAPERS / name).read_text(encoding="utf-8") for name in ("alerts.yml", "dashboard.json")
    ]
    asked = set(METRIC.findall("".join(papers)))
    ends = re.compile("_(bucket|sum|count)$")
    families = {ends.sub("", name) for name in exported if not name.endswith("_created")}
    assert families == {ends.sub("", name) for name in asked}


def test_the_dashboard_is_one():
    board = json.loads((PAPERS / "dashboard.json").read_text(encoding="utf-8"))
    taken = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert all(
            target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"]
        )
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_queries_of_the_dashboard_are_prometheus(tmp_path):
    """As rules, which promtool can read."""
    board = json.loads((PAPERS / "dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [note["expr"] for note in board["annotations"]["list"]]
    rules = [
        {"record": f"asked:{i}", "expr": expression.replace("$__rate_interval", "1m")}
        for i, expression in enumerate(asked)
    ]
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check(tool("promtool"), "check", "rules", file)


def test_alerts_are_raised_when_they_should_and_not_otherwise():
    promtool = tool("promtool")
    assert "10 rules found" in check(promtool, "check", "rules", PAPERS / "alerts.yml")
    check(promtool, "test", "rules", PAPERS / "alerts_test.yml")


def test_prometheus_takes_its_configuration(tmp_path):
    promtool = tool("promtool")
    text = (PAPERS / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "token").write_text("a-token-of-some-length")
    token = "/etc/prometheus/advdetect.token"
    assert token in text
    (tmp_path / "prometheus.yml").write_text(text.replace(token, str(tmp_path / "token")))
    shutil.copy(PAPERS / "alerts.yml", tmp_path)
    check(promtool, "check", "config", tmp_path / "prometheus.yml")


def test_systemd_takes_the_unit(tmp_path):
    systemd = tool("systemd-analyze")
    text = (PAPERS / "advdetect.service").read_text(encoding="utf-8")
    program = "/opt/advdetect/bin/advdetect"
    assert text.count(program) == 1
    unit = tmp_path / "advdetect.service"
    unit.write_text(text.replace(program, shutil.which("true")))
    said = check(systemd, "verify", "--man=no", unit)
    assert "advdetect.service" not in said, said


def test_nginx_takes_its_part(tmp_path):
    """As the http block of a server with a certificate of its own, on hosts that exist."""
    nginx, openssl = tool("nginx"), tool("openssl")
    key, certificate = tmp_path / "guard.key", tmp_path / "guard.pem"
    check(
        *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=guard.example", "-keyout", key, "-out", certificate),
    )
    text = (PAPERS / "nginx.conf").read_text(encoding="utf-8")
    text = text.replace("/etc/nginx", str(tmp_path)).replace("guard-1.example", "127.0.0.1")
    (tmp_path / "part").write_text(text.replace("guard-2.example", "127.0.0.2"))
    paths = "".join(
        f"{name}_temp_path {tmp_path / name}; "
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = f"pid {tmp_path}/pid; events {{}} http {{ access_log off; {paths} include part; }}"
    (tmp_path / "nginx.conf").write_text(whole)
    check(nginx, "-t", "-e", tmp_path / "log", "-p", tmp_path, "-c", tmp_path / "nginx.conf")


def test_a_linter_takes_the_container_file():
    check(tool("hadolint"), PAPERS / "Containerfile")


def test_the_container_file_copies_what_there_is():
    lines = (PAPERS / "Containerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1:-1] for line in lines if re.match(r"COPY (?!--from)", line)]
    root = PAPERS.parents[1]
    missing = [name for names in copied for name in names if not (root / name).exists()]
    assert copied
    assert not missing


@pytest.mark.parametrize("name", ["../serving.md", "advdetect.service", "Containerfile"])
def test_options_that_are_named_exist(name):
    from advdetect.cli import serve

    known = set(re.findall(r"--[a-z-]+", Path(serve.__code__.co_filename).read_text()))
    known |= {f"--{word.replace('_', '-')}" for word in serve.__code__.co_varnames}
    text = (PAPERS / name).read_text(encoding="utf-8")
    commands = re.findall(r"advdetect serve((?:\\\n|[^\n`])*)", text)
    commands += re.findall(r"ENTRYPOINT (.*)", text)
    named = {option for command in commands for option in re.findall(r"--[a-z][a-z-]+", command)}
    named |= set(re.findall(r"`(--[a-z][a-z-]+)", text))
    assert named
    others = {"--no-access-log", "--build-arg"}
    assert named - known - others == set()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_serves_the_example(ray, sent, monkeypatch, tmp_path, small_guard_folder):
    """The example as it stands, but for the guard, on a Ray of this machine."""
    import httpx

    serve = pytest.importorskip("ray.serve", reason="needs ray[serve]", exc_type=ImportError)

    text = (PAPERS / "ray_serve.py").read_text(encoding="utf-8")
    assert text.count('"fashion-resnet"') == 2
    module = tmp_path / "ray_example.py"
    module.write_text(text.replace('"fashion-resnet"', repr(str(small_guard_folder))))
    monkeypatch.syspath_prepend(tmp_path)
    root = str(PAPERS.parents[1])
    environment = {
        "PYTHONPATH": f"{tmp_path}:{root}",
        "OMP_NUM_THREADS": "1",
        # On a busy machine Ray's proxy takes longer to start than Ray waits for it.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    }
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, runtime_env={"env_vars": environment}
    )
    try:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        serve.start(http_options={"port": port, "host": "127.0.0.1"})
        import ray_example

        serve.run(ray_example.guards)
        headers = {"Content-Type": "image/png"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.get("/readyz").json() == {"status": "ready"}
            answers = [
                client.post("/v1/detect", content=picture, headers=headers).json()["results"][0]
                for picture in sent.pictures
            ]
        assert [answer["label"] for answer in answers] == sent.labels
        scores = [answer["score"] for answer in answers]
        assert scores == pytest.approx(sent.scores, abs=1e-4)
    finally:
        serve.shutdown()
        ray.shutdown()

"""advdetect compare and advdetect path, as typed."""

import json

import pytest

DATA = ("--data", "digits", "--limit", "60")


def test_compare_prints_the_layers_that_correspond(advdetect, small_model, tmp_path):
    result = advdetect(
        "compare", small_model, small_model, *DATA, "--out", tmp_path, env={"COLUMNS": "80"}
    )
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["stages.1.0.relu2", "stages.1.0.relu2", "1.000"] in rows
    assert "layers that find their namesake, both ways: 10 of 10" in result.stdout
    (picture,) = tmp_path.glob("*.png")
    assert f"wrote {picture}" in result.stderr


def test_compare_prints_json(advdetect, small_model, tmp_path):
    options = ["--measure", "graph_similarity", "--layers", "stages.*", "--pooled", "--json"]
    result = advdetect("compare", small_model, small_model, *DATA, "--out", tmp_path, *options)
    (found,) = json.loads(result.stdout)
    assert found["measure"] == "graph_similarity"
    assert found["rows"] == [name for name in found["columns"] if name.startswith("stages.")]
    assert len(found["similarity"]) == len(found["rows"]) == 4


def test_compare_given_another(advdetect, small_model):
    question = ("--given", small_model, "--to", "labels")
    result = advdetect("compare", small_model, *question, *DATA)
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1].split()
    assert last[0] == "stages.1.0.relu2"
    assert float(last[1]) > 0.3
    assert abs(float(last[2])) < 0.05  # nothing is known beyond itself
    machine = json.loads(advdetect("compare", small_model, *question, *DATA, "--json").stdout)
    assert len(machine[0]["layers"]) == 5


def test_path_prints_a_line_a_layer(advdetect, small_model, tmp_path):
    result = advdetect("path", small_model, *DATA, "--out", tmp_path, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    first = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    start = first.index("pixels")
    assert first[start : start + 3] == ["pixels", "relu", "stages.0.0.relu1"]
    assert (tmp_path / "paths.png").is_file()
    machine = json.loads(advdetect("path", small_model, *DATA, "--out", tmp_path, "--json").stdout)
    assert [*machine["networks"]] == [str(small_model)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "MODEL"), "expected at least two models to compare"),
        (("compare", "MODEL", "--given", "MODEL"), "--given MODEL and --to labels go together"),
        (("compare", "MODEL", "MODEL", "--measure", "cosine"), "no measure named 'cosine'"),
        (("compare", "MODEL", "MODEL", "--layers", "conv"), "no layer that fits conv"),
        (("compare", "MODEL", "nothing"), "no model named 'nothing'"),
        (("compare", "MODEL", "fashion-resnet"), "fashion-resnet takes images of shape"),
        (("path", "MODEL", "--space", "flat"), "no space named 'flat'"),
    ],
)
def test_a_mistake_is_one_line(advdetect, small_model, tmp_path, arguments, message):
    typed = [small_model if word == "MODEL" else word for word in arguments]
    result = advdetect(*typed, *DATA, "--out", tmp_path)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line

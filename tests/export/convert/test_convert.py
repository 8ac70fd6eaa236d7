"""The folder that an export writes, and what it refuses to do."""

import dataclasses
import hashlib
import json

import pytest

from drnet_tf.errors import UserError
from export.convert import __main__ as command
from export.convert import conversion
from export.convert.conversion import convert
from export.folder.description import FORMAT
from export.graphs.graph import graph_of
from export.graphs.plan import routed
from tests.export.routed_model import CLASS_NAMES, CONFIG
from tests.training.commands import run_command


def test_description_tells_all_that_a_client_needs(exported):
    values = json.loads((exported.folder / "model.json").read_text())
    assert values["input"]["shape"] == [1, 16, 16, 3]
    assert values["class_names"] == list(CLASS_NAMES)
    assert values["branch_names"] == list(CONFIG.branches)
    assert (values["cells"], values["connections"]) == (3, 4)
    assert (values["checkpoint"], values["step"]) == ("step-000000007.npz", 7)
    cost = exported.trained.model.cost
    assert values["units"] == {
        "shape": [3, 4, 5],
        "names": ["cell", "connection", "branch"],
        "macs": cost.unit_macs.tolist(),
        "additive": True,
    }
    assert values["family"] == "drnet"
    assert values["knob"] == {
        "name": "threshold",
        "least": 0.0,
        "most": 1.0,
        "default": 0.8,
        "everything": 1.0,
        "more_is": "work",
    }
    assert values["macs"]["fixed"] == cost.fixed.macs
    for name in ("model.tflite", "labels.txt", "saved_model/1/saved_model.pb"):
        content = (exported.folder / name).read_bytes()
        assert values["files"][name] == {
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        }


def test_labels_are_one_a_line(exported):
    assert (exported.folder / "labels.txt").read_text() == "zero\none\ntwo\nthree\n"


@pytest.mark.parametrize("file", [False, True], ids=["folder", "file"])
def test_refuses_to_replace_what_is_no_export(exported, tmp_path, file):
    output = tmp_path / "precious"
    precious = output if file else output / "thesis.txt"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("years of work")
    with pytest.raises(UserError, match="is no export"):
        convert(exported.trained, CLASS_NAMES, output)
    assert precious.read_text() == "years of work"


def test_refuses_class_names_that_do_not_fit(exported, tmp_path):
    with pytest.raises(UserError, match="4 classes, not 3"):
        convert(exported.trained, CLASS_NAMES[:3], tmp_path / "new")
    with pytest.raises(UserError, match="line break"):
        convert(exported.trained, ("a\nb", "c", "d", "e"), tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_failure_leaves_the_older_export_as_it_was(exported, tmp_path, monkeypatch):
    output = tmp_path / "export"
    output.mkdir()
    older = json.dumps({"format": FORMAT, "step": 1})
    (output / "model.json").write_text(older)

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(conversion, "_checked_tflite", lambda graph, plan: (b"new", {}))
    monkeypatch.setattr(conversion, "write_saved_model", fail)
    with pytest.raises(OSError, match="No space left"):
        convert(exported.trained, CLASS_NAMES, output)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert {path.name for path in output.iterdir()} == {"model.json"}
    assert (output / "model.json").read_text() == older


def test_branch_that_does_not_convert_is_named(exported, tmp_path, monkeypatch):
    graph = graph_of(exported.trained.model)
    cells = tuple(dataclasses.replace(cell, layers={(0, 4): None}) for cell in graph.cells)
    with pytest.raises(UserError, match="branch skip does not convert"):
        conversion._checked_tflite(dataclasses.replace(graph, cells=cells), routed(graph.gateable))


def test_command_line_ends_with_one_line_where_there_is_no_run(tmp_path):
    (tmp_path / "empty").mkdir()
    line = run_command(command, f"--workdir={tmp_path}/empty", f"--output={tmp_path}/new")
    assert line.startswith("error: ") and "\n" not in line
    assert "is no workdir of a training run" in line
    assert not (tmp_path / "new").exists()

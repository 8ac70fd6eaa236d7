"""An export is opened, read and checked once, and tells what is in it."""

import builtins
import io
import json
import pathlib
import shutil
from collections import Counter

import numpy as np
import pytest

from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.layers.cost import Cost
from drnet_tf.models.cost import CostTable
from export.folder import description, export
from export.folder.export import Export, check_replaceable
from export.folder.json_schema import violations
from export.graphs.graph import graph_of
from export.graphs.plan import routed
from export.quantize import __main__ as quantize_command
from tests.export.routed_model import CLASS_NAMES
from tests.source_tree import ROOT
from tests.training.commands import run_command

EARLIER = ROOT / "tests" / "runs" / "earlier" / "export"


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported.folder, tmp_path / "copy")


def test_tells_what_the_export_has(exported):
    opened = Export.open(str(exported.folder), exported.trained)
    assert opened.folder == exported.folder
    assert opened.class_names == CLASS_NAMES
    assert opened.fit is Fit.WHOLE
    assert opened.knob["default"] == opened.default_threshold == 0.8
    assert opened.family.name == "drnet"
    assert opened.units == (3, 4, 5) and opened.image_size == 16
    assert opened.files == {"float32": exported.folder / "model.tflite"}
    assert opened.tflite == opened.files["float32"] and opened.fixed_file is None
    assert (opened.saved_model / "saved_model.pb").is_file()
    expected = routed(graph_of(exported.trained.model).gateable)
    np.testing.assert_array_equal(opened.plan().gated, expected.gated)


def test_one_command_reads_the_description_once_and_every_file_once(exported, copy, monkeypatch):
    hashed, read = Counter(), Counter()
    compute, open_file = description.sha256, io.open

    def count_hash(path):
        hashed[path] += 1
        return compute(path)

    def count_open(file, mode="r", *arguments, **named):
        if isinstance(file, str | pathlib.Path) and "w" not in mode:
            read[pathlib.Path(file)] += 1
        return open_file(file, mode, *arguments, **named)

    listed = json.loads((copy / "model.json").read_text())["files"]
    for module in (description, export):
        monkeypatch.setattr(module, "sha256", count_hash)
    for module in (builtins, io):
        monkeypatch.setattr(module, "open", count_open)
    arguments = (f"--workdir={exported.workdir}", f"--export_dir={copy}")
    assert run_command(quantize_command, *arguments, "--quantization=weight_int8") is None
    (checkpoint,) = (exported.workdir / "checkpoints").iterdir()
    assert hashed == {copy / name: 1 for name in listed} | {checkpoint: 1}
    assert read[copy / "model.json"] == 1
    assert list(Export.open(copy).files) == ["float32", "weight_int8"]


def test_export_of_an_earlier_version_is_refused_with_what_to_do(tmp_path):
    shutil.copytree(EARLIER, tmp_path / "earlier")
    with pytest.raises(UserError, match="earlier version.*python -m export.convert$") as error:
        Export.open(tmp_path / "earlier")
    assert "\n" not in str(error.value)
    check_replaceable(tmp_path / "earlier")


def test_family_that_is_not_known_is_named(exported):
    other = Export(exported.folder, exported.export.description | {"family": "new"})
    with pytest.raises(UserError, match="of the family new"):
        other.family  # noqa: B018


def test_gates_of_another_shape_than_the_units_are_refused(exported):
    for gates in ([[1, 0]], [[1], [1, 0]]):
        other = Export(exported.folder, exported.export.description | {"gates": gates})
        with pytest.raises(UserError, match="gates are not of the shape of units"):
            other.plan()


def test_costs_that_do_not_add_up_are_not_listed():
    class Nested(CostTable):
        def of_selection(self, selected):
            return selected, selected

    table = CostTable(Cost(1, 2), np.ones((2, 3), int), np.full((2, 3), 7))
    units = description._units(table, ("block", "width"))
    assert units == {
        "shape": [2, 3],
        "names": ["block", "width"],
        "macs": [[7, 7, 7], [7, 7, 7]],
        "additive": True,
    }
    nested = Nested(table.fixed, table.unit_params, table.unit_macs)
    units = description._units(nested, ("block", "width"))
    assert (units["macs"], units["additive"]) == (None, False)


def test_files_that_are_added_are_listed_and_whole(exported, copy):
    added = Export.open(copy).add_tflite({"float16": b"x"}, {"fine_tuning": {"steps": 1}})
    assert added.files["float16"].read_bytes() == b"x"
    # What another process finds, the checksum included; only these facts are no whole ones.
    values = json.loads((copy / "model.json").read_text())
    assert values == added.description
    assert values["files"]["model_float16.tflite"]["bytes"] == 1
    assert Export(copy, values)._check_files() is None


@pytest.mark.parametrize(
    ("value", "schema", "ok"),
    [
        (None, {"type": ["object", "null"], "required": ["a"]}, True),
        ({}, {"type": ["object", "null"], "required": ["a"]}, False),
        (1, {"type": ["object", "null"]}, False),
        (True, {"type": ["integer", "null"]}, False),
        ([[1, 0], [2]], {"$ref": "#/$defs/counts"}, True),
        ([[1, 0], [-1]], {"$ref": "#/$defs/counts"}, False),
        ([[1, 0], [2]], {"$ref": "#/$defs/bits"}, False),
        ([[1, "0"]], {"$ref": "#/$defs/bits"}, False),
    ],
)
def test_schema_may_allow_several_types_and_nest_lists(value, schema, ok):
    assert (violations(value, schema, description.schema()) == []) is ok

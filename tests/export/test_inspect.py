"""What is told of a .tflite file, against TensorFlow's analyzer; and the schema of model.json."""

import copy
import inspect as standard_inspect
import json
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.tools import flatbuffer_utils

from drnet_tf.errors import UserError
from export.folder.json_schema import violations
from export.inspect import inspect_file
from export.tflite.facts import model_facts
from tests.export.routed_model import CLASS_NAMES, CONFIG
from tests.source_tree import ROOT

SCHEMA = json.loads((ROOT / "export" / "folder" / "model_schema.json").read_text())


@pytest.fixture(scope="module")
def facts(exported):
    return inspect_file(exported.folder / "model.tflite")


def test_operators_subgraphs_and_weights_are_those_of_the_analyzer(exported, facts, capsys):
    content = (exported.folder / "model.tflite").read_bytes()
    tf.lite.experimental.Analyzer.analyze(model_content=content)
    text = capsys.readouterr().out
    operators = Counter(re.findall(r"^  Op#\d+ (\w+)\(", text, re.MULTILINE))
    assert facts["operators"] == operators
    assert list(facts["operators"].values()) == sorted(operators.values(), reverse=True)
    assert facts["subgraphs"] == len(re.findall(r"^Subgraph#\d+", text, re.MULTILINE))
    assert facts["ifs"] == operators["IF"] == CONFIG.cells * CONFIG.connections * 2
    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    metadata = sum(len(parsed.buffers[entry.buffer].data) for entry in parsed.metadata)
    total = int(re.search(r"Total data buffer size: +(\d+)", text)[1])
    assert facts["weight_bytes"] == total - metadata
    assert facts["file_bytes"] == len(content)
    assert facts["nodes"] == sum(operators.values())


def test_inputs_and_outputs_are_those_of_the_signature(facts):
    (signature,) = facts["signatures"]
    shapes = {
        tensor["name"]: (tensor["type"], tuple(tensor["shape"]))
        for tensor in (*signature["inputs"], *signature["outputs"])
    }
    assert signature["name"] == "serving_default"
    assert [tensor["name"] for tensor in signature["inputs"]] == ["image", "threshold"]
    assert shapes == {
        "image": ("float32", (1, 16, 16, 3)),
        "threshold": ("float32", (1,)),
        "logits": ("float32", (1, 4)),
        "probabilities": ("float32", (1, 4)),
        "selected": ("float32", (3, 4, 5)),
        "flops": ("float32", (1,)),
    }


def test_delegated_nodes_are_counted_inside_of_ifs_too():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 2)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 2]), tf.TensorSpec([1])])
    def routed(x, threshold):
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))  # one operator when converted
        x = tf.cumsum(x, axis=1)  # XNNPACK has none
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        return tf.cond(
            threshold[0] > 0.5,
            lambda: tf.nn.conv2d(tf.nn.max_pool2d(x, 3, 1, "SAME"), kernel, 1, "SAME"),
            lambda: tf.identity(x),
        )

    converter = tf.lite.TFLiteConverter.from_concrete_functions([routed.get_concrete_function()])
    facts = model_facts(converter.convert())
    kinds = {"CONV_2D": 2, "MAX_POOL_2D": 2}
    assert {kind: facts.operators[kind] for kind in kinds} == kinds
    assert facts.delegated == sum(kinds.values())
    assert facts.nodes == sum(facts.operators.values()) > facts.delegated


def test_description_beside_the_file_is_told(exported, facts, tmp_path):
    description = facts["description"]
    assert (description["model"], description["step"]) == ("drnet_xs.digits", 7)
    assert description["classes"] == len(CLASS_NAMES)
    assert description["branches"] == 3 * 4 * 5
    assert description["unchanged"]
    alone = tmp_path / "model.tflite"
    alone.write_bytes((exported.folder / "model.tflite").read_bytes())
    assert inspect_file(alone)["description"] is None
    (tmp_path / "model.json").write_bytes((exported.folder / "model.json").read_bytes())
    alone.write_bytes(alone.read_bytes() + b"\0")
    assert not inspect_file(alone)["description"]["unchanged"]


def test_file_that_is_no_model_is_refused(exported):
    with pytest.raises(UserError, match="labels.txt: it is no .tflite file"):
        inspect_file(exported.folder / "labels.txt")


def test_command_line_prints_json_and_leaves_the_standard_library_alone(exported, facts):
    process = subprocess.run(
        [sys.executable, "-m", "export.inspect", exported.folder / "model.tflite", "--json=-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert json.loads(process.stdout) == json.loads(json.dumps(facts))
    assert "export" not in standard_inspect.__file__


def test_description_fits_its_schema(exported):
    values = json.loads((exported.folder / "model.json").read_text())
    assert violations(values, SCHEMA) == []
    assert values.keys() <= SCHEMA["properties"].keys()
    wrong = copy.deepcopy(values)
    del wrong["step"]
    wrong["schema_version"] = 1
    wrong["input"]["shape"] = [1, 16, 16]
    wrong["files"]["model.tflite"]["sha256"] = "f" * 63
    wrong["macs"]["fixed"] = 1.5
    found = {line.split(":")[0] for line in violations(wrong, SCHEMA)}
    where = ("", ".schema_version", ".input.shape", ".files.model.tflite.sha256", ".macs.fixed")
    assert found == {f"${path}" for path in where}

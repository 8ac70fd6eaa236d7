"""Quantized .tflite files: what is quantized in them, what is not, and what they say."""

import copy as copying
import itertools
import json
import shutil

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from drnet_tf.errors import UserError
from export.folder import export as export_module
from export.folder.export import Export
from export.folder.json_schema import violations
from export.graphs.drnet.borderline import borderline
from export.quantize.calibration import tensor_ranges
from export.quantize.fine_tuning import FineTuning
from export.quantize.quantization import QUANTIZATIONS, parse_quantizations, quantize
from export.tflite.operators import count_operators, not_builtin
from export.tflite.runner import TFLiteRunner
from tests.export.routed_model import CONFIG
from tests.source_tree import ROOT

CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
FLOAT32, INT8 = schema.TensorType.FLOAT32, schema.TensorType.INT8


@pytest.fixture(scope="module")
def quantized(exported, images, tmp_path_factory):
    """An export with all quantizations."""
    folder = shutil.copytree(exported.folder, tmp_path_factory.mktemp("quantized") / "export")
    return quantize(
        exported.trained,
        Export.open(folder),
        QUANTIZATIONS,
        images,
        batches=itertools.repeat(images),
        fine_tuning=FineTuning(steps=4, batch_size=len(images)),
        seed=5,
    )


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported.folder, tmp_path / "copy")


def _signature(path):
    signature = Interpreter(str(path)).get_signature_runner("serving_default")
    details = signature.get_input_details() | signature.get_output_details()
    return {name: (tuple(v["shape"]), v["dtype"]) for name, v in details.items()}


def _operators(path):
    """Each operator: code, name of its output, and the types of its inputs, as stored."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    for subgraph in model.subgraphs:
        made = {o.outputs[0]: o for o in subgraph.operators if len(o.outputs)}
        for operator in subgraph.operators:
            types = []
            for index in operator.inputs:
                source = made.get(index)
                if source is not None and _code(model, source) == schema.BuiltinOperator.DEQUANTIZE:
                    index = source.inputs[0]
                types.append(subgraph.tensors[index].type)
            output = subgraph.tensors[operator.outputs[0]]
            yield _code(model, operator), output.name.decode(), types, output.type


def _code(model, operator):
    code = model.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


@pytest.mark.parametrize("kind", QUANTIZATIONS)
def test_file_takes_and_gives_what_float32_does_and_skips_the_same_branches(quantized, kind):
    files = quantized.files
    assert _signature(files[kind]) == _signature(files["float32"])
    operators = count_operators(files[kind].read_bytes())
    assert operators["IF"] == CONFIG.cells * CONFIG.connections * 2
    assert not not_builtin(operators)
    assert files[kind].stat().st_size < files["float32"].stat().st_size


def test_description_lists_the_files_with_their_checksums(quantized):
    values = json.loads((quantized.folder / "model.json").read_text())
    assert values["tflite"] == {
        "float32": "model.tflite",
        "float16": "model_float16.tflite",
        "weight_int8": "model_weight_int8.tflite",
        "int8": "model_int8.tflite",
        "int8_qat": "model_int8_qat.tflite",
    }
    assert values["calibration"] == {
        "split": "train",
        "images": 12,
        "seed": 5,
        "thresholds": [1.0, 0.8, 0.5],
    }
    assert (values["fine_tuning"]["steps"], values["fine_tuning"]["seed"]) == (4, 5)
    for name in values["tflite"].values():
        assert values["files"][name]["bytes"] == (quantized.folder / name).stat().st_size
    Export.open(quantized.folder)


def test_description_with_quantized_files_fits_its_schema(quantized):
    schema = json.loads((ROOT / "export" / "folder" / "model_schema.json").read_text())
    values = json.loads((quantized.folder / "model.json").read_text())
    assert violations(values, schema) == []
    assert values.keys() <= schema["properties"].keys()
    for name in ("calibration", "fine_tuning"):
        assert values[name].keys() == set(schema["properties"][name]["required"])
    wrong = copying.deepcopy(values)
    wrong["tflite"]["int8"] = "model_int8.onnx"
    wrong["calibration"]["split"] = "test"
    del wrong["calibration"]["seed"]
    wrong["calibration"]["thresholds"] = []
    wrong["fine_tuning"]["steps"] = 0
    found = {line.split(":")[0] for line in violations(wrong, schema)}
    where = (".tflite.int8", ".calibration", ".calibration.split", ".calibration.thresholds")
    assert found == {f"${path}" for path in (*where, ".fine_tuning.steps")}


def test_float16_says_nearly_the_same_with_weights_of_float16(quantized, images):
    files = quantized.files
    for code, name, types, output in _operators(files["float16"]):
        if code in CONVOLUTIONS:
            assert (types[1], output) == (schema.TensorType.FLOAT16, FLOAT32), name
    expected = TFLiteRunner(files["float32"]).run_all(images, 1.0)
    actual = TFLiteRunner(files["float16"]).run_all(images, 1.0)
    scale = np.abs(expected.logits).max()
    error = np.abs(actual.logits - expected.logits).max() / scale
    assert 0 < error < 5e-3


@pytest.mark.parametrize("kind", ["weight_int8", "int8", "int8_qat"])
def test_weights_of_convolutions_are_int8_but_those_of_routers_float32(quantized, kind):
    kept, stored = 0, 0
    for code, name, types, _ in _operators(quantized.files[kind]):
        if code in CONVOLUTIONS and "router" in name:
            assert types == [FLOAT32, FLOAT32, FLOAT32], name
            kept += 1
        elif code in CONVOLUTIONS and "every_nth_pixel" not in name:
            assert types[1] == INT8, name
            stored += 1
    # Of a router: the first depthwise convolution twice, for two inputs, and three others.
    assert kept == CONFIG.cells * 5
    # Two a separable convolution that is applied twice, in each IF; and those outside of IFs.
    assert stored > CONFIG.cells * CONFIG.connections * 2 * 4


@pytest.mark.parametrize("kind", ["int8", "int8_qat"])
def test_int8_computes_in_int8_inside_of_branches_and_sums_in_float32(quantized, kind):
    sums = 0
    for code, name, types, output in _operators(quantized.files[kind]):
        if code in CONVOLUTIONS and not ("router" in name or "every_nth_pixel" in name):
            assert (types[0], output) == (INT8, INT8), name
        elif code in (schema.BuiltinOperator.ADD, schema.BuiltinOperator.MUL):
            assert output != INT8, name
            sums += "cond" in name
    assert sums == CONFIG.cells * CONFIG.connections * 2 * 2


@pytest.mark.parametrize("kind", ["weight_int8", "int8", "int8_qat"])
def test_selection_is_the_same_where_it_is_clear(exported, quantized, images, kind):
    threshold, margin = 0.5, 0.05
    _, routing = exported.trained.model(images, threshold=threshold)
    close = borderline(routing.own["recalibrated"].numpy(), threshold, margin)
    expected = routing.selected.numpy()
    actual = TFLiteRunner(quantized.files[kind]).run_all(images, threshold)
    differing = actual.selected != expected
    # Cells behind a difference read other features.
    cell_differs = differing.any(axis=(2, 3))
    comparable = np.cumsum(cell_differs, axis=1) <= cell_differs
    clear = comparable[:, :, None, None] & ~close
    assert clear.mean() > 0.5
    assert not (differing & clear).any()


@pytest.mark.parametrize(
    ("kind", "bound"), [("weight_int8", 0.05), ("int8", 0.15), ("int8_qat", 0.15)]
)
def test_logits_are_close_where_all_branches_run(quantized, images, kind, bound):
    files = quantized.files
    expected = TFLiteRunner(files["float32"]).run_all(images, 1.0).logits
    actual = TFLiteRunner(files[kind]).run_all(images, 1.0).logits
    assert 0 < np.abs(actual - expected).max() / np.abs(expected).max() < bound


def test_ranges_are_those_of_the_images_also_inside_of_branches(exported, images):
    path = exported.folder / "model.tflite"
    ranges = tensor_ranges(path.read_bytes(), images, thresholds=(1.0,))
    # The output of an IF, in the main graph, is the sum inside of its branch.
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    names = [[tensor.name.decode() for tensor in graph.tensors] for graph in model.subgraphs]
    compared = 0
    for operator in model.subgraphs[0].operators:
        if _code(model, operator) == schema.BuiltinOperator.IF:
            inside = operator.builtinOptions.thenSubgraphIndex
            outer = ranges[names[0][operator.outputs[0]]]
            inner = ranges[names[inside][model.subgraphs[inside].outputs[0]]]
            assert (inner["min"], inner["max"]) == (outer["min"], outer["max"])
            compared += 1
    assert compared == CONFIG.cells * CONFIG.connections * 2
    # All values of all images, against what the accelerated file says.
    logits = TFLiteRunner(path).run_all(images, 1.0).logits
    spans = [(r["min"].min(), r["max"].max()) for r in ranges.values() if r["min"].ndim == 2]
    assert any(np.allclose(span, (logits.min(), logits.max()), rtol=1e-4) for span in spans)


def test_second_call_keeps_the_files_of_the_first(exported, copy):
    export = quantize(exported.trained, Export.open(copy), ["weight_int8"])
    first = (copy / "model_weight_int8.tflite").read_bytes()
    quantize(exported.trained, export, ["float16"])
    assert list(Export.open(copy).files) == ["float32", "weight_int8", "float16"]
    assert (copy / "model_weight_int8.tflite").read_bytes() == first


def test_failure_leaves_the_export_as_it_was(exported, copy, monkeypatch):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(export_module, "write_description", fail)
    with pytest.raises(OSError, match="No space left"):
        quantize(exported.trained, Export.open(copy), ["weight_int8"])
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_unknown_quantization_is_refused():
    assert parse_quantizations(["none"]) == []
    assert parse_quantizations(["int8", "float16", "int8"]) == ["int8", "float16"]
    with pytest.raises(UserError, match="no quantization 'int4'; there are none, float16"):
        parse_quantizations(["int4"])


@pytest.mark.parametrize("kind", ["int8", "int8_qat"])
def test_int8_without_fitting_images_is_refused(exported, images, kind):
    for wrong in (None, images[0], images[:, :8], images[:0]):
        with pytest.raises(UserError, match=r"calibrate with must be \[images, 16, 16, 3\]"):
            quantize(exported.trained, exported.export, [kind], wrong)

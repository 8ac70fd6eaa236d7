"""A model without routing goes through the same commands, or is refused with the reason."""

import csv
import json

import numpy as np
import pytest

from drnet_tf.data.fit import Fit
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.workdir import Run, load_trained
from export import compare
from export.benchmark import __main__ as benchmark
from export.compress import __main__ as compress
from export.convert import __main__ as convert
from export.folder import description
from export.folder.export import Export
from export.folder.json_schema import violations
from export.graphs.plan import DENSE
from export.inspect import inspect_file, table
from export.quantize import __main__ as quantize
from export.saved_model.runner import SavedModelRunner
from export.score import __main__ as score
from export.stress import __main__ as stress
from export.tflite.runner import TFLiteRunner
from export.verify import __main__ as verify
from tests.models import family_cases
from tests.training.commands import run_command

IMAGES = 12


class Plain:
    """A run of a small MobileNetV2 on images of noise, and its export with three quantizations."""

    def __init__(self, folder):
        self.folder = folder
        self.config = family_cases.config_of("plain")
        self.images, labels = family_cases.batch_of(self.config, IMAGES)
        self.images = self.images.round()
        names = [f"class {i}" for i in range(self.config.classes)]
        arrays = {"class_names": np.array(names)}
        for split in ("train", "test"):
            arrays[f"{split}_images"] = self.images.astype(np.uint8)
            arrays[f"{split}_labels"] = labels
        np.savez(folder / "images.npz", **arrays)
        self.workdir, self.export_dir = folder / "run", folder / "export"
        name = family_cases.CASES["plain"][0]
        run = Run(name, self.config, str(folder / "images.npz"), fit=Fit.WHOLE)
        run.save(str(self.workdir))
        Checkpoint.of(5, family_cases.build("plain")).write(str(self.workdir))

    def run(self, module, *arguments):
        """Runs a command on the export; returns None, or why it was refused."""
        folders = (f"--workdir={self.workdir}", f"--export_dir={self.export_dir}")
        return run_command(module, *folders, *arguments)

    def convert(self, output, *arguments):
        given = (f"--workdir={self.workdir}", f"--output={output}")
        return run_command(convert, *given, *arguments)

    def json_of(self, module, *arguments):
        path = self.folder / "results.json"
        assert self.run(module, f"--json={path}", *arguments) is None
        return json.loads(path.read_text())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    plain = Plain(tmp_path_factory.mktemp("plain"))
    quick = "--quantization=float16,weight_int8,int8"
    assert plain.convert(plain.export_dir, quick) is None
    return plain


@pytest.fixture(scope="module")
def export(plain):
    return Export.open(plain.export_dir, load_trained(str(plain.workdir)))


def test_description_says_that_nothing_routes(export):
    values = export.description
    assert violations(values, description.schema()) == []
    assert values["family"] == "plain" and export.family.name == "plain"
    assert values["knob"] is None and export.default_threshold is None
    assert values["units"] == {"shape": [], "names": [], "macs": None, "additive": True}
    assert values["gates"] is None and export.plan() is DENSE
    assert values["macs"]["fixed"] == values["macs"]["total"]
    assert not {"cells", "branch_names", "temperature"} & values.keys()
    assert values["serving"]["signatures"] == [
        *("serving_default", "classify_uint8", "classify_encoded")
    ]


def test_files_take_images_only_and_say_what_keras_says(plain, export):
    model = load_trained(str(plain.workdir)).model
    expected = np.asarray(model(plain.images)[0])
    scale = np.abs(expected).max()
    saved_model = SavedModelRunner(export.saved_model)
    assert set(saved_model.signatures) == set(export.description["serving"]["signatures"])
    runner = TFLiteRunner(export.tflite)
    assert not runner.routed
    for outputs in (runner.run_all(plain.images), saved_model.run(plain.images)):
        assert outputs.selected is None and outputs.flops is None
        np.testing.assert_allclose(outputs.logits, expected, rtol=0, atol=1e-4 * scale)
    (signature,) = inspect_file(export.tflite)["signatures"]
    names = [[tensor["name"] for tensor in signature[end]] for end in ("inputs", "outputs")]
    assert names == [["image"], ["logits", "probabilities"]]


def test_is_verified_without_thresholds(plain, capsys):
    assert plain.run(verify, f"--images={IMAGES}") is None
    assert "agree on 12 images: logits within" in capsys.readouterr().out


def test_is_timed_alone(plain, capsys):
    values = plain.json_of(benchmark, "--images=2", "--seconds=0")
    (result,) = values["results"]
    assert values["family"] == "plain"
    assert result["threshold"] is None and result["macs_ratio"] == 1
    assert result["routed_median_ms"] > 0
    assert result["dense_median_ms"] is None and result["ratio"] is None
    (footprint,) = values["footprints"]
    assert footprint["threshold"] is None and footprint["first_ms"] > 0


def test_quantized_files_are_compared_without_a_routing(plain, export):
    values = plain.json_of(compare, "--seconds=0", "--timed_images=2")
    assert [result["quantization"] for result in values["results"]] == list(export.files)
    assert list(export.files) == ["float32", "float16", "weight_int8", "int8"]
    for result in values["results"]:
        assert result["same_selection"] is None and result["same_decisions"] is None
        assert result["macs"] == export.description["macs"]["fixed"]
    float32, float16, *_ = values["results"]
    assert float16["same_class"] == 1 and float16["size"] < float32["size"]


def test_scores_have_the_cost_of_all_images_and_no_route(plain, export, tmp_path):
    output = tmp_path / "scores.csv"
    given = (f"--export_dir={plain.export_dir}", f"--input={plain.folder}/images.npz")
    assert run_command(score, *given, f"--output={output}") is None
    rows = list(csv.DictReader(output.open()))
    answers = TFLiteRunner(export.tflite).run_all(plain.images).probabilities.argmax(axis=1)
    assert [row["class"] for row in rows] == [export.class_names[i] for i in answers]
    assert {row["macs"] for row in rows} == {str(export.description["macs"]["fixed"])}
    assert {row["route"] for row in rows} == {""}


def test_any_image_is_answered(plain):
    given = ("--inputs=40", "--invocations=40")
    assert run_command(stress, f"--export_dir={plain.export_dir}", *given) is None


def test_what_is_told_of_the_file_has_no_branches(export):
    values = inspect_file(export.tflite)
    assert values["description"]["unchanged"] and values["description"]["branches"] == 0
    names = {str(cell) for cell in table(values).columns[0].cells}
    assert "MACs" in names and not names & {"units", "in an IF"}


@pytest.mark.parametrize(
    "flag", ["default_threshold=0.5", "static_threshold=0.5", "structure=auto", "thresholds=0.5"]
)
def test_flags_of_routing_are_refused(plain, tmp_path, flag):
    if flag.startswith("thresholds"):
        line = plain.run(verify, f"--{flag}")
        assert "a model of the family plain has no threshold" in line
    else:
        line = plain.convert(tmp_path / "new", f"--{flag}")
        name = flag.split("=")[0]
        assert f"a model of the family plain routes nothing: leave --{name} out" in line
        assert not (tmp_path / "new").exists()


def test_what_takes_a_routing_is_refused_with_the_reason(plain, tmp_path):
    line = plain.run(quantize, "--quantization=int8_qat")
    assert "int8_qat is made of models with routing only" in line and "family plain" in line
    given = (f"--workdir={plain.workdir}", f"--output={tmp_path}/new")
    line = run_command(compress, *given)
    assert "only a DRNet can be compressed" in line and "family plain" in line

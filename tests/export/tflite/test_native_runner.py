"""The C program, compared with the Python interpreter."""

import shutil

import numpy as np
import pytest

from drnet_tf.errors import UserError
from export.graphs.graph import graph_of
from export.graphs.plan import fixed
from export.tflite import native_runner
from export.tflite.converter import to_tflite
from export.tflite.native_runner import compile_runner, run_native
from export.tflite.programs import run_program
from export.tflite.runner import TFLiteRunner
from tests.export.routed_model import CONFIG

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler, cc")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("a folder") / "run_tflite"
    compile_runner(path)
    return path


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0])
def test_says_of_each_image_what_the_python_interpreter_says(program, exported, images, threshold):
    model = exported.folder / "model.tflite"
    results = run_native(program, model, images, threshold)
    expected = TFLiteRunner(model).run_all(images, threshold)
    assert len(set(expected.flops)) > 1 or threshold == 1
    assert [result.label for result in results] == expected.probabilities.argmax(axis=1).tolist()
    assert [result.flops for result in results] == expected.flops.tolist()
    np.testing.assert_allclose(
        [result.probability for result in results],
        expected.probabilities.max(axis=1),
        rtol=1e-5,
    )


def test_repeats_do_not_change_the_answer(program, exported, images):
    model = exported.folder / "model.tflite"
    once = run_native(program, model, images, 0.4)
    assert run_native(program, model, images, 0.4, repeats=3) == once


def test_model_without_threshold_and_flops_is_run_too(program, exported, images, tmp_path):
    kept = np.ones(exported.trained.model.cost.units, bool)
    content = to_tflite(graph_of(exported.trained.model), fixed(kept))
    (tmp_path / "static.tflite").write_bytes(content)
    static = run_native(program, tmp_path / "static.tflite", images, 0.4)
    routed = run_native(program, exported.folder / "model.tflite", images, 1.0)
    assert {result.flops for result in static} == {None}
    assert [result.label for result in static] == [result.label for result in routed]


def test_damaged_input_ends_with_one_line(program, exported, tmp_path):
    size = CONFIG.image_size
    model = exported.folder / "model.tflite"
    with pytest.raises(UserError, match="do not end with a whole image"):
        run_native(program, model, np.zeros((1, size, size + 1, 3)), 0.5)
    with pytest.raises(UserError, match="there are no images"):
        run_native(program, model, np.zeros((0, size, size, 3)), 0.5)
    (tmp_path / "damaged.tflite").write_bytes(b"no model")
    with pytest.raises(UserError, match="LiteRT cannot read the model"):
        run_native(program, tmp_path / "damaged.tflite", np.zeros((1, size, size, 3)), 0.5)
    with pytest.raises(UserError, match="usage: run_tflite MODEL THRESHOLD IMAGES"):
        run_program([str(program), str(model), "high", "-"])


def test_missing_compiler_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no no-such-cc"):
        compile_runner(tmp_path / "program", compiler="no-such-cc")


def test_error_of_the_compiler_is_shown(tmp_path, monkeypatch):
    source = tmp_path / "wrong.c"
    source.write_text("int main(void) { return missing; }\n")
    monkeypatch.setattr(native_runner, "SOURCE", source)
    with pytest.raises(UserError, match=r"wrong\.c does not compile"):
        compile_runner(tmp_path / "program")

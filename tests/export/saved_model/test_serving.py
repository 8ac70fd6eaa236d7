"""What TF Serving does with an export, as far as it can be done without its server."""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from drnet_tf.data.decoding import as_evaluated
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from export.convert import conversion
from export.convert.conversion import convert
from export.folder.export import Export
from export.folder.names import saved_model_path
from export.graphs.graph import read_graph
from export.saved_model.runner import SIGNATURES, SavedModelRunner
from export.saved_model.writer import Serving, write_saved_model
from tests.export.routed_model import CLASS_NAMES, assert_equal_outputs, run_keras
from tests.source_tree import ROOT

HERE = pathlib.Path(__file__).resolve().parent
SERVING = ROOT / "docs" / "serving.md"


@pytest.fixture(scope="module")
def version(exported) -> pathlib.Path:
    """The folder of version 1 of the model."""
    return saved_model_path(exported.folder)


@pytest.fixture(scope="module")
def saved_model(version) -> SavedModelRunner:
    return SavedModelRunner(version)


@pytest.fixture(scope="module")
def expected(exported, images):
    """Of Keras at the default threshold."""
    return run_keras(exported.trained.model, images, 0.8)


def photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    """An image, uint8, that is smooth enough for resizing to keep something of it."""
    coarse = np.random.default_rng(height).uniform(0, 255, (4, 4, channels))
    return tf.cast(tf.image.resize(coarse, [height, width], "bicubic"), tf.uint8).numpy()


def test_default_threshold_is_an_argument_and_is_recorded(exported, images, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "_checked_tflite", lambda graph, plan: (b"quicker", {}))
    folder = tmp_path / "export"
    convert(exported.trained, CLASS_NAMES, folder, default_threshold=0.25)
    assert Export.open(folder).default_threshold == 0.25
    runner = SavedModelRunner(Export.open(folder).saved_model)
    actual = runner.call("serving_default", image=tf.constant(images))
    assert_equal_outputs(actual, run_keras(exported.trained.model, images, 0.25))
    assert exported.export.default_threshold == 0.8


def test_default_threshold_that_is_no_number_is_refused(exported, tmp_path):
    with pytest.raises(UserError, match="must be a finite number"):
        convert(exported.trained, CLASS_NAMES, tmp_path / "new", default_threshold=float("nan"))
    assert not list(tmp_path.iterdir())


def test_classes_are_the_names_of_the_most_probable(saved_model, images, expected):
    outputs = saved_model.signatures["serving_default"](image=tf.constant(images))
    names = [CLASS_NAMES[i].encode() for i in expected.probabilities.argmax(axis=1)]
    assert outputs["classes"].numpy().tolist() == names


@pytest.mark.parametrize(
    "image",
    [photo(16, 16), photo(40, 40), photo(16, 16, 1), photo(9, 9, 1)],
    ids=["of the model's size", "larger", "grey", "smaller and grey"],
)
@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_encoded_images_are_resized_as_for_evaluation(saved_model, image, encode):
    content = encode(image)
    decoded = tf.image.decode_image(content, expand_animations=False)
    decoded = tf.tile(decoded, [1, 1, 3 // image.shape[2]])
    pixels = as_evaluated(tf.ensure_shape(decoded, [*image.shape[:2], 3]), 16).numpy()
    actual = saved_model.call("classify_encoded", image_bytes=content[None])
    assert_equal_outputs(actual, saved_model.run(pixels[None], 0.8))


def test_centre_is_cropped_where_evaluation_crops_it(exported, tmp_path):
    serving = Serving(CLASS_NAMES, Fit.CENTRE_CROP, 0.8)
    write_saved_model(read_graph(exported.trained.model), serving, tmp_path)
    runner = SavedModelRunner(tmp_path)
    wide = photo(30, 48)
    pixels = as_evaluated(tf.constant(wide), 16).numpy()
    actual = runner.call("classify_encoded", image_bytes=tf.io.encode_png(wide)[None])
    assert_equal_outputs(actual, runner.run(pixels[None], 0.8))
    square = photo(16, 16)
    other = runner.call("classify_encoded", image_bytes=tf.io.encode_png(square)[None])
    assert (other.logits != runner.run(square[None], 0.8).logits).any()


def test_batch_of_image_files_may_mix_sizes_and_formats(saved_model):
    contents = [
        tf.io.encode_png(photo(16, 16)),
        tf.io.encode_jpeg(photo(20, 33)),
        tf.io.encode_png(photo(64, 24, 4)),
    ]
    together = saved_model.call("classify_encoded", image_bytes=tf.stack(contents))
    for i, content in enumerate(contents):
        alone = saved_model.call("classify_encoded", image_bytes=content[None])
        np.testing.assert_allclose(together.logits[i], alone.logits[0], atol=1e-4)


def test_every_warmup_request_runs(version, saved_model):
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    assert path.stat().st_size < 10_000
    replayed = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        outputs = serve(saved_model, request)
        assert np.isfinite(tf.make_ndarray(outputs["logits"])).all()
        replayed.append((request.model_spec.signature_name, len(tf.make_ndarray(outputs["flops"]))))
    assert sorted(replayed) == sorted((name, batch) for name in SIGNATURES for batch in (1, 8))


def serve(saved_model: SavedModelRunner, request) -> dict:
    """The outputs of a PredictRequest as TensorProto."""
    inputs = {
        # As the server reads it: one value may stand for all of the shape.
        name: tf.io.parse_tensor(value.SerializeToString(), tf.dtypes.as_dtype(value.dtype))
        for name, value in request.inputs.items()
    }
    outputs = saved_model.signatures[request.model_spec.signature_name](**inputs)
    return {name: tf.make_tensor_proto(value) for name, value in outputs.items()}


def test_model_config_names_the_folder_with_the_versions(exported):
    config = text_format.Parse(
        (exported.folder / "models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    (model,) = config.model_config_list.config
    mounted = model.base_path.removeprefix("/models/drnet/")
    assert (exported.folder / mounted / "1" / "saved_model.pb").is_file()


def test_tflite_lies_in_the_version_folder_too(exported, version):
    content = (exported.folder / "model.tflite").read_bytes()
    assert (version / "model.tflite").read_bytes() == content


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs(version, images, expected, tmp_path):
    np.save(tmp_path / "images.npy", images[:3])
    # Both commands in one process, since each would load TensorFlow anew.
    program = (
        "import sys\n"
        "from absl import flags\n"
        "from tensorflow.python.tools import saved_model_cli as cli\n"
        "flags.FLAGS(sys.argv[:1])\n"
        "for command in sys.argv[1:]:\n"
        "    sys.argv[1:] = command.split('|')\n"
        "    cli.create_parser().parse_args().func()\n"
    )
    show = f"show|--dir|{version}|--all"
    run = (
        f"run|--dir|{version}|--tag_set|serve|--signature_def|serving_default|--inputs|"
        f"image={tmp_path / 'images.npy'}|--outdir|{tmp_path}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, show, run], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in SIGNATURES:
        assert f"signature_def['{name}']" in done.stdout
    np.testing.assert_allclose(
        np.load(tmp_path / "probabilities.npy"), expected.probabilities[:3], atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is needed to compile a C program")
def test_c_program_gets_what_keras_says(version, images, expected, tmp_path):
    library = pathlib.Path(tf.sysconfig.get_lib())
    program = tmp_path / "run_saved_model"
    subprocess.run(
        [
            *(
                "gcc",
                "-O1",
                "-Wall",
                "-Werror",
                str(HERE / "run_saved_model.c"),
                "-o",
                str(program),
            ),
            *("-isystem", tf.sysconfig.get_include(), f"-L{library}", f"-Wl,-rpath,{library}"),
            *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"),
        ],
        check=True,
    )
    definition = meta_graph(version).signature_def["serving_default"]
    (input_name, _), (output_name, index) = (
        tensor.name.split(":")
        for tensor in (definition.inputs["image"], definition.outputs["logits"])
    )
    done = subprocess.run(
        [str(program), str(version), input_name, output_name, index, "16", "16"],
        input=images.tobytes(),
        capture_output=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr.decode()
    logits = np.frombuffer(done.stdout, np.float32).reshape(expected.logits.shape)
    scale = np.abs(expected.logits).max()
    np.testing.assert_allclose(logits, expected.logits, rtol=0, atol=1e-4 * scale)


def meta_graph(version: pathlib.Path):
    """What a loader finds under the tag `serve`."""
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    (found,) = (graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags)
    return found


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers Predict as the server does, in this process."""

    def __init__(self, saved_model: SavedModelRunner):
        self.saved_model = saved_model

    def Predict(self, request, context):
        assert request.model_spec.name == "drnet"
        response = predict_pb2.PredictResponse()
        for name, value in serve(self.saved_model, request).items():
            response.outputs[name].CopyFrom(value)
        return response


def test_documented_client_classifies_an_image_file(saved_model, tmp_path, monkeypatch, capsys):
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", SERVING.read_text(), re.DOTALL)
        if "PredictionServiceStub" in block
    )
    image = tf.io.encode_jpeg(photo(30, 30))
    (tmp_path / "image.jpg").write_bytes(image.numpy())
    monkeypatch.chdir(tmp_path)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Servicer(saved_model), server
    )
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        assert "localhost:8500" in code
        exec(code.replace("localhost:8500", f"localhost:{port}"), {})
    finally:
        server.stop(None)
    outputs = saved_model.signatures["classify_encoded"](image_bytes=image[None])
    assert capsys.readouterr().out.split()[0] == str(outputs["classes"].numpy()[0])

"""What goes wrong ends each command with one line, and leaves every file as it was."""

import errno
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from drnet_tf.errors import UserError
from export import compare, inspect
from export import flags as export_flags
from export.benchmark import __main__ as benchmark
from export.convert import __main__ as convert
from export.convert import conversion
from export.folder.description import FORMAT
from export.folder.export import Export, check_replaceable
from export.quantize import __main__ as quantize
from export.quantize.int8 import quantize_weights
from export.score import __main__ as score
from export.score import parts as score_parts
from export.stress import __main__ as stress
from export.tflite import facts as model_facts
from export.tflite.runner import TFLiteRunner
from export.verify import __main__ as verify
from tests.export.routed_model import CLASS_NAMES
from tests.training.commands import run_command

READERS = (verify, benchmark, compare, quantize, score, stress)


class Setting:
    """A folder with a copy of an export in it, images and labels, and commands to run on them."""

    def __init__(self, exported, folder):
        self.folder = folder
        self.workdir = exported.workdir
        self.export = shutil.copytree(exported.folder, folder / "export")
        (folder / "images").mkdir()
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "images" / "black.png")
        self.labels = folder / "labels.txt"
        self.labels.write_text("\n".join(CLASS_NAMES))

    def arguments(self, module):
        found = [f"--export_dir={self.export}"]
        if module not in (score, stress):
            found.append(f"--workdir={self.workdir}")
        if module is score:
            found += [f"--input={self.folder / 'images'}", f"--output={self.folder / 'scores.csv'}"]
        if module is quantize:
            found.append("--quantization=weight_int8")
        if module is convert:
            found[0] = f"--output={self.export}"
            found.append(f"--labels={self.labels}")
        return found

    def content(self):
        return {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}

    def refused(self, module, *more, operands=()):
        """The line with which a command is refused, which must leave everything as it was."""
        before = self.content()
        given = self.arguments(module) if module is not inspect else []
        line = run_command(module, *given, *more, operands=operands)
        assert isinstance(line, str), "the command did not fail"
        assert line.startswith("error: ") and "\n" not in line
        assert self.content() == before
        return line


@pytest.fixture
def setting(exported, tmp_path):
    return Setting(exported, tmp_path)


def edited(change):
    def edit(folder):
        values = json.loads((folder / "model.json").read_text())
        change(values)
        (folder / "model.json").write_text(json.dumps(values))

    return edit


def written(name, change):
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def bit_flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "no folder": (shutil.rmtree, "is no export: it has no model.json"),
    "no model.json": (lambda f: (f / "model.json").unlink(), "is no export"),
    "model.json cut short": (written("model.json", lambda c: c[:500]), "cannot be read"),
    "model.json no text": (written("model.json", lambda c: b"\xff\xfe"), "cannot be read"),
    "model.json nested": (written("model.json", lambda c: b"[" * 99999), "cannot be read"),
    "model.json a list": (written("model.json", lambda c: b"[1]"), "does not describe an export"),
    "another format": (edited(lambda v: v.update(format="x")), "does not describe an export"),
    "no files": (edited(lambda v: v.pop("files")), "damaged or of another version"),
    "files a list": (edited(lambda v: v.update(files=[])), "$.files: is no object"),
    "no config": (edited(lambda v: v.pop("config")), "$: lacks config"),
    "no image": (edited(lambda v: v["input"].pop("shape")), "$.input: lacks shape"),
    "no checksum": (
        edited(lambda v: v["files"].pop("model.tflite")),
        "has no checksum of model.tflite",
    ),
    "file lost": (lambda f: (f / "model.tflite").unlink(), "lacks model.tflite"),
    "file empty": (written("model.tflite", lambda c: b""), "is not the file that was exported"),
    "file cut short": (written("model.tflite", lambda c: c[:-1]), "is not the file"),
    "bit flipped": (written("model.tflite", bit_flipped), "is not the file"),
    "another model": (written("model.tflite", quantize_weights), "is not the file"),
    "SavedModel damaged": (
        written("saved_model/1/saved_model.pb", bit_flipped),
        "saved_model.pb is not the file",
    ),
}


@pytest.mark.parametrize("module", READERS, ids=lambda module: module.__name__)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_export_is_refused_before_it_is_loaded(setting, module, damage, monkeypatch):
    def loaded(*_, **__):
        raise AssertionError("a file was loaded")

    change, says = DAMAGE[damage]
    change(setting.export)
    monkeypatch.setattr("export.tflite.runner.Interpreter", loaded)
    monkeypatch.setattr(tf.saved_model, "load", loaded)
    assert says in setting.refused(module)


@pytest.mark.parametrize("module", [verify, benchmark, compare, quantize])
def test_export_of_another_model_is_refused(setting, module):
    edited(lambda v: v["config"].update(cells=9))(setting.export)
    assert "is an export of another model" in setting.refused(module)


@pytest.mark.parametrize("module", [convert, verify, benchmark, compare, quantize])
def test_damaged_workdir_is_refused(setting, module):
    setting.workdir = shutil.copytree(setting.workdir, setting.folder / "workdir")
    (checkpoint,) = (setting.workdir / "checkpoints").iterdir()
    for path, says in (
        (checkpoint, "is not a whole checkpoint"),
        (setting.workdir / "run.json", "does not describe a training run"),
    ):
        path.write_bytes(path.read_bytes()[:100])
        assert says in setting.refused(module)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_in_tensorflow(*_, **__):
    raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")


@pytest.mark.parametrize(
    ("writer", "fail"),
    [
        ("pathlib.Path.write_bytes", full),
        # As the module finds it: TensorFlow loads its parts anew in some processes.
        ("export.saved_model.writer.tf.saved_model.save", full_in_tensorflow),
        ("pathlib.Path.write_text", full),
    ],
    ids=["model", "SavedModel", "model.json"],
)
def test_conversion_on_a_full_disk_leaves_the_older_export(setting, monkeypatch, writer, fail):
    monkeypatch.setattr(conversion, "_checked_tflite", lambda graph, plan: (b"new", {}))
    if fail is full:
        monkeypatch.setattr(conversion, "write_saved_model", lambda *_: None)
        monkeypatch.setattr(conversion, "write_serving_files", lambda *_: None)
    monkeypatch.setattr(writer, fail)
    assert "No space left on device" in setting.refused(convert)


@pytest.mark.parametrize("writer", ["write_bytes", "write_text"])
def test_quantization_on_a_full_disk_leaves_the_older_export(setting, monkeypatch, writer):
    monkeypatch.setattr(pathlib.Path, writer, full)
    assert "No space left on device" in setting.refused(quantize)


def test_table_is_not_there_where_the_disk_is_full(setting, monkeypatch):
    monkeypatch.setattr(score_parts.ScoreParts, "join", full)
    before = setting.content()
    line = run_command(score, *setting.arguments(score))
    assert line == "error: [Errno 28] No space left on device"
    added = setting.content().keys() - before.keys()
    assert {path.parent.name for path in added} == {"scores.csv.parts"}


def test_damaged_parts_of_a_table_are_named(setting):
    parts = setting.folder / "scores.csv.parts"
    parts.mkdir()
    (parts / ".lock").touch()
    for content in ("{", "[1]"):
        (parts / "job.json").write_text(content)
        assert "job.json is damaged: remove" in setting.refused(score)
    values = json.loads((setting.export / "model.json").read_text())
    source = score.open_source(
        str(setting.folder / "images"), None, "test", Export.open(setting.export)
    )
    job = {
        "model": values["files"]["model.tflite"]["sha256"],
        "images": source.fingerprint,
        "threshold": "0.8",
        "part": 1000,
    }
    (parts / "job.json").write_text(json.dumps(job, indent=1) + "\n")
    (parts / "000000.csv").write_text("black.png,zero\n")
    assert "000000.csv is damaged: remove" in setting.refused(score)


@pytest.mark.parametrize(
    ("module", "flag"),
    [(convert, "output"), (benchmark, "json"), (compare, "json"), (score, "output")],
)
def test_output_that_cannot_be_written_is_refused_before_any_work(
    setting, module, flag, monkeypatch
):
    monkeypatch.setattr(module, "load_trained", None, raising=False)
    monkeypatch.setattr(module, "open_export", None, raising=False)
    monkeypatch.setattr(Export, "open", None)
    monkeypatch.setattr(module, "open_source", None, raising=False)
    output = setting.labels / "in a file.csv"
    assert str(setting.labels) in setting.refused(module, f"--{flag}={output}")


def test_export_folder_that_cannot_be_written_is_not_quantized(setting, monkeypatch):
    monkeypatch.setattr(export_flags, "load_trained", None)
    monkeypatch.setattr(export_flags, "check_folder_writable", full)
    assert "No space left" in setting.refused(quantize)


def inspected(setting, path, *more):
    return setting.refused(inspect, path, *more, operands=("FILE.tflite",))


def test_damaged_file_is_not_inspected(setting):
    model = setting.export / "model.tflite"
    content = model.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b"\0" * 4 + b"TFL3" + b"\xff" * 99):
        model.write_bytes(damaged)
        assert "model.tflite: it is damaged, LiteRT cannot load it" in inspected(setting, model)
    model.write_bytes(content)
    assert "No such file" in inspected(setting, setting.folder / "lost.tflite")
    assert "Is a directory" in inspected(setting, setting.export)
    assert "No space left" in inspected(setting, model, "--json=/dev/full")
    (setting.export / "model.json").write_text("{")
    assert "model.json cannot be read" in inspected(setting, model)


def test_file_that_is_cut_short_anywhere_is_no_model(setting):
    content = (setting.export / "model.tflite").read_bytes()
    for length in range(0, len(content), len(content) // 97):
        with pytest.raises(ValueError, match="damaged|no .tflite file"):
            model_facts.model_facts(content[:length])


def test_runner_names_a_file_that_it_cannot_run(setting):
    path = setting.folder / "model.tflite"
    path.write_bytes((setting.export / "model.tflite").read_bytes()[:-1])
    with pytest.raises(UserError, match="model.tflite is damaged, LiteRT cannot load it"):
        TFLiteRunner(path)
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": x + 1}).get_concrete_function(
        tf.TensorSpec([1], tf.float32, "image")
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call], module)
    path.write_bytes(converter.convert())
    with pytest.raises(UserError, match="model.tflite is no exported classifier: it lacks"):
        TFLiteRunner(path)


def test_older_version_of_an_export_can_be_replaced(setting):
    (setting.export / "model.json").write_text(json.dumps({"format": FORMAT}))
    check_replaceable(setting.export)

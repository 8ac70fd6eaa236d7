"""The plan of the house: dependencies point one way, and TensorFlow stays where it is the point."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from tests import source_tree

CODE = ("drnet_tf", "export", "benchmarks")

# Rooms are the folders of drnet_tf and export, and their files. Each may use those above it; those
# of one line may not use each other.
FLOW = (
    ("drnet_tf/quiet",),
    ("drnet_tf/__init__", "drnet_tf/errors"),
    ("drnet_tf/command_line", "drnet_tf/docstrings", "drnet_tf/machine"),
    ("drnet_tf/progress", "drnet_tf/writing"),
    ("drnet_tf/layers",),
    ("drnet_tf/models",),
    ("drnet_tf/data", "drnet_tf/backends"),
    ("drnet_tf/runs",),
    ("drnet_tf/evaluation",),
    ("drnet_tf/training",),
    ("drnet_tf/flags", "drnet_tf/training_flags"),
    ("drnet_tf/report",),
    ("drnet_tf/train", "drnet_tf/evaluate", "drnet_tf/count"),
    ("export/__init__",),
    ("export/graphs",),
    ("export/tflite",),
    ("export/saved_model",),
    ("export/folder",),
    ("export/flags",),
    # Commands; --quantization of convert does what quantize does.
    ("export/quantize", "export/verify", "export/score", "export/stress", "export/benchmark"),
    ("export/convert", "export/compress", "export/compare", "export/inspect"),
    ("export/instructions", "export/latency_table"),
    ("export/quickstart",),
)
MOST_FILES_OF_EXPORT = 9

# What keras and numpy suffice for runs on machines without TensorFlow.
WITHOUT_TENSORFLOW = (
    "drnet_tf/layers/",
    "drnet_tf/models/",
    "drnet_tf/runs/checkpoints.py",
    "drnet_tf/runs/settings.py",
    "drnet_tf/runs/workdir.py",
    "drnet_tf/data/fit.py",
    "drnet_tf/data/augmentation.py",
    "drnet_tf/data/errors.py",
    "drnet_tf/data/evaluation_images.py",
    "drnet_tf/data/in_memory.py",
    "drnet_tf/training/placement.py",
    "drnet_tf/training/descent.py",
    "drnet_tf/backends/jax.py",
    "drnet_tf/training/on_jax/",
)
# The core computes with arrays of any backend.
CORE = ("drnet_tf/layers/", "drnet_tf/models/")
CORE_PACKAGES = {"keras", "numpy", "drnet_tf"}
# TensorFlow under another name.
TENSORFLOW_PACKAGES = (
    "keras_cv",
    "tensorflow",
    "tensorflow_datasets",
    "tensorflow_model_optimization",
    "tf_keras",
)

# Parse the flags of every command line.
PARSE_FLAGS = (
    "drnet_tf/command_line.py",
    "drnet_tf/flags.py",
    "drnet_tf/training_flags.py",
    "export/flags.py",
)

# May name a family: the registry, what finds the graph of one, and the package's front door.
NAME_FAMILIES = (
    "drnet_tf/models/registry.py",
    "drnet_tf/models/__init__.py",
    "export/graphs/",
    # These time the branches of a DRNet, and name its tf_keras twin's.
    "export/convert/gate_choice.py",
    "export/latency_table.py",
    "export/compress/",
)

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _room(path: pathlib.Path) -> str:
    """`drnet_tf/layers/cell.py` lies in `drnet_tf/layers`, `drnet_tf/train.py` in itself."""
    return "/".join(path.with_suffix("").parts[:2])


def _internal(path: pathlib.Path) -> set[pathlib.Path]:
    """Files of the house that a file imports."""
    found = {source_tree.module_file(module) for module in source_tree.imported_modules(path)}
    return {file for file in found if file is not None} - {path}


def _files_without_tensorflow():
    return [
        path
        for path in source_tree.python_files("drnet_tf")
        if path.as_posix().startswith(WITHOUT_TENSORFLOW)
    ]


def test_every_room_has_its_place_in_the_flow():
    rooms = {_room(path) for path in source_tree.python_files("drnet_tf", "export")}
    assert rooms == {room for line in FLOW for room in line}


def test_rooms_use_only_what_comes_before_them():
    place = {room: index for index, line in enumerate(FLOW) for room in line}
    offenders = {
        (path.as_posix(), used.as_posix())
        for path in source_tree.python_files("drnet_tf", "export")
        for used in _internal(path)
        if _room(used) != _room(path) and place.get(_room(used), 99) >= place[_room(path)]
    }
    assert not offenders


def test_files_import_each_other_in_no_circle():
    needs = {path: _internal(path) for path in source_tree.python_files(*CODE)}
    while free := [path for path, used in needs.items() if not used & needs.keys()]:
        for path in free:
            del needs[path]
    assert not {path.as_posix() for path in needs}


@pytest.mark.parametrize(
    ("files", "package"),
    [
        ("drnet_tf/", "export"),
        ("drnet_tf/", "benchmarks"),
        ("export/", "benchmarks"),
        ("drnet_tf/", "tests"),
        ("export/", "tests"),
        ("benchmarks/", "tests"),
    ],
)
def test_packages_depend_one_way(files, package):
    offenders = {
        path.as_posix(): module
        for path in source_tree.python_files(*CODE)
        if path.as_posix().startswith(files)
        for module in source_tree.imported_modules(path)
        if _is_in(module, package)
    }
    assert not offenders


def test_only_the_registry_and_the_graphs_know_families_by_name():
    folders = [
        path.parent
        for path in source_tree.python_files("drnet_tf/models")
        if path.name == "family.py" and path.parent.name != "models"
    ]
    offenders = {
        (path.as_posix(), used.as_posix())
        for path in source_tree.python_files("drnet_tf", "export")
        for used in _internal(path)
        for folder in folders
        if used.parent == folder
        and folder not in path.parents
        and not path.as_posix().startswith(NAME_FAMILIES)
    }
    assert len(folders) > 1
    assert not offenders


def test_export_has_few_files_at_its_top():
    top = [path for path in source_tree.python_files("export") if len(path.parts) == 2]
    assert len(top) <= MOST_FILES_OF_EXPORT


@pytest.mark.parametrize("path", _files_without_tensorflow(), ids=str)
def test_backend_neutral_file_imports_no_tensorflow(path):
    assert not {
        module
        for module in source_tree.imported_modules(path)
        if any(_is_in(module, package) for package in TENSORFLOW_PACKAGES)
    }


def test_core_imports_keras_and_numpy_only():
    offenders = {
        (path.as_posix(), module)
        for path in source_tree.python_files("drnet_tf")
        if path.as_posix().startswith(CORE)
        for module in source_tree.imported_modules(path)
        if (top := module.split(".")[0]) not in CORE_PACKAGES and top not in sys.stdlib_module_names
    }
    assert not offenders


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
def test_backend_neutral_modules_run_on_jax_without_loading_tensorflow():
    modules = ["drnet_tf", *map(source_tree.module_name, _files_without_tensorflow())]
    program = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        "    assert 'tensorflow' not in sys.modules, module + ' loads tensorflow'\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=source_tree.ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_only_command_lines_read_flags():
    offenders = [
        path.as_posix()
        for path in source_tree.python_files(*CODE)
        if not source_tree.is_command_line(path)
        and path.as_posix() not in PARSE_FLAGS
        and any(_is_in(module, "absl.flags") for module in source_tree.imported_modules(path))
    ]
    assert not offenders


def test_no_file_or_folder_has_a_vague_name():
    offenders = [
        path.as_posix()
        for path in source_tree.python_files(*CODE, "tests")
        if VAGUE_NAMES & {part.removesuffix(".py") for part in path.parts}
    ]
    assert not offenders

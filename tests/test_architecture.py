"""Dependencies point one way, and TensorFlow stays where TensorFlow is the point."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests import source_tree

WITHOUT_TENSORFLOW = (
    "drnet_tf/layers/",
    "drnet_tf/models/",
    "drnet_tf/training/placement.py",
    "drnet_tf/training/on_jax/placement.py",
    "drnet_tf/training/on_jax/step.py",
)

# TensorFlow under another name.
TENSORFLOW_PACKAGES = (
    "keras_cv",
    "tensorflow",
    "tensorflow_datasets",
    "tensorflow_model_optimization",
    "tf_keras",
)

# Files that start with the first may import nothing that starts with the second.
FORBIDDEN = (
    ("drnet_tf/layers/", "drnet_tf.models"),
    ("drnet_tf/layers/", "drnet_tf.training"),
    ("drnet_tf/layers/", "drnet_tf.evaluation"),
    ("drnet_tf/layers/", "drnet_tf.data"),
    ("drnet_tf/models/", "drnet_tf.training"),
    ("drnet_tf/models/", "drnet_tf.evaluation"),
    ("drnet_tf/models/", "drnet_tf.data"),
    ("drnet_tf/", "export"),
    ("drnet_tf/", "benchmarks"),
    ("drnet_tf/", "tests"),
    ("export/", "tests"),
)

# Parses the flags of every command line.
PARSE_FLAGS = (
    "drnet_tf/command_line.py",
    "drnet_tf/flags.py",
    "drnet_tf/training_flags.py",
    "export/flags.py",
)

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
CODE = ("drnet_tf", "export", "benchmarks")


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _files_without_tensorflow():
    return [
        path
        for path in source_tree.python_files("drnet_tf")
        if path.as_posix().startswith(WITHOUT_TENSORFLOW)
    ]


@pytest.mark.parametrize("path", _files_without_tensorflow(), ids=str)
def test_backend_neutral_file_imports_no_tensorflow(path):
    assert not {
        module
        for module in source_tree.imported_modules(path)
        if any(_is_in(module, package) for package in TENSORFLOW_PACKAGES)
    }


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


@pytest.mark.parametrize(("files", "package"), FORBIDDEN)
def test_dependencies_point_one_way(files, package):
    offenders = {
        path.as_posix(): module
        for path in source_tree.python_files("drnet_tf", "export")
        if path.as_posix().startswith(files)
        for module in source_tree.imported_modules(path)
        if _is_in(module, package)
    }
    assert not offenders


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

"""Compiles and runs run_tflite.c, which classifies images through LiteRT's C API.

It is linked with the libLiteRt.so of the installed ai-edge-litert, so that it computes what the
Python interpreter computes. Needed is a C compiler. By hand it is

    cc -O2 -D_POSIX_C_SOURCE=200809L export/tflite/run_tflite.c -o run_tflite \
        -LFOLDER -Wl,-rpath,FOLDER -l:libLiteRt.so

where FOLDER is that of the package ai_edge_litert.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np

from drnet_tf.errors import UserError
from export.tflite.programs import run_program

SOURCE = pathlib.Path(__file__).with_name("run_tflite.c")
LIBRARY = "libLiteRt.so"
COMPILER = "cc"
_WARNINGS = ("-Wall", "-Wextra", "-Werror")


@dataclasses.dataclass(frozen=True)
class NativeResult:
    """Holds what the program says of one image.

    Args:
        label: index of the most probable class.
        probability: of that class.
        flops: multiply-accumulates; None of a model without this output.
    """

    label: int
    probability: float
    flops: int | None


def library_folder() -> pathlib.Path:
    """Finds the folder of the package ai_edge_litert.

    Raises:
        UserError: it is not there, or has no library to link with.
    """
    found = importlib.util.find_spec("ai_edge_litert")
    folders = (found.submodule_search_locations if found else None) or []
    for folder in map(pathlib.Path, folders):
        if (folder / LIBRARY).is_file():
            return folder
    raise UserError(f"the package ai-edge-litert with its {LIBRARY} is needed")


def require_compiler(compiler: str = COMPILER) -> None:
    """Raises a UserError unless there is a compiler of that name."""
    if not shutil.which(compiler):
        raise UserError(f"a C compiler is needed, and there is no {compiler} (Debian: gcc)")


def compile_runner(
    output: pathlib.Path, compiler: str = COMPILER, library: pathlib.Path | None = None
) -> None:
    """Compiles run_tflite.c.

    Args:
        output: where to put the program.
        compiler: its name or path.
        library: folder of libLiteRt.so, which the program finds there when it is run; None for
            that of the installed package.

    Raises:
        UserError: there is no such compiler, or it fails.
    """
    require_compiler(compiler)
    folder = library or library_folder()
    command = [compiler, "-std=c11", "-O2", *_WARNINGS, "-D_POSIX_C_SOURCE=200809L", str(SOURCE)]
    command += ["-o", str(output), f"-L{folder}", f"-Wl,-rpath,{folder}", f"-l:{LIBRARY}"]
    # Of a foreign library, where its own libraries are is known only where it runs.
    command += ["-Wl,--allow-shlib-undefined"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise UserError(f"{SOURCE.name} does not compile: {lines[-1]}")


def run_native(
    program: pathlib.Path,
    model: pathlib.Path,
    images: np.ndarray,
    threshold: float | None,
    under: Sequence[str] = (),
    repeats: int = 1,
) -> list[NativeResult]:
    """Classifies images with the compiled program.

    Args:
        program: what `compile_runner` made.
        model: a .tflite file of this package.
        images: float [images, image_size, image_size, 3] in 0..255.
        threshold: T; None for a model without routing.
        under: a command that runs it, such as an emulator, with its options.
        repeats: how often each image is classified.
    """
    with tempfile.NamedTemporaryFile() as file:
        np.ascontiguousarray(images, np.float32).tofile(file.name)
        # Without routing, the program does not use it.
        given = repr(float(threshold or 0))
        arguments = [str(model), given, file.name, str(repeats)]
        lines = run_program([*under, str(program), *arguments]).splitlines()
    return [_parse(line) for line in lines]


def _parse(line: str) -> NativeResult:
    label, probability, flops = line.split()
    return NativeResult(int(label), float(probability), None if flops == "-" else int(flops))

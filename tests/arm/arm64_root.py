"""A small arm64 system to run LiteRT in under emulation: Debian's Python and the pinned wheels.

It is made once, in about half a minute, where there is a network, and kept in build/. Debian's
packages are only unpacked, which takes no root and no emulator.
"""

import dataclasses
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from drnet_tf.writing import replacing
from export.tflite.programs import run_program
from tests.source_tree import ROOT

SUITE = "bookworm"
PYTHON = "3.11"
PACKAGES = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6", "zlib1g")
WHEELS = ("ai-edge-litert", "numpy")

PLATFORMS = tuple(f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 17)) + (
    "manylinux2014_aarch64",
)

CONSTRAINTS = ROOT / "constraints.txt"
FOLDER = ROOT / "build" / "arm64"
#: The emulator, and where to get one that will do: those of Debian 12 crash in LiteRT.
EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
LEAST_EMULATOR = 10
EMULATOR_SUITE = "trixie"
#: A processor with NEON and without dot products or float16 arithmetic, as in a Raspberry Pi 4.
PROCESSOR = "cortex-a72"


class ToolMissing(Exception):
    """What is needed is not on this machine; the message says what."""


@dataclasses.dataclass(frozen=True)
class Arm64:
    """An arm64 system.

    Args:
        root: its root folder.
        emulator: runs its programs.
    """

    root: pathlib.Path
    emulator: pathlib.Path

    @property
    def under(self) -> list[str]:
        """The command that runs a program of it."""
        return [str(self.emulator), "-cpu", PROCESSOR, "-L", str(self.root)]

    @property
    def litert(self) -> pathlib.Path:
        """The folder of the package ai_edge_litert, with libLiteRt.so."""
        return self.root / "wheels" / "ai_edge_litert"

    def run_python(self, *arguments: str | pathlib.Path) -> None:
        """Runs a Python program.

        Raises:
            UserError: it fails.
        """
        wheels = f"PYTHONPATH={self.root / 'wheels'}"
        python = str(self.root / "usr" / "bin" / f"python{PYTHON}")
        run_program([*self.under, "-E", wheels, python, "-B", *map(str, arguments)])


def open_arm64(folder: pathlib.Path = FOLDER) -> Arm64:
    """The arm64 system in a folder, made if it is not there or was made from something else.

    Raises:
        ToolMissing: a program that is needed for that is not on this machine.
        UserError: it cannot be made.
    """
    made_from = "\n".join([SUITE, *PACKAGES, *WHEELS, *PLATFORMS, _digest(CONSTRAINTS)])
    stamp = folder / "made-from"
    if not stamp.is_file() or stamp.read_text() != made_from:
        _require("mmdebstrap")
        print("making an arm64 system with LiteRT, about half a minute", flush=True)
        with replacing(folder) as temporary:
            _unpack("arm64", SUITE, PACKAGES, temporary)
            _install_wheels(temporary / "wheels")
            (temporary / stamp.name).write_text(made_from)
    return Arm64(folder, _find_emulator() or _fetch_emulator(folder))


def _find_emulator() -> pathlib.Path | None:
    for name in EMULATORS:
        if (path := shutil.which(name)) and _version(path) >= LEAST_EMULATOR:
            return pathlib.Path(path)
    return None


def _version(emulator: str) -> int:
    text = subprocess.run([emulator, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"version (\d+)", text)
    return int(found[1]) if found else 0


def _fetch_emulator(folder: pathlib.Path) -> pathlib.Path:
    """One from Debian, statically linked, beside the system."""
    path = folder / EMULATORS[0]
    if not path.is_file():
        _require("mmdebstrap")
        print(f"fetching qemu {LEAST_EMULATOR}, about a minute", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            _unpack("amd64", EMULATOR_SUITE, ("qemu-user",), pathlib.Path(unpacked))
            with replacing(path) as temporary:
                shutil.copy(pathlib.Path(unpacked, "usr", "bin", path.name), temporary)
    return path


def _require(tool: str) -> None:
    if not shutil.which(tool):
        raise ToolMissing(f"{tool} is not installed (Debian: apt-get install {tool})")


def _unpack(architecture: str, suite: str, packages: tuple[str, ...], to: pathlib.Path) -> None:
    include = "--include=" + ",".join(packages)
    # Chrootless: as nothing is run in there, no rights are needed.
    options = ["--quiet", "--mode=chrootless", "--variant=extract", include]
    run_program(["mmdebstrap", *options, f"--architectures={architecture}", suite, str(to)])


def _install_wheels(to: pathlib.Path) -> None:
    options = [
        "--quiet",
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={PYTHON}",
    ]
    options += [f"--platform={platform}" for platform in PLATFORMS]
    options += [f"--target={to}", f"--constraint={CONSTRAINTS}"]
    run_program([sys.executable, "-m", "pip", "install", *options, *WHEELS])


def _digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

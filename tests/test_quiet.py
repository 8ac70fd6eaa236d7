"""Commands show what the project says, and nothing of what the frameworks say about themselves."""

import os
import pty
import subprocess
import sys

import pytest

from tests.source_tree import ROOT

# A process that is quiet as a command is, without the seconds that frameworks take to import.
BEGIN = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("quiet", "drnet_tf/quiet.py")
quiet = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quiet)
sys.argv = ["-m"]
quiet.start()
"""

NOTES = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795599997.305492   12880 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795599997.305492       1 gpu_device.cc:2342] Cannot dlopen some GPU libraries.",
    "E0000 00:00:1795600001.1   12889 cuda_platform.cc:52] failed call to cuInit: INTERNAL",
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
)

ERRORS = (
    "E0000 00:00:1795600001.1   12889 cuda_driver.cc:1] failed to allocate 8.0GiB",
    "F0000 00:00:1795600001.1   12889 tensor.cc:847] Check failed: dtype() == expected",
    "ERROR: Node number 3 (CONV_2D) failed to prepare.",
    "I am a line of somebody else, with a byte \\xff that is no UTF-8",
)


def program(*lines: str, then: str = "") -> str:
    """Writes lines as C++ code does, past Python's streams."""
    writes = "".join(f'os.write(2, b"{line}\\n")\n' for line in lines)
    return f"{BEGIN}{writes}{then}"


def run(source: str, level: str | None = None, **options) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    if level is not None:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    return subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env=environment,
        **({"capture_output": True} | options),
    )


def test_drops_notes_of_the_frameworks_and_keeps_errors():
    result = run(program(*NOTES, *ERRORS, *NOTES, then="print('ours', file=sys.stderr)"))
    # The order of what came past Python's stream and through it is not fixed.
    expected = {line.encode().replace(b"\\xff", b"\xff") for line in ERRORS} | {b"ours"}
    assert result.returncode == 0
    assert result.stdout == b""
    lines = result.stderr.splitlines()
    assert len(lines) == len(expected)
    assert set(lines) == expected


def test_last_words_of_a_process_that_is_aborted_are_shown():
    result = run(program(*NOTES, ERRORS[1], then="os.abort()"))
    assert result.returncode < 0
    assert result.stderr.decode().splitlines() == [ERRORS[1]]


def test_more_than_a_pipe_holds_is_written_while_the_interpreter_is_locked():
    # ctypes.PyDLL keeps the lock of the interpreter, as much C++ code does.
    write = "import ctypes\nctypes.PyDLL(None).write(2, b'line\\n' * 50_000, 250_000)"
    assert run(program(then=write), timeout=60).stderr == b"line\n" * 50_000


def test_all_lines_are_shown_where_the_user_asks_for_them():
    result = run(program(*NOTES), level="0")
    assert result.stderr.decode().splitlines() == list(NOTES)


def test_level_is_set_unless_the_user_did():
    tell = 'print(os.environ["TF_CPP_MIN_LOG_LEVEL"])'
    assert run(program(then=tell)).stdout == b"2\n"
    assert run(program(then=tell), level="3").stdout == b"3\n"


def test_importing_the_project_in_another_program_leaves_its_streams_alone():
    source = BEGIN.replace('["-m"]', '["other.py"]') + f'os.write(2, b"{NOTES[0]}\\n")'
    assert run(source).stderr.decode().splitlines() == [NOTES[0]]


def test_standard_error_of_python_is_still_the_terminal():
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        then = "print(sys.stderr.isatty(), sys.stderr.encoding, os.isatty(2), file=sys.stderr)"
        run(program(*NOTES, then=then), capture_output=False, stdout=theirs, stderr=theirs)
        os.close(theirs)
        assert terminal.read(1000).decode().split() == ["True", "utf-8", "False"]


def test_a_command_that_loads_tensorflow_writes_nothing_to_standard_error():
    result = subprocess.run(
        [sys.executable, "-m", "drnet_tf.count"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "drnet_s.cifar10" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_run_and_its_export_show_lines_of_the_project_alone(tmp_path, backend):
    workdir, folder = f"--workdir={tmp_path}/run", f"{tmp_path}/export"
    data = f"--data_dir={tmp_path}/data"
    commands = [
        [
            "drnet_tf.train", workdir, data, "--model=drnet_xs.digits", "--dataset=digits",
            "--stage1_epochs=0.1", "--stage2_epochs=0", "--cells=1", "--channels=2", "--nodes=1",
        ]
    ]  # fmt: skip
    if backend == "tensorflow":
        commands += [
            ["export.convert", workdir, f"--output={folder}"],
            ["export.verify", workdir, f"--export_dir={folder}", "--images=8"],
        ]
    else:
        commands += [["drnet_tf.evaluate", workdir, "--thresholds=0.5"]]
    for command in commands:
        result = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            # Compiling takes longer than running.
            env=os.environ
            | {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        titles = ("training: ", "evaluating: ", "verifying: ")
        strange = [line for line in result.stderr.splitlines() if not line.startswith(titles)]
        assert not strange, command
        for note in ("0000 00:00", "INFO:", "WARNING", "Warning", "GPU may be present"):
            assert note not in result.stdout, command

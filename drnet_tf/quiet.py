"""Keeps a command's output free of what the frameworks say about themselves.

TensorFlow, XLA and LiteRT write lines such as "I0000 00:00:... oneDNN custom operations are on" to
file descriptor 2, some before any setting of theirs is read. Therefore the descriptor leads through
`sed`, which drops those lines. It is a process, not a thread: it prints the last words of a crash,
and it reads while C++ code holds the interpreter's lock. What Python prints does not pass it.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import warnings

# TensorFlow's own setting; 0 and 1 show notes and warnings.
LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Extended regular expressions. Errors pass, except those that are none.
NOISE = (
    r"^WARNING: All log messages before absl::InitializeLog\(\)",
    r"^[IW][0-9]{4} [0-9]{2}:[0-9]{2}:[0-9.]+ +[0-9]+ ",
    r"^E[0-9]{4} .*failed call to cuInit",  # there is no GPU
    r"^E[0-9]{4} .*Unable to register cu[A-Z]+ factory",  # two libraries bring the same
    r"^INFO: ",  # of LiteRT
    r"^WARNING: Attempting to use a delegate that only supports static-sized tensors",
)

# Which warn on import, or where there is a choice that the project has made.
LOGGERS = ("jax", "tensorflow")
# At the end: longer than `sed` takes for what is left, and no wait for a child that lives on.
_SECONDS = 2.0


def start() -> None:
    """Sets the level of TensorFlow's messages; for a command, drops the frameworks' lines also.

    To be called before a framework is imported. Values of TF_CPP_MIN_LOG_LEVEL, PYTHONWARNINGS and
    -W that the user gave are kept; a level below 2 asks for the lines, and none is dropped.
    """
    wanted = os.environ.setdefault(LEVEL, "2")
    # The name of the process while `python -m` looks for the module, which loads its package.
    is_command = sys.argv[:1] == ["-m"]
    if not is_command or wanted in ("0", "1"):
        return
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # the project itself raises none
    if sys.stderr is not None:
        _filter_descriptor()


def _filter_descriptor() -> None:
    """Leads file descriptor 2 through `sed`, and `sys.stderr` past it."""
    sys.stderr.flush()
    direct = os.dup(2)
    end, beginning = os.pipe()
    try:
        sed = subprocess.Popen(
            ["sed", "-u", "-E", *(f"--expression=/{pattern}/d" for pattern in NOISE)],
            env=os.environ | {"LC_ALL": "C"},  # bytes, whatever they encode
            stdin=end,
            stdout=direct,
            stderr=direct,
            start_new_session=True,  # Ctrl-C ends the command, and `sed` with the last line of it
        )
    except OSError:  # no `sed`: the lines are shown
        for descriptor in (direct, end, beginning):
            os.close(descriptor)
        return
    os.close(end)
    os.dup2(beginning, 2)
    os.close(beginning)
    python = sys.stderr
    sys.stderr = os.fdopen(direct, "w", buffering=1, encoding=python.encoding, errors=python.errors)

    def finish() -> None:
        """Waits until all lines are printed, so that none comes after the end of the command."""
        sys.stderr.flush()
        os.dup2(direct, 2)
        try:
            sed.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            pass

    atexit.register(finish)

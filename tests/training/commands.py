"""The command lines in this process, without the seconds that a new one takes to import."""

import contextlib

import pytest
from absl import flags
from absl.testing import flagsaver

from drnet_tf import command_line

OURS = ("drnet_tf", "export")


@contextlib.contextmanager
def only_flags_of(module):
    """Flags of one command: several commands define the same names, each for itself."""
    values = flags.FLAGS
    others = {
        name: values[name]
        for name in list(values)
        # None: put back by this function before.
        if (values.find_module_defining_flag(name) or OURS[0]).split(".")[0] in OURS
    }
    for name in others:
        delattr(values, name)
    before = set(values)
    try:
        module.define_flags()
        with flagsaver.flagsaver():
            yield
    finally:
        for name in set(values) - before:
            delattr(values, name)
        for name, flag in others.items():
            values[name] = flag


def run_command(module, *arguments, operands=()):
    """Runs `python -m module arguments`; returns None, or the line with which it was refused.

    `operands` are those of `command_line.run`.
    """
    with only_flags_of(module), pytest.raises(SystemExit) as ended:
        command_line.run(module.main, ["program", *map(str, arguments)], operands)
    return ended.value.code

"""How every command line of the project starts and ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from drnet_tf.errors import Stopped, UserError

# What a shell reports of a process that Ctrl-C, or SIGTERM, ended.
INTERRUPTED = 130
TERMINATED = 143
PACKAGES = ("drnet_tf", "export", "benchmarks")


def run(
    main: Callable[..., None], arguments: list[str] | None = None, operands: tuple[str, ...] = ()
) -> None:
    """Parses the flags of `arguments` (those of the process by default) and calls `main`.

    Args:
        operands: what the arguments without -- are called, all of which must be there; `main` is
            called with them.

    A `UserError`, or a file that cannot be read or written, ends the process with one line and
    exit status 1; a flag that makes no sense likewise; Ctrl-C with status 130 and SIGTERM, where
    the work can be resumed, with 143. Anything else is a defect and shows its traceback.
    """
    logging.set_verbosity(logging.ERROR)  # the frameworks warn of choices that are ours

    def guarded(arguments: list[str]) -> None:
        try:
            given = arguments[1:]
            if len(given) > len(operands):
                unexpected = given[len(operands)]
                raise UserError(f"unexpected argument {unexpected!r}; options begin with --")
            if len(given) < len(operands):
                raise UserError(f"needed is {operands[len(given)]}")
            main(*given)
        except (UserError, OSError) as error:
            sys.exit(f"error: {one_line(error)}")
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(TERMINATED)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(INTERRUPTED)

    _show_in_help()
    app.run(guarded, argv=arguments, flags_parser=_parse_flags)


def show(*results: Table | str) -> None:
    """Prints tables, and lines as they are."""
    console = Console()
    for result in results:
        if isinstance(result, str):
            console.print(result, highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(result)


def _show_in_help() -> None:
    """Has --help list the flags that other modules of the project have defined for this command.

    absl lists only those that the module itself defines.
    """
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.split(".")[0] in PACKAGES:
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def one_line(error: BaseException) -> str:
    """Returns the message of an error without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _parse_flags(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except (flags.Error, OSError) as error:
        sys.exit(f"error: {one_line(error)} (--help lists the flags)")

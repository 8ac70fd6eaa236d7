"""What part of a run a process does, and how the processes of a run agree."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from drnet_tf.errors import Stopped, UserError


@dataclasses.dataclass(frozen=True)
class Placement:
    """Holds the devices of a run, and the place of this process among those that share it.

    Args:
        scope: to build the model and its `TrainingStep` in.
        process: number of this process; 0 is the chief, the only one that writes.
        processes: how many share the run, each with an equal part of every batch.
        gather: a whole number below 2^24 to those of all processes; waits for all of them.
        lost: what is raised where another process has ended.
    """

    scope: Callable[[], AbstractContextManager] = contextlib.nullcontext
    process: int = 0
    processes: int = 1
    gather: Callable[[int], Sequence[int]] = lambda number: [number]
    lost: tuple[type[Exception], ...] = ()

    @property
    def chief(self) -> bool:
        return self.process == 0

    def agree(self, what: str, value: str) -> None:
        """Waits until all processes have come here, and checks that they have the same value."""
        if len(set(self.gather(zlib.crc32(value.encode()) & 0xFFFFFF))) > 1:
            raise UserError(f"the {self.processes} processes of this run differ in {what}")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Wraps what the processes do in step; none leaves it before the others.

        Where one has ended, or cannot be reached, a UserError says so.
        """
        try:
            try:
                yield
            except Stopped:
                self.gather(0)  # the chief may still be writing
                raise
            self.gather(0)
        except self.lost as error:
            line = (str(error).strip().splitlines() or [""])[-1]
            raise UserError(
                "this process cannot continue with the others of the run; repeat the commands of "
                f"all of them ({line[:200]})"
            ) from error


#: One process, on the device that the backend takes automatically.
ALONE = Placement()


def check_port(address: str, variable: str) -> None:
    """Checks that this process can listen where the others will look for it.

    TensorFlow and JAX would end with a traceback or a crash.

    Args:
        address: HOST:PORT of this process.
        variable: of the environment, which the address is from.
    """
    port = address.rpartition(":")[2]
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"{variable} must name processes as HOST:PORT, not {address}")
    with socket.socket() as attempt:
        # As the servers do: connections of an earlier run that are only being closed do not count.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("", int(port)))
        except OSError as error:
            raise UserError(
                f"this process cannot listen on port {port} of {variable} ({error.strerror}): wait "
                "for the processes of an earlier run to end, or name another port to all"
            ) from error


def check_batch_size(batch_size: int, devices: int) -> None:
    """Refuses a batch that does not divide into equal parts for the devices."""
    if batch_size % devices:
        raise UserError(f"batch_size must divide by the {devices} devices, not be {batch_size}")

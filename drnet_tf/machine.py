"""What a measurement was made on."""

from __future__ import annotations

import os
import pathlib
import platform
from typing import Any

import numpy as np

CPU_FILE = pathlib.Path("/proc/cpuinfo")


def machine_facts() -> dict[str, Any]:
    """Returns CPU, cores, system, versions, and the load average of the last minute."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load_1min": round(os.getloadavg()[0], 2),
    }


def cpu_name() -> str:
    """Returns the name that the processor gives itself."""
    if CPU_FILE.exists():
        for line in CPU_FILE.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

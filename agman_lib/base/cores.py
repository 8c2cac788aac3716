"""How many CPU cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that the process may run on, at least 1.

    A container (Binder, a cluster) often sees all cores of its host but is allowed the time of a
    few: with a thread for each core it would crawl.

    Args:
        cgroup: where Linux says so, as "quota period" in microseconds, or "max period".
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
        return max(1, min(cores, int(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores

"""Description of the machine: versions, commit, processor, memory."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from utils.paths import PROJECT

PACKAGES = ("tensorflow", "jax", "keras", "numpy", "pandas", "scikit-learn", "tf-keras-vis", "pillow")

VECTOR_UNITS = {  # with their flags in /proc/cpuinfo
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "AMX": ("amx_int8",),
    "NEON": ("asimd",),
    "SVE": ("sve",),
}

_import_memory_mb: float | None = None


def describe() -> dict[str, Any]:
    """Return versions, commit and machine as plain values for environment.json."""
    import psutil

    made, _, dirty = commit().partition(" ")
    return {
        "git_commit": made or None,
        "git_dirty": bool(dirty),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "vector_units": vector_units(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def commit() -> str:
    """Return the commit of the program, followed by " dirty" if files differ from it; "" without git.

    Workers of a cluster have the files without git; they get the commit as $LEUKOBENCH_COMMIT.
    """
    if "LEUKOBENCH_COMMIT" in os.environ:
        return os.environ["LEUKOBENCH_COMMIT"]
    made = _git("rev-parse", "HEAD") or ""
    return made + (" dirty" if made and _git("status", "--porcelain", "--untracked-files=no") else "")


def cpu_name() -> str:
    """Return the processor's name as the system reports it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def vector_units() -> str:
    """Return the VECTOR_UNITS of the processor, separated by commas; "" if the system does not report them.

    They matter for comparisons of speed: 8-bit models run several times faster with VNNI than without.
    """
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return ", ".join(name for name, marks in VECTOR_UNITS.items() if flags.intersection(marks))


def _cpuinfo(key: str) -> str:
    """Return a value of the first processor in /proc/cpuinfo; "" if missing."""
    place = Path("/proc/cpuinfo")
    lines = place.read_text(errors="replace").splitlines() if place.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """Return the highest resident memory of this process so far, in megabytes (10^6 bytes)."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss starts at the memory of the parent process
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def note_import_memory() -> None:
    """Record the peak memory once, right after the import of TensorFlow."""
    global _import_memory_mb
    if _import_memory_mb is None:
        _import_memory_mb = peak_memory_mb()


def import_memory_mb() -> float | None:
    """Return the memory recorded by `note_import_memory`, in megabytes; None before."""
    return _import_memory_mb


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

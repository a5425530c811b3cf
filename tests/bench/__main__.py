"""Runs benchmarks and prints their figures: `python -m tests.bench [NAME ...]`."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from . import (
    chat,
    control_plane,
    endurance,
    history,
    ingestion,
    knowledge_search,
    knowledge_switch,
    pods,
    sockets,
    streams,
)
from .control_plane import Size
from .figures import Figure, render

_SIZE = Size(tenants=50, agents=1000)


def main() -> int:
    """Run what the command line names; 1 if an aim was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(_benchmarks(0))}; all by default")
    parser.add_argument(
        "--rest-minutes", type=float, default=10, help="how long rest is watched (default: %(default)s)"
    )
    arguments = parser.parse_args()
    benchmarks = _benchmarks(arguments.rest_minutes)
    figures: list[Figure] = []
    print(_describe_machine(), flush=True)
    for name in arguments.names or benchmarks:
        started = time.monotonic()
        found = benchmarks[name]()
        figures += found
        print(f"\n## {name} ({time.monotonic() - started:.0f} s)\n\n{render(found)}", flush=True)
    return 0 if all(figure.is_met for figure in figures) else 1


def _benchmarks(rest_minutes: float) -> Mapping[str, Callable[[], list[Figure]]]:
    return {
        "control-plane": lambda: control_plane.measure(_SIZE, rest_minutes=rest_minutes, paced_edits=500),
        "pods": pods.measure,
        "chat": chat.measure,
        "streams": streams.measure,
        "sockets": sockets.measure,
        "history": history.measure,
        "ingestion": ingestion.measure,
        "knowledge-search": knowledge_search.measure,
        "knowledge-switch": knowledge_switch.measure,
        "endurance": endurance.measure,
        "growth": lambda: control_plane.measure_growth(_SIZE, Size(tenants=500, agents=5000)),
    }


def _describe_machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} processors ({model.strip()}), {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())

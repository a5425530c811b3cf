"""Progress that people can follow: one line per step with its seconds, on standard error (results go to standard output)."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

_lock = threading.Lock()


def say(text: str) -> None:
    """Print one line at once; lines of parallel steps never mix."""
    with _lock:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(title: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Print the title and its duration when the block ends; long steps announce themselves first."""
    started = clock()
    announcement = threading.Timer(3, say, [f"  …      {title}"])
    announcement.daemon = True
    announcement.start()
    try:
        yield
    except BaseException:
        announcement.cancel()
        say(f"  failed {title} ({clock() - started:.1f} s)")
        raise
    announcement.cancel()
    say(f"  done   {title} ({clock() - started:.1f} s)")

"""A program at a terminal of its own: what is typed goes in, what is shown comes out."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>]")
WIDTH, HEIGHT = 80, 24
_ASLEEP_SECONDS = 0.2


class Terminal:
    """One running program."""

    def __init__(self, process: int, screen: int) -> None:
        self.process = process
        self.raw = ""
        """Everything that was written so far, escape sequences included."""
        self._screen = screen
        self._read_to = 0

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._screen, text.encode())

    def interrupt(self, number: int | None = None) -> None:
        """Send a signal, by default the one that Ctrl-C means, to a program that waits at its prompt."""
        self._wait_until_asleep()  # readline shows its prompt a moment before it can be interrupted
        if number is None:
            self.type("\x03")
        else:
            os.kill(self.process, number)

    def expect(self, text: str, *, seconds: float = 60) -> str:
        """Wait until `text` is shown after what was expected last, and return what came with it."""
        deadline = time.monotonic() + seconds
        while (position := self._shown().find(text, self._read_to)) < 0:
            if time.monotonic() > deadline or not self._receive(0.2):
                raise AssertionError(f"{text!r} was not shown, but: {self._shown()[self._read_to :]!r}")
        before = self._read_to
        self._read_to = position + len(text)
        return self._shown()[before : self._read_to]

    def wait(self, *, seconds: float = 60) -> int:
        """The exit code of the program, which must end by itself."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._receive(0.05)
            ended, status = os.waitpid(self.process, os.WNOHANG)
            if ended:
                self.process = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"the program did not end; it showed {self._shown()!r}")

    def close(self) -> None:
        """End the program if it runs."""
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        os.close(self._screen)

    def _wait_until_asleep(self, *, seconds: float = 60) -> None:
        """Return when the program waits for something, and has for a moment."""
        deadline = time.monotonic() + seconds
        awake_at = time.monotonic()
        while time.monotonic() - awake_at < _ASLEEP_SECONDS:
            state = Path(f"/proc/{self.process}/stat").read_text().rpartition(") ")[2][0]
            if state != "S":
                awake_at = time.monotonic()
            assert time.monotonic() < deadline, "the program never waited for anything"
            time.sleep(0.01)

    def _shown(self) -> str:
        return _ESCAPE.sub("", self.raw).replace("\r", "")

    def _receive(self, seconds: float) -> bool:
        """Take in what is written within that time; False once nothing can come any more."""
        if not select.select([self._screen], [], [], seconds)[0]:
            return True
        try:
            self.raw += os.read(self._screen, 65536).decode(errors="replace")
        except OSError:  # Linux says so when the last writer has closed the terminal
            return False
        return True


@contextlib.contextmanager
def at_terminal(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a program at a terminal until the block ends."""
    process, screen = pty.fork()
    if process == 0:
        # As a login shell's children have it: what a shell starts in the background, such as a test run, ignores Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(command[0], list(command), {**environment, "TERM": "xterm-256color"})
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    terminal = Terminal(process, screen)
    try:
        yield terminal
    finally:
        terminal.close()

"""Carries pip's settings of this machine into a build: an index of one's own, its certificate, a proxy. Never into an image."""

import ast
import re
import sys
from pathlib import Path

from syntera_dev.commands import run

# What decides how packages are reached. Where and how they are installed is the build's own business.
_CARRIED = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout", "default-timeout", "retries")
_CERTIFICATES = Path("/etc/ssl/certs")


def render_pip_settings(listing: str) -> str:
    """Return a pip.conf with the carried settings of what `pip config list` prints; later lines win, as with pip."""
    found = (re.fullmatch(r"(\S+?)\.([a-z-]+)=('.*'|\".*\")", line) for line in listing.splitlines())
    settings = {each[2]: str(ast.literal_eval(each[3])) for each in found if each is not None and each[2] in _CARRIED}
    lines = [f"{name} = {value}" for name, value in settings.items()]
    return "\n".join(["[global]", *lines, ""])


def read_pip_settings() -> str:
    """Return a pip.conf with the carried settings of this Python's pip, its configuration files and its environment.

    Raises:
        CommandFailed: this Python has no pip.
    """
    return render_pip_settings(run([sys.executable, "-m", "pip", "config", "list"]))


def certificate_folders() -> list[Path]:
    """Return the folders that a build needs to trust what this machine trusts."""
    return [_CERTIFICATES] if _CERTIFICATES.is_dir() else []

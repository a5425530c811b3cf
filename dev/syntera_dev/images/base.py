"""The base of the development images: a minimal Debian with Python, made with mmdebstrap where no registry is at hand."""

import hashlib
import platform
from pathlib import Path

from syntera_dev.commands import run
from syntera_dev.paths import cache_folder, exclusive, new_folder
from syntera_dev.progress import step

_SUITE = "bookworm"
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_ARGUMENTS = (
    "--variant=minbase",
    f"--include={','.join(_PACKAGES)}",
    *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
    '--aptopt=Acquire::Languages "none"',
    _SUITE,
)


def base_key() -> str:
    """Return twelve hexadecimal digits over what decides the base. Updates of its packages are taken by emptying the cache."""
    return hashlib.sha256("\0".join([platform.machine(), *_ARGUMENTS]).encode()).hexdigest()[:12]


def ensure_base() -> Path:
    """Return the base's root file system as a tar file, made on first use.

    Raises:
        DevError: mmdebstrap failed.
    """
    folder = cache_folder() / "images" / f"base-{base_key()}"
    if not folder.exists():
        with exclusive(cache_folder() / "locks" / "base-image", "making the base image"):
            if not folder.exists():
                with step(f"make the base image (Debian {_SUITE})"), new_folder(folder) as unfinished:
                    run(["nice", "mmdebstrap", "--quiet", *_ARGUMENTS, unfinished / "base.tar"], timeout_seconds=900)
    return folder / "base.tar"

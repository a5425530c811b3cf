"""Compiles the pinned Go programs into the cache, each named by the hash of everything that goes into it.

A version stands once, in `dev/go/*/go.mod`; the hash covers go.mod, go.sum, our own sources, the flags and the Go version, so a binary
with the right name is the right binary and a changed pin is a new name.
"""

import hashlib
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from syntera_dev.commands import run
from syntera_dev.errors import DevError
from syntera_dev.paths import REPOSITORY, cache_folder, exclusive, new_folder
from syntera_dev.progress import step

from .toolchain import ensure_go, go_version

_MODULES = REPOSITORY / "dev" / "go"
_BUILD_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")


@dataclass(frozen=True)
class Binary:
    """One program: the module folder under `dev/go` that pins it, and the package to compile."""

    name: str
    module: str
    package: str
    version_of: str
    """The Go module whose version is the program's; empty for our own."""
    variables: tuple[tuple[str, str], ...] = field(default=())
    """Version variables to set at link time: name and a value in which {version}, {major} and {minor} are replaced."""
    tags: tuple[str, ...] = ()
    """Build tags, which leave out what is not needed."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What the compiler is told beside the linker's flags."""
        return (*_BUILD_FLAGS, *(["-tags", ",".join(self.tags)] if self.tags else []))


_KUBERNETES_VARIABLES = tuple(
    (f"k8s.io/component-base/version.{name}", value)
    for name, value in (("gitVersion", "{version}"), ("gitMajor", "{major}"), ("gitMinor", "{minor}"))
)


def _kubernetes(name: str) -> Binary:
    return Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", "k8s.io/kubernetes", _KUBERNETES_VARIABLES)


BINARIES = {
    binary.name: binary
    for binary in (
        Binary("etcd", "kubernetes", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        Binary("coredns", "tools", "./coredns", "github.com/coredns/coredns"),
        Binary(
            "helm",
            "tools",
            "helm.sh/helm/v3/cmd/helm",
            "helm.sh/helm/v3",
            (("helm.sh/helm/v3/internal/version.version", "{version}"),),
        ),
        Binary(
            "kubeconform",
            "tools",
            "github.com/yannh/kubeconform/cmd/kubeconform",
            "github.com/yannh/kubeconform",
            (("main.version", "{version}"),),
        ),
        Binary("pause", "tools", "./pause", ""),
        Binary(
            "promtool",
            "prometheus",
            "github.com/prometheus/prometheus/cmd/promtool",
            "github.com/prometheus/prometheus",
            (("github.com/prometheus/common/version.Version", "{version}"),),
            # Else it brings the client of every cloud to discover services in, and takes three times as long.
            tags=("remove_all_sd",),
        ),
        # A server of the S3 protocol for tests: it keeps objects in a folder, and checks signatures.
        Binary("versitygw", "s3", "github.com/versity/versitygw/cmd/versitygw", "github.com/versity/versitygw"),
    )
}
"""All programs by name, in the order in which a first run wants them: the control plane starts while the rest compiles."""


def ensure_binary(name: str) -> Path:
    """Return the path of one program, compiling it first if the cache has none.

    Raises:
        DevError: there is no such program, or it does not compile.
    """
    return ensure_binaries([name])[name]


def ensure_binaries(names: Iterable[str]) -> dict[str, Path]:
    """Return the paths of several programs, compiling what the cache lacks, in the given order.

    Raises:
        DevError: there is no such program, or one does not compile.
    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in BINARIES]
    if unknown:
        raise DevError(f"no program named {unknown[0]!r}; there are {', '.join(BINARIES)}")
    go = ensure_go()
    toolchain = go_version(go)
    return {name: _ensure(BINARIES[name], go=go, toolchain=toolchain) for name in wanted}


def version(binary: Binary, *, modules: Path = _MODULES) -> str:
    """Return the version that go.mod pins, such as `v1.36.3`; `v0` for a program of our own.

    Raises:
        DevError: go.mod does not require the module.
    """
    if not binary.version_of:
        return "v0"
    go_mod = modules / binary.module / "go.mod"
    found = re.search(rf"^(?:require)?\s*{re.escape(binary.version_of)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    if found is None:
        raise DevError(f"{go_mod} does not require {binary.version_of!r}")
    return found[1]


def linker_flags(binary: Binary, *, modules: Path = _MODULES) -> str:
    """Return the flags that drop debugging data and set the version variables."""
    pinned = version(binary, modules=modules)
    major, minor = re.findall(r"\d+", pinned)[:2] if binary.variables else ("", "")
    values = {name: value.format(version=pinned, major=major, minor=minor) for name, value in binary.variables}
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


def content_key(binary: Binary, *, toolchain: str, modules: Path = _MODULES) -> str:
    """Return twelve hexadecimal digits over all that decides what the compiler puts out."""
    folder = modules / binary.module
    sources = sorted((folder / binary.package).glob("*.go")) if binary.package.startswith("./") else []
    digest = hashlib.sha256()
    for part in (toolchain, platform.machine(), binary.package, linker_flags(binary, modules=modules), *binary.flags):
        digest.update(part.encode() + b"\0")
    for file in (folder / "go.mod", folder / "go.sum", *sources):
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _ensure(binary: Binary, *, go: Path, toolchain: str) -> Path:
    folder = cache_folder() / "bin" / f"{binary.name}-{content_key(binary, toolchain=toolchain)}"
    if not folder.exists():
        # One lock per module: its programs share most packages, which two compilers at once would both compile.
        with exclusive(cache_folder() / "locks" / f"build-{binary.module}", f"compiling {binary.module}"):
            if not folder.exists():
                with step(f"compile {binary.name} {version(binary)}"), new_folder(folder) as unfinished:
                    _compile(binary, go=go, output=unfinished / binary.name)
    return folder / binary.name


def _compile(binary: Binary, *, go: Path, output: Path) -> None:
    processors = str(os.cpu_count() or 1)
    run(
        [
            "nice",
            "-n",
            "5",
            go,
            "build",
            "-p",
            processors,
            *binary.flags,
            "-ldflags",
            linker_flags(binary),
            "-o",
            output,
            binary.package,
        ],
        # CGO off: static programs that run in any image; GOFLAGS and GOWORK of the machine must not change the result.
        environment={"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"},
        folder=_MODULES / binary.module,
        timeout_seconds=3600,
    )

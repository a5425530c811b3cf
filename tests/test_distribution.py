"""Each part installs alone, from its own lock file, and imports with nothing but its own dependencies."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Part:
    """A part of the distribution and what must not come with it."""

    name: str
    """Of its lock file."""
    package: str
    foreign: tuple[str, ...]
    """Import names of other parts' dependencies."""
    apart: tuple[str, ...] = ()
    """Packages inside of the part that are parts of their own."""
    extras: tuple[str, ...] = ()
    """What its lock file is made of; empty: the extra of its name."""

    @property
    def selection(self) -> tuple[str, ...]:
        """What its lock file is compiled from."""
        chosen = self.extras or (self.name,)
        return (*(word for extra in chosen for word in ("--extra", extra)), "pyproject.toml")


PARTS = [
    Part("operator", "syntera_operator", ("fastapi", "openai", "uvicorn", "typer", "kubernetes")),
    Part(
        "runtime",
        "syntera_runtime",
        ("kopf", "alembic", "sqlalchemy", "typer", "kubernetes"),
        apart=("syntera_runtime.client", "syntera_runtime.ingest"),
    ),
    Part(
        "ingestion",
        "syntera_runtime.ingest",
        ("kopf", "alembic", "sqlalchemy", "typer", "kubernetes"),
        extras=("runtime", "ingestion"),
    ),
    Part(
        "client",
        "syntera_runtime.client",
        ("fastapi", "asyncpg", "redis", "structlog", "openai", "orjson", "uvicorn", "cryptography", "typer", "kopf"),
    ),
    Part("cli", "syntera_cli", ("kopf", "fastapi", "openai", "asyncpg", "orjson")),
]

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    is_apart = any(module.name == name or module.name.startswith(name + ".") for name in sys.argv[2:])
    if not is_apart and ".migrations" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
PRESENT = "import importlib.util, sys; print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])"


def run(*words: str | Path) -> str:
    """The output of a program that has to end well."""
    finished = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_part_installs_alone(part: Part, wheel: Path, tmp_path: Path) -> None:
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "--require-hashes",
        "-r",
        ROOT / "locks" / f"{part.name}.txt",
    )
    run(UV, "pip", "install", "--quiet", "--python", python, "--no-deps", wheel)

    run(python, "-W", "error", "-c", IMPORT_EVERYTHING, part.package, *part.apart)
    assert run(python, "-c", PRESENT, *part.foreign).split() == []


@pytest.mark.parametrize("lock", sorted((ROOT / "locks").glob("*.txt")), ids=lambda lock: lock.name)
def test_lock_file_names_hashes_and_no_index(lock: Path) -> None:
    text = lock.read_text()

    assert "--hash=sha256:" in text
    assert "://" not in text


@pytest.mark.parametrize(
    ("lock", "selection"),
    [
        *((part.name, part.selection) for part in PARTS),
        ("dev", ("--all-extras", "--group", "dev", "pyproject.toml")),
        ("dev-models", ("--group", "models")),
    ],
)
def test_lock_file_follows_pyproject(lock: str, selection: tuple[str, ...], tmp_path: Path) -> None:
    """A dependency added to pyproject.toml but not locked would be missing in the images."""
    committed = ROOT / "locks" / f"{lock}.txt"
    copy = tmp_path / committed.name
    copy.write_text(committed.read_text())
    run(
        UV, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--python-version", "3.11",
        "--custom-compile-command", "make lock", *selection, "--output-file", copy,
    )  # fmt: skip
    assert copy.read_text() == committed.read_text(), "run `make lock`"

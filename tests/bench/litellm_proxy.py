"""LiteLLM's proxy, what the chat is measured beside: installed apart from its own lock file, one worker, before the same provider.

Its database logging needs Prisma's query engine, which no package index has: it runs without a database, and so does less than a
runtime does. Ratios to it are therefore on its side.
"""

import json
import secrets
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from syntera_dev.paths import cache_folder
from tests.support.postgresql import REPOSITORY
from tests.support.servers import free_port

from .chat_load import Completions
from .chat_site import MODEL, Provider, Served

_LOCK = REPOSITORY / "locks" / "bench-litellm.txt"
_UV = Path(sys.executable).with_name("uv")


def install() -> Path:
    """Install it unless that has been done; gives the program."""
    folder = cache_folder() / f"litellm-{sha256(_LOCK.read_bytes()).hexdigest()[:16]}"
    if not (folder / "ready").exists():
        subprocess.run([_UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True, timeout=300)
        python = folder / "bin" / "python"
        install = (_UV, "pip", "install", "--quiet", "--python", python, "--compile-bytecode")
        subprocess.run([*install, "--require-hashes", "--requirement", _LOCK], check=True, timeout=1200)
        (folder / "ready").touch()
    return folder / "bin" / "litellm"


class LiteLLM(Served):
    """The proxy."""

    @classmethod
    def make(cls, folder: Path, provider: Provider) -> "LiteLLM":
        """One that is not started yet."""
        port, key = free_port(), f"sk-{secrets.token_hex(16)}"
        parameters = {"model": f"openai/{MODEL}", "api_base": f"{provider.url}/v1", "api_key": "none"}
        config = folder / "litellm.yaml"
        config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": parameters}]}))
        command = [str(install()), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        settings = {
            "LITELLM_MASTER_KEY": key,
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_DOCS": "True",
        }
        return cls(
            [*command, "--num_workers", "1", "--telemetry", "False"],
            settings,
            port,
            f"http://127.0.0.1:{port}/health/liveliness",
            folder / "litellm.log",
        )

    def door(self) -> Completions:
        """The way in."""
        return Completions(self.url, MODEL, self.settings["LITELLM_MASTER_KEY"])

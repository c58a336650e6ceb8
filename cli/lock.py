"""`./pacs lock`: write the lock files from pyproject.toml; nothing is pinned twice."""

from __future__ import annotations

import os
import subprocess

from cli import console
from cli.errors import StepError
from toolchain.paths import REPOSITORY, cache_directory

# Lock file -> the arguments of `uv pip compile`. The services' image holds only their own needs, at
# the versions that the whole has.
LOCKS = {
    "requirements.lock": ["--extra", "operator", "--extra", "dev"],
    "services/requirements.lock": ["--constraint", "requirements.lock"],
}


def lock() -> None:
    """Resolve the dependencies anew and write requirements.lock and services/requirements.lock."""
    for file, arguments in LOCKS.items():
        command = ["uv", "pip", "compile", "pyproject.toml", "--generate-hashes", "--no-header", "--upgrade"]
        command += [*arguments, "--python-version", "3.11", "--output-file", file, "--quiet"]
        answer = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=os.environ | {"UV_CACHE_DIR": str(cache_directory() / "uv")},
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise StepError(
                f"{file} could not be resolved",
                "\n".join(answer.stderr.strip().splitlines()[-6:]),
                "Correct pyproject.toml, or check that the Python package index can be reached.",
            )
        console.say(f"{file} written")

"""The engine that a file is run with: MCPBOX_ATTACK_ENGINE says native, or docker for the machine's container one."""
import os
import pathlib
import subprocess

ENGINE = os.environ["MCPBOX_ATTACK_ENGINE"]


def container_engine():
    script = pathlib.Path(__file__).parents[2] / "scripts" / "engine"
    return os.environ.get("DOCKER_HOST") or subprocess.run(
        [script, "--socket-path"], capture_output=True, text=True, check=True).stdout.strip()


def address():
    """What --engine takes."""
    return ENGINE if ENGINE == "native" else container_engine()

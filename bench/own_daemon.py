"""What benchmarks of the daemon have in common: one of its own, its control API, servers that are asked."""
import asyncio
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20


class Daemon:
    """`mcpbox serve` with a state, a home and a socket of its own; ended and removed by close()."""

    def __init__(self, mcpbox, settings):
        self.mcpbox = str(pathlib.Path(mcpbox).resolve())
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mcpbox-bench-"))
        self.folder.chmod(0o755)
        self.socket = str(self.folder / "run/control.sock")
        self.config = self.folder / "mcpbox.yaml"
        keep = {k: v for k, v in os.environ.items() if k.startswith("MCPBOX_INIT") or k == "DOCKER_HOST"}
        self.environment = {**keep, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                            "LANG": "C.UTF-8", "HOME": str(self.folder / "home"),
                            "MCPBOX_STATE_DIR": str(self.folder / "state"), "MCPBOX_RUN_DIR": str(self.folder / "run")}
        (self.folder / "home").mkdir()
        # JSON is YAML.
        self.config.write_text(json.dumps({"version": 1, **settings}, indent=1))
        self.config.chmod(0o600)
        self.log = open(self.folder / "serve.log", "wb")
        self.process = subprocess.Popen([self.mcpbox, "serve", "--config", str(self.config)], cwd=self.folder,
                                        env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)

    def verb(self, *words, timeout):
        return subprocess.run([self.mcpbox, *words], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)

    def memory(self, field="VmRSS"):
        """MiB, or 0 when it has ended."""
        try:
            for line in open(f"/proc/{self.process.pid}/status"):
                if line.startswith(field + ":"):
                    return int(line.split()[1]) / 1024
        except OSError:
            pass
        return 0.0

    def forget_peak(self):
        open(f"/proc/{self.process.pid}/clear_refs", "w").write("5")

    def tail(self, lines=15):
        text = (self.folder / "serve.log").read_text(errors="replace").splitlines()[-lines:]
        return "\n".join("  " + line[:300] for line in text)

    def close(self):
        try:
            self.verb("down", "--volumes", "--config", str(self.config), timeout=120)
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.verb("down", "--volumes", "--config", str(self.config), timeout=120)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


async def request(daemon, method, path, body=None, timeout=30.0):
    """One request on a connection of its own: (status, body). The daemon's answer ends with the connection."""

    async def exchange():
        reader, writer = await asyncio.open_unix_connection(daemon.socket, limit=64 * MIB)
        try:
            data = b"" if body is None else json.dumps(body).encode()
            writer.write((f"{method} {path} HTTP/1.1\r\nHost: mcpbox\r\nConnection: close\r\n"
                          f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data)
            await writer.drain()
            head, _, rest = (await reader.read(-1)).partition(b"\r\n\r\n")
            return (int(head.split(b" ", 2)[1]) if head else 0), rest
        finally:
            writer.close()

    return await asyncio.wait_for(exchange(), timeout)


def percentile(seconds, share):
    """In milliseconds."""
    times = sorted(seconds)
    return 1000 * times[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


class Neighbours:
    """Calls a tool of the honest servers, each at its rate, one call at a time.

    `took` has the seconds of the calls since clear()."""

    def __init__(self, daemon, names, rate, tool="echo"):
        self.daemon, self.names, self.rate, self.tool = daemon, names, rate, tool
        self.took, self.failed = [], []

    def clear(self):
        self.took.clear()

    async def call_one(self, name, offset):
        await asyncio.sleep(offset)
        due = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                status, body = await request(self.daemon, "POST", f"/v1/servers/{name}/call",
                                             {"tool": self.tool, "arguments": {"text": "x" * 100}})
                if status != 200 or b"xxxx" not in body:
                    self.failed.append(f"{name}: {status} {body[:120]!r}")
            except (OSError, asyncio.TimeoutError, IndexError, ValueError) as error:
                self.failed.append(f"{name}: {error!r}")
            self.took.append(time.monotonic() - began)
            due = max(due + 1 / self.rate, time.monotonic())
            await asyncio.sleep(max(0, due - time.monotonic()))

    def start(self):
        count = len(self.names)
        return [asyncio.create_task(self.call_one(name, i / count / self.rate)) for i, name in enumerate(self.names)]

    def percentile(self, share):
        return percentile(self.took, share)

    def summary(self):
        return (f"{len(self.took)} calls, p50 {self.percentile(.5):.2f} ms, p99 {self.percentile(.99):.2f} ms, "
                f"max {self.percentile(1):.0f} ms; machine's load {os.getloadavg()[0]:.1f}")


async def swallow(coroutine):
    try:
        await coroutine
    except (OSError, asyncio.TimeoutError, IndexError, ValueError):
        pass


def median(numbers):
    return sorted(numbers)[len(numbers) // 2] if numbers else 0.0

"""The built mcpbox as its users start it: with a state and a run directory of its own, on the native engine."""
import http.server
import json
import os
import pathlib
import shutil
import socketserver
import subprocess
import tempfile
import threading
import time

MCPBOX = os.path.join(os.environ["MCPBOX_BUILD_DIR"], "bin", "mcpbox")


def until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


class EmptyEngine(socketserver.ThreadingUnixStreamServer):
    """A Docker-compatible engine that has nothing; a silent one takes requests and never answers."""
    daemon_threads = True

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = self.path.split("?")[0]
            self.server.asked.append(path)
            if self.server.silent:
                self.server.over.wait(60)
                return
            version = {"ApiVersion": "1.43", "MinAPIVersion": "1.24", "Version": "27.0", "Os": "linux", "Arch": "amd64",
                       "OSType": "linux", "CgroupVersion": "2", "OperatingSystem": "empty"}
            body = json.dumps([] if path.endswith("/containers/json") else
                              {"Volumes": []} if path.endswith("/volumes") else version).encode()
            self.send_response(200)
            self.send_header("Api-Version", "1.43")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return ""

        def log_message(self, *_):
            pass

    def __init__(self, path, silent=False):
        super().__init__(str(path), self.Handler)
        self.silent, self.over = silent, threading.Event()
        self.address = f"unix://{path}"
        self.asked = []  # paths
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.over.set()
        self.shutdown()
        self.server_close()


class EmptyDaemon(EmptyEngine):
    """A daemon on an engine, which says that it stops and goes on until close()."""

    class Handler(EmptyEngine.Handler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.server.asked.append(self.path)
            body = json.dumps({"engine": {"address": self.server.engine}}).encode()
            self.send_response(202 if self.path == "/v1/shutdown" else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

    def __init__(self, path, engine):
        self.engine, self.path = engine, path
        super().__init__(path)

    def close(self):
        self.path.unlink(missing_ok=True)
        self.shutdown()
        self.server_close()


class Home:
    """Directories for one test; ends every daemon that was started in it."""

    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mcpbox-cli-"))
        self.root.chmod(0o755)
        for name in ("state", "run"):
            (self.root / name).mkdir(mode=0o700)
        self.socket = self.root / "run" / "control.sock"
        self.config = self.root / "mcpbox.yaml"
        self.config.write_text("version: 1\nservers: {}\n")
        self.env = {**os.environ, "MCPBOX_STATE_DIR": str(self.root / "state"),
                    "MCPBOX_RUN_DIR": str(self.root / "run")}
        self.started = []

    def serve(self, engine="native", **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE,
                   "env": self.env, **options}
        daemon = subprocess.Popen([MCPBOX, "serve", "--engine", engine, "-c", self.config], **options)
        self.started.append(daemon)
        return daemon

    def run(self, *args, **options):
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "env": self.env, "timeout": 60,
                   **options}
        return subprocess.run([MCPBOX, *args], **options)

    def answers(self, env=None):
        return self.run("ps", "--format", "json", env=env or self.env).returncode == 0

    def status(self):
        return json.loads(self.run("ps", "--format", "json").stdout)

    def close(self):
        for daemon in self.started:
            if daemon.poll() is None:
                daemon.terminate()
        for daemon in self.started:
            try:
                daemon.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.communicate()
        shutil.rmtree(self.root, ignore_errors=True)

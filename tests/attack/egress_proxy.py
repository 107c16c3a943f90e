"""The egress proxy as mcpbox starts it; this speaks as the relay of a sandbox does. It is the same on every engine."""
import base64
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

MCPBOX = os.path.join(os.environ["MCPBOX_BUILD_DIR"], "bin", "mcpbox")
UID = 1900000001


class Proxy:
    def __init__(self, before=(), **network):
        """`before`: a command that starts the proxy, as `unshare`."""
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="mcpbox-attack-"))
        self.root.chmod(0o755)
        self.path = str(self.root / "run" / "egress.sock")
        (self.root / "run").mkdir(mode=0o700)
        self.control, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            ["sh", "-c", 'exec 3<&"$1"; shift; exec "$@"', "sh", str(theirs.fileno()), *before,
             MCPBOX, "egress", "serve", "--listen", self.path, "--audit", str(self.root / "audit")],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self.control.settimeout(30)
        self.answers = self.control.makefile("rb")
        self.tell(op="configure", **{"hosts": {}, "allow_private": [], "upstream_proxy": "", **network})

    def tell(self, **command):
        self.control.sendall(json.dumps(command).encode() + b"\n")
        answer = json.loads(self.answers.readline())
        assert answer.get("ok"), answer

    def register(self, server, phase="run", mode="allowlist", allow=(), install_allow=(), **more):
        """Of process p-SERVER, whose token is its name."""
        policy = {"mode": mode, "allow": list(allow), "install_allow": list(install_allow), "registries": []}
        token = hashlib.sha256(server.encode()).hexdigest()
        self.tell(op="register", process=f"p-{server}", server=server, phase=phase, policy=policy, token_sha256=token,
                  **{"uid": UID, **more})

    def send(self, server, request, headers="", who=str(UID)):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(self.path)
        credential = base64.b64encode(f"p-{server}:{server}".encode()).decode()
        head = f"{request} HTTP/1.1\r\nHost: x.test\r\nProxy-Authorization: Basic {credential}\r\n{headers}\r\n"
        client.sendall(f"MCPBOX1 {who}\n{head}".encode())
        return client

    def ask(self, server, request, headers="", who=str(UID)):
        """The whole answer."""
        with self.send(server, request, headers, who) as client:
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        return answer.decode(errors="replace")

    def log(self):
        lines = []
        for path in sorted((self.root / "audit").glob("egress.jsonl*"), reverse=True):
            lines += [json.loads(line) for line in path.read_text().splitlines()]
        return lines

    def stop(self):
        self.control.close()
        self.answers.close()
        self.process.wait(30)

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


class Listener:
    """What `serve(connection)` makes of each connection to a port on loopback."""

    def __init__(self, serve):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.seen = []
        threading.Thread(target=self._accept, args=(serve,), daemon=True).start()

    def _accept(self, serve):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(30)
                serve(self, connection)

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


def head_of(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            break
        head += piece
    return head.decode(errors="replace")

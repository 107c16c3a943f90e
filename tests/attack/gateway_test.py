"""GHSA-qg2g-g9w3-m5h8 and its kind: a sandbox talks to an API of the host through the address that the host has on a
bridge, loopback, or a name or spelling of either, directly or by way of the proxy that is to let it out. Nothing does,
whatever the configuration allows. The controls hold that the same probe reaches the service where nothing stops it."""

import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

from engine import address, ENGINE
from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
CANARY = "the API of the host"
# Each way in turn; prints those that told it the canary. `targets`: hosts as they may be spelled; `files`: sockets.
PROBE = """
import base64, os, socket, urllib.parse
def ask(kind, host, connection, head):
    try:
        with connection() as link:
            link.settimeout(3)
            link.sendall(head.encode())
            answer = b""
            while b"the API of the host" not in answer:
                piece = link.recv(65536)
                if not piece: break
                answer += piece
                if kind == "CONNECT" and answer.startswith(b"HTTP/1.1 200"):
                    link.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
        print("REACHED" if b"the API of the host" in answer else "not", kind, host, answer[:12])
    except OSError as error:
        print("not", kind, host, error)
proxy = urllib.parse.urlsplit(os.environ.get("HTTPS_PROXY", ""))
login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
end = "Connection: close\\r\\n\\r\\n"
print("proxied" if proxy.hostname else "direct only")
for host in targets:
    plain = host.strip("[]")
    ask("direct", host, lambda: socket.create_connection((plain, port), 1), f"GET / HTTP/1.1\\r\\nHost: x\\r\\n{end}")
    if proxy.hostname:
        to_proxy = lambda: socket.create_connection((proxy.hostname, proxy.port), 3)
        lines = f" HTTP/1.1\\r\\nHost: {host}:{port}\\r\\nProxy-Authorization: Basic {login}\\r\\n"
        ask("CONNECT", host, to_proxy, f"CONNECT {host}:{port}{lines}\\r\\n")
        ask("GET", host, to_proxy, f"GET http://{host}:{port}/{lines}{end}")
for path in files:
    def to_file():
        link = socket.socket(socket.AF_UNIX); link.connect(path); return link
    ask("socket", path, to_file, f"GET / HTTP/1.1\\r\\nHost: x\\r\\n{end}")
"""


def addresses():
    """Of the host, bridges' included."""
    said = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, check=True).stdout)
    return [info["local"] for link in said for info in link["addr_info"]]


def spellings(dotted):
    parts = [int(part) for part in dotted.split(".")]
    number = int.from_bytes(bytes(parts), "big")
    return [
        dotted,
        str(number),
        hex(number),
        ".".join(f"0{part:o}" for part in parts),
        ".".join(hex(part) for part in parts),
        f"{parts[0]}.{number & 0xffffff}",
        f"[::ffff:{dotted}]",
        f"[::ffff:{number >> 16:x}:{number & 0xffff:x}]",
        f"[64:ff9b::{dotted}]",
        f"{dotted}.",
    ]


class Service:
    """On every address of the host; counts who came."""

    def __init__(self):
        outer = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.seen.append(self.client_address)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(CANARY.encode())

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6
            daemon_threads = True

            def server_bind(self):
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                super().server_bind()

        self.server = Server(("::", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Engine(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None):
        self.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return text


class Gateway(unittest.TestCase):
    def setUp(self):
        self.service = Service()
        self.addCleanup(self.service.close)
        self.home = Home()
        self.addCleanup(self.home.close)
        self.own = addresses()
        self.names = {
            "gate.example.com": next(own for own in reversed(self.own) if own != "127.0.0.1"),
            "loop.example.com": "127.0.0.1",
            "meta.example.com": "169.254.169.254",
            "mapped.example.com": "::ffff:127.0.0.1",
            "zero.example.com": "0.0.0.0",
        }

    def probe(self, targets):
        files = [str(self.home.socket), "/run/docker.sock", "/var/run/docker.sock", address().removeprefix("unix://")]
        return f"targets, port, files = {targets!r}, {self.service.port}, {files!r}\n" + PROBE

    def reached(self, said):
        return [line for line in said.splitlines() if line.startswith("REACHED")]

    def targets(self):
        return [
            *(form for own in {*self.own, "169.254.169.254"} for form in spellings(own)),
            "0.0.0.0",
            "0",
            "[::]",
            "[::1]",
            "localhost",
            "localhost.",
            "ip6-localhost",
            socket.gethostname(),
            "host.docker.internal",
            "gateway.docker.internal",
            "host.containers.internal",
            "metadata.google.internal",
            *self.names,
        ]

    def py(self, server, code):
        ended = self.home.run(
            "call", server, "py", "--json", json.dumps({"code": code}), "--format", "json", timeout=280
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(ended.stdout)["content"][0]["text"]

    def test_no_server_reaches_the_host(self):
        server = {"command": "python3", "args": ["-u", "-c", SOURCE]}
        rules = [
            f"{host}:{self.service.port}" for host in (*self.own, *self.names, "host.docker.internal", "localhost")
        ]
        self.home.config.write_text(
            json.dumps(
                {
                    "version": 1,
                    "egress": {"hosts": self.names},
                    "servers": {
                        "open": {**server, "box": {"network": "public"}},
                        "ruled": {**server, "box": {"network": {"mode": "allowlist", "allow": rules}}},
                        "both": {**server, "box": {"network": {"mode": "public", "allow": rules}}},
                        "closed": {**server, "box": {"network": "none"}},
                    },
                }
            )
        )
        self.home.serve(engine=address())
        until(self.home.answers, "the daemon answers")
        until(
            lambda: all(
                self.home.run("call", name, "py", "code=1").returncode == 0
                for name in ("open", "ruled", "both", "closed")
            ),
            "servers answer",
            90,
        )
        for name in ("open", "ruled", "both", "closed"):
            with self.subTest(name):
                said = self.py(name, self.probe(self.targets()))
                self.assertTrue(said.startswith("direct only" if name == "closed" else "proxied"), said)
                self.assertGreater(said.count("\nnot "), 40, said)
                self.assertEqual((self.reached(said), self.service.seen), ([], []))

    def test_control_through_the_proxy_the_probe_reaches_what_is_opened_by_name_and_range(self):
        gate = self.names["gate.example.com"]
        self.home.config.write_text(
            json.dumps(
                {
                    "version": 1,
                    "egress": {"hosts": self.names, "allow_private": [f"{gate}/32"]},
                    "servers": {
                        "opened": {
                            "command": "python3",
                            "args": ["-u", "-c", SOURCE],
                            "box": {"network": {"allow": [f"gate.example.com:{self.service.port}"]}},
                        }
                    },
                }
            )
        )
        self.home.serve(engine=address())
        until(lambda: self.home.run("call", "opened", "py", "code=1").returncode == 0, "the server answers", 90)
        said = self.py("opened", self.probe(["gate.example.com", "loop.example.com", gate]))
        self.assertEqual(
            [line.split()[1:3] for line in self.reached(said)],
            [["CONNECT", "gate.example.com"], ["GET", "gate.example.com"]],
            said,
        )

    def test_control_from_the_host_itself_the_probe_reaches_it(self):
        said = subprocess.run(
            [sys.executable, "-c", self.probe(["127.0.0.1", *self.own, "localhost"])],
            env={name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            capture_output=True,
            text=True,
        )
        self.assertEqual(len(self.reached(said.stdout)), len(self.own) + 2, said)

    @unittest.skipIf(ENGINE == "native", "its sandboxes are on no bridge")
    def test_control_from_a_plain_container_on_the_bridge_the_probe_reaches_it(self):
        images = json.loads(self.home.run("image", "list", "--engine", address(), "--format", "json").stdout)["images"]
        engine = Engine(address().removeprefix("unix://"))
        self.addCleanup(engine.close)
        made = json.loads(
            engine.ask(
                "POST",
                "/containers/create",
                {
                    "Image": images[0]["id"],
                    "Entrypoint": ["python3", "-c", self.probe(self.own)],
                    "HostConfig": {"NetworkMode": "bridge"},
                    "User": "65534:65534",
                },
            )
        )["Id"]
        self.addCleanup(engine.ask, "DELETE", f"/containers/{made}?force=1&v=1")
        engine.ask("POST", f"/containers/{made}/start")
        engine.ask("POST", f"/containers/{made}/wait")
        self.assertGreater(len(self.service.seen), 0, engine.ask("GET", f"/containers/{made}/logs?stdout=1&stderr=1"))


if __name__ == "__main__":
    unittest.main()

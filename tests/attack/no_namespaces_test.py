"""An engine that lets no container make namespaces: servers of a shared sandbox keep /tmp and all ports closed, for their neighbours would
see what they make, and their log names the way out; a server that has the sandbox to itself has both open."""
import json
import pathlib
import re
import socket
import threading
import unittest

from engine import address, ENGINE
from own_namespaces_test import SELF_TALK, SHARED, SOURCE, TMP
from program import Home, until
from server_disk_test import BYTES
from server_memory_test import FORKS, LIMIT, SMALL



class StrictEngine:
    """Passes all on to the real engine, and refuses containers with a filter that is not its own."""

    def __init__(self, path, real):
        self.real, self.refused = real, 0
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, socket.socket(socket.AF_UNIX) as engine:
            self.pass_on(client, engine)

    def pass_on(self, client, engine):
        request = b""
        while True:
            piece = client.recv(65536)
            request += piece
            head, end, body = request.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            if not piece or (end and len(body) >= int(length.group(1) if length else 0)):
                break
        if b"/containers/create" in head and b"seccomp=" in body:
            self.refused += 1
            text = b'{"message":"invalid --security-opt: seccomp profiles are not for everybody"}'
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(text) + text)
            return
        engine.connect(self.real)
        engine.sendall(request)
        upwards = threading.Thread(target=self.pump, args=(client, engine), daemon=True)
        upwards.start()
        self.pump(engine, client)
        upwards.join(5)

    @staticmethod
    def pump(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@unittest.skipIf(ENGINE == "native", "makes namespaces itself, or none at all")
class NoNamespaces(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        path = self.home.root / "engine.sock"
        self.engine = StrictEngine(path, address().removeprefix("unix://"))
        self.addCleanup(self.engine.listening.close)
        self.address = f"unix://{path}"

    def py(self, server, code):
        ended = self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(ended.stdout)["content"][0]["text"]

    def test_only_who_is_alone_may_use_what_is_shared(self):
        server = {"command": "python3", "args": ["-u", "-c", SOURCE]}
        servers = {"shared": server, "own": {**server, "box": {"isolation": "dedicated"}}}
        self.home.config.write_text(json.dumps({"version": 1, "servers": servers}))
        self.home.serve(engine=self.address)
        until(self.home.answers, "the daemon answers")
        until(lambda: all(self.home.run("call", name, "py", "code=1").returncode == 0 for name in servers), "both servers answer", 90)
        self.assertGreater(self.engine.refused, 0)
        for name, code, told in (("loopback", SELF_TALK, "hello\n"), ("tmp", TMP, "ran\n"), ("shared memory", SHARED, "[1, 2]\n4096\n")):
            with self.subTest(name):
                self.assertEqual(self.py("own", code), told)
                if name != "shared memory":
                    self.assertIn("PermissionError", self.py("shared", code))
        self.assertIn("`isolation: dedicated` opens both", self.home.run("logs", "shared").stdout)

    def test_limits_of_each_server_hold_there_too(self):
        box = {"memory_mb": LIMIT, "pids_limit": 100, "disk_mb": 64}
        server = {"command": "python3", "args": ["-u", "-c", SOURCE], "box": box}
        hogs = {"small": (SMALL, "memory"), "forks": (FORKS, "processes"), "bytes": (BYTES, "disk")}
        servers = {name: server for name in (*hogs, "neighbour")}
        self.home.config.write_text(json.dumps({"version": 1, "servers": servers}))
        self.home.serve(engine=self.address)
        until(self.home.answers, "the daemon answers")
        until(lambda: all(server["state"] == "connected" for server in self.home.status()["servers"]),
              "all servers are there", 90)
        for name, (code, what) in hogs.items():
            with self.subTest(name):
                ended = self.home.run("call", name, "py", "--json", json.dumps({"code": code}))
                self.assertRegex(ended.stderr, f"server '{name}' was ended: it used [0-9,]+ .*{what}")
                self.assertEqual(self.py("neighbour", "print('pong')"), "pong\n")

    def test_what_was_found_out_is_remembered(self):
        def run():
            return self.home.run("run", "--engine", self.address, "--direct", "--network", "none", "--", "python3", "-c", SELF_TALK + TMP, timeout=120)
        self.assertEqual(run().stdout, "hello\nran\n")
        refused = self.engine.refused
        self.assertGreater(refused, 0)
        self.assertEqual(run().stdout, "hello\nran\n")
        self.assertEqual(self.engine.refused, refused)
        self.assertTrue(pathlib.Path(self.home.env["MCPBOX_STATE_DIR"], "engine-spaces").read_text().endswith("none"))


if __name__ == "__main__":
    unittest.main()

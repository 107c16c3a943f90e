"""What attacks share: each has directories of its own and leaves nothing on its engine, and its servers run what they
are told."""
import json
import pathlib
import unittest

from engine import address
from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
SERVER = {"command": "python3", "args": ["-u", "-c", SOURCE]}


class Attack(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.engine = address()
        self.addCleanup(self.home.run, "down", "--volumes", "--engine", self.engine, timeout=120)

    def configure(self, servers, **settings):
        self.home.config.write_text(json.dumps({"version": 1, **settings, "servers": servers}))

    def start(self, servers, seconds=60, **settings):
        """A daemon with these servers, when each of them answers."""
        self.configure(servers, **settings)
        daemon = self.home.serve(engine=self.engine)
        self.all_answer(servers, seconds)
        return daemon

    def all_answer(self, servers, seconds=60):
        until(self.home.answers, "the daemon answers")
        until(lambda: all(self.home.run("call", name, "py", "code=1").returncode == 0 for name in servers),
              "all servers answer", seconds)

    def py(self, server, code, timeout=60):
        """What the code prints there; a traceback where it fails."""
        ended = self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json",
                              timeout=timeout)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(ended.stdout)["content"][0]["text"]

"""listen() without bind() has the kernel choose a port, and no rule of Landlock's for ports is asked: a server opened
one in a network that its neighbours are in."""
import json
import pathlib
import unittest

from engine import address
from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
OPEN = """
import socket
kept = [socket.socket(family) for family in (socket.AF_INET, socket.AF_INET6)]
for each in kept:
    try: each.listen(); print(each.getsockname()[1])
    except OSError as error: print(0)
"""
SEEK = """
import socket
for port in PORTS:
    if port == 0: continue
    try: socket.create_connection(("127.0.0.1", port), 5); print("REACHED", port)
    except OSError: pass
for table in "tcp", "tcp6":
    for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        if state == "0A" and int(local.split(":")[1], 16) in PORTS: print("SEEN", local)
"""


class UnboundListen(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.addCleanup(lambda: self.home.run("down", "--volumes", "--engine", address(), timeout=120))
        server = {"command": "python3", "args": ["-u", "-c", SOURCE]}
        self.home.config.write_text(json.dumps({"version": 1, "servers": {name: server for name in ("one", "two")}}))
        self.home.serve(engine=address())
        until(self.home.answers, "the daemon answers")
        until(lambda: all(self.home.run("call", name, "py", "code=1").returncode == 0 for name in ("one", "two")),
              "both servers answer", 60)

    def py(self, server, code):
        ended = self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(ended.stdout)["content"][0]["text"]

    def test_no_neighbour_has_the_port(self):
        ports = [int(port) for port in self.py("one", OPEN).split()]
        self.assertEqual(self.py("two", SEEK.replace("PORTS", repr(ports))), "")


if __name__ == "__main__":
    unittest.main()

"""An engine that lets no container make namespaces: servers of a shared sandbox keep /tmp, /dev/shm and all ports
closed, for their neighbours would see what they make, and their log names the way out; who has the sandbox to itself
has them open."""
import json
import pathlib
import socket
import unittest

from attack import Attack, SERVER
from engine import ENGINE
from engine_in_between import EngineInBetween
from own_namespaces_test import SELF_TALK, SHARED, TMP
from program import until
from published_ports_test import ANSWER, ask, free_port
from server_disk_test import BYTES
from server_memory_test import FORKS, LIMIT, SMALL
from unbound_listen_test import OPEN, SEEK


REFUSAL = b'{"message":"invalid --security-opt: seccomp profiles are not for everybody"}'


def refuse_filters(head, body):
    """An engine's answer to containers with a system call filter that is not its own; None to all else."""
    if b"/containers/create" not in head or b"seccomp=" not in body:
        return None
    return (b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (len(REFUSAL), REFUSAL))


@unittest.skipIf(ENGINE == "native", "makes namespaces itself, or none at all")
class NoNamespaces(Attack):
    def setUp(self):
        super().setUp()
        self.refused = 0
        engine = EngineInBetween(self.home.root / "engine.sock", self.engine.removeprefix("unix://"), self.refuse)
        self.addCleanup(engine.close)
        self.engine = engine.address
        self.addCleanup(self.home.run, "down", "--volumes", "--engine", self.engine, timeout=120)

    def refuse(self, head, body):
        answer = refuse_filters(head, body)
        self.refused += answer is not None
        return answer

    def test_only_who_is_alone_may_use_what_is_shared(self):
        self.start({"shared": SERVER, "own": {**SERVER, "box": {"isolation": "dedicated"}}}, 90)
        self.assertGreater(self.refused, 0)
        for name, code, told in (("loopback", SELF_TALK, "hello\n"), ("tmp", TMP, "ran\n"),
                                 ("shared memory", SHARED, "[1, 2]\n4096\n")):
            with self.subTest(name):
                self.assertEqual(self.py("own", code), told)
                self.assertIn("PermissionError", self.py("shared", code))
        self.assertIn("`isolation: dedicated` opens them", self.home.run("logs", "shared").stdout)

    def test_nobody_reaches_a_port_that_the_kernel_chose(self):
        """listen() without bind() asks no rule; who may connect to it is another question."""
        self.start({name: SERVER for name in ("one", "two")}, 90)
        ports = [int(port) for port in self.py("one", OPEN).split()]
        self.assertTrue(any(ports), "one is open")
        for name in "one", "two":
            self.assertNotIn("REACHED", self.py(name, SEEK.replace("PORTS", repr(ports))))

    def test_only_who_is_alone_may_publish_a_port(self):
        """In a network that is shared the port would be whoever's listens there first."""
        port = free_port()
        self.configure({"shared": {**SERVER, "box": {"ports": [port]}}})
        daemon = self.home.serve(engine=self.engine)
        until(self.home.answers, "the daemon answers")
        told = until(lambda: (now := self.home.status()["servers"][0])["state"] == "error" and now, "it is refused", 90)
        self.assertIn(f"port {port} cannot be published", json.dumps(told))
        self.assertIn("`isolation: dedicated`", json.dumps(told))
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        self.home.run("down", "--engine", self.engine)
        daemon.communicate(timeout=60)
        self.start({"own": {**SERVER, "box": {"ports": [port], "isolation": "dedicated"}}}, 90)
        self.assertEqual(self.py("own", ANSWER + f"serve('own', {port})"), "")
        self.assertEqual(ask(port), "own hello\nbye\n")

    def test_limits_of_each_server_hold_there_too(self):
        box = {"memory_mb": LIMIT, "pids_limit": 100, "disk_mb": 64}
        hogs = {"small": (SMALL, "memory"), "forks": (FORKS, "processes"), "bytes": (BYTES, "disk")}
        self.start({name: {**SERVER, "box": box} for name in (*hogs, "neighbour")}, 90)
        for name, (code, what) in hogs.items():
            with self.subTest(name):
                ended = self.home.run("call", name, "py", "--json", json.dumps({"code": code}))
                self.assertRegex(ended.stderr, f"server '{name}' was ended: it used [0-9,]+ .*{what}")
                self.assertEqual(self.py("neighbour", "print('pong')"), "pong\n")

    def test_what_was_found_out_is_remembered(self):
        def run():
            return self.home.run("run", "--engine", self.engine, "--direct", "--network", "none", "--",
                                 "python3", "-c", SELF_TALK + TMP, timeout=120)
        self.assertEqual(run().stdout, "hello\nran\n")
        refused = self.refused
        self.assertGreater(refused, 0)
        self.assertEqual(run().stdout, "hello\nran\n")
        self.assertEqual(self.refused, refused)
        self.assertTrue(pathlib.Path(self.home.env["MCPBOX_STATE_DIR"], "engine-spaces").read_text().endswith("none"))


if __name__ == "__main__":
    unittest.main()

"""A published port leads into one server and nowhere else: not to its neighbours, not to what the server did not
publish, and from no other machine; and neither who connects nor the server gets more out of it than 64 connections."""
import contextlib
import json
import pathlib
import socket
import subprocess
import time
import unittest

from engine import address
from program import Home, MCPBOX, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()

# Listens on what it is given and answers every line with its name and the line; the end of its input is answered too.
ANSWER = """
import socket, threading
def talk(client, name):
    with client:
        for line in client.makefile("rb"):
            client.sendall(name.encode() + b" " + line)
        client.sendall(b"bye\\n")
def serve(name, port, host="127.0.0.1", family=socket.AF_INET):
    listening = socket.socket(family); listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port)); listening.listen(128)
    def accept():
        while True: threading.Thread(target=talk, args=(listening.accept()[0], name), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port, host="127.0.0.1"):
    return socket.create_connection((host, port), timeout=20)


def ask(port, host="127.0.0.1"):
    """What the server answers, or None where nobody is let in."""
    try:
        with connect(port, host) as client:
            client.sendall(b"hello\n")
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read().decode() or None
    except ConnectionError:
        return None


class PublishedPorts(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def serve(self, **ports):
        """A daemon with a server for each name, which publishes these ports."""
        servers = {name: {"command": "python3", "args": ["-u", "-c", SOURCE], "box": {"ports": published}}
                   for name, published in ports.items()}
        self.home.config.write_text(json.dumps({"version": 1, "servers": servers}))
        self.home.serve(engine=address())
        until(self.home.answers, "the daemon answers")
        until(lambda: all(self.state(name) in ("connected", "error") for name in ports), "the servers have started", 60)

    def server(self, name):
        return next(server for server in self.home.status()["servers"] if server["name"] == name)

    def state(self, name):
        return self.server(name)["state"]

    def py(self, server, code):
        ended = self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(ended.stdout)["content"][0]["text"]

    def test_it_leads_into_that_server_and_no_other(self):
        one, two, six = free_port(), free_port(), free_port()
        self.serve(one=[f"{one}:3000", f"{six}:3006"], two=[f"{two}:3000"])
        self.assertIsNone(ask(one), "nobody listens yet")
        for name in "one", "two":
            self.assertEqual(self.py(name, ANSWER + f"serve({name!r}, 3000); serve('not published', 3001)"), "")
        self.py("one", "serve('six', 3006, '::1', socket.AF_INET6)")
        self.assertEqual((ask(one), ask(two), ask(six)), ("one hello\nbye\n", "two hello\nbye\n", "six hello\nbye\n"))
        self.assertEqual(ask(one, "::1"), "one hello\nbye\n")
        for port in 3000, 3001, 3006:
            self.assertIsNone(ask(port), "not published under this number")
        # Nor is it a way for a server to the other, or out.
        for port in one, two:
            self.assertIn("refused", self.py("two", f"socket.create_connection(('127.0.0.1', {port}))"))
        shown = ["ss", "-Hltn", f"sport = :{one}"]
        listening = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
        self.assertEqual({line.split()[3] for line in listening.splitlines()}, {f"127.0.0.1:{one}", f"[::1]:{one}"})

    def test_it_lives_as_long_as_its_server(self):
        port = free_port()
        self.serve(one=[f"{port}:3000"])
        for _ in range(2):
            self.py("one", ANSWER + "serve('one', 3000)")
            with connect(port) as held:
                held.sendall(b"held\n")
                self.assertEqual(held.recv(99), b"one held\n")
                self.assertEqual(self.home.run("restart", "one").returncode, 0)
                until(lambda: self.state("one") == "connected", "it is back", 60)
                with self.assertRaises(ConnectionError):
                    if held.recv(99) == b"":
                        raise ConnectionResetError("ended")
        self.assertEqual(self.home.run("stop", "one").returncode, 0)
        with self.assertRaises(ConnectionRefusedError):
            connect(port)
        with socket.create_server(("127.0.0.1", port)):
            self.assertEqual(self.home.run("restart", "one").returncode, 5)
            told = self.server("one")
            self.assertEqual(told["state"], "error")
            for word in f"port {port} of this machine is taken", "127.0.0.1", f"{port}`", "publish another port":
                self.assertIn(word, json.dumps(told))
        self.assertEqual(self.home.run("restart", "one").returncode, 0)

    def one_more(self, port):
        """How many the deaf server gets of one connection that is made now."""
        with contextlib.suppress(ConnectionError), connect(port):
            return self.py("one", """
import time
count, end = 0, time.monotonic() + 1
while time.monotonic() < end and count == 0:
    try: taken.append(deaf.accept()[0]); count += 1
    except BlockingIOError: time.sleep(0.01)
print(count)""")

    def test_a_flood_and_a_deaf_server_are_bounded(self):
        port = free_port()
        self.serve(one=[f"{port}:3000"])
        # Takes connections and reads nothing.
        self.py("one", """
import socket
deaf = socket.socket(); deaf.bind(("127.0.0.1", 3000)); deaf.listen(500)
taken = []""")
        flood = []
        self.addCleanup(lambda: [each.close() for each in flood])
        for _ in range(150):
            with contextlib.suppress(ConnectionResetError):  # some hear it that early
                flood.append(connect(port))
        self.assertEqual(self.py("one", """
import time
deaf.setblocking(False); end = time.monotonic() + 2
while time.monotonic() < end:
    try: taken.append(deaf.accept()[0])
    except BlockingIOError: time.sleep(0.01)
print(len(taken))"""), "64\n")
        log = self.home.run("logs", "one").stdout
        self.assertEqual(log.count("all 64 connections are in use"), 1, log)
        # One on which nothing moves makes room for who comes later, or one client would have all places for ever.
        until(lambda: self.one_more(port) == "1\n", "a connection that idles makes room", 40)
        # What the server does not read waits where it comes from.
        piece = b"x" * 65536
        sender = flood[50]
        sender.settimeout(1)
        sent = 0
        with self.assertRaises((socket.timeout, ConnectionError)):
            while sent < 64 << 20:
                sent += sender.send(piece)
        self.assertLess(sent, 32 << 20)
        # What was refused left nothing behind, and the places come back, in whatever state they were left.
        for each in flood:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            each.close()
        self.py("one", "[each.close() for each in taken]; deaf.close()\n" + ANSWER + "serve('one', 3000)")
        until(lambda: ask(port) == "one hello\nbye\n", "a place is free")
        for _ in range(200):
            self.assertEqual(ask(port), "one hello\nbye\n")

    def test_bytes_come_through_as_they_are_both_ways(self):
        port = free_port()
        self.serve(one=[f"{port}:3000"])
        self.py("one", """
import socket, threading
l = socket.socket(); l.bind(("127.0.0.1", 3000)); l.listen()
def echo(c):
    with c:
        whole = b"".join(iter(lambda: c.recv(65536), b""))
        c.sendall(whole[::-1])
def run():
    while True: threading.Thread(target=echo, args=(l.accept()[0],), daemon=True).start()
threading.Thread(target=run, daemon=True).start()""")
        data = bytes(range(256)) * 20_000
        with connect(port) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.makefile("rb").read(), data[::-1])

    def test_a_port_of_two_servers_is_refused_with_both_names(self):
        self.home.config.write_text(json.dumps({"version": 1, "servers": {
            name: {"command": "true", "box": {"ports": [8080, "8081:8080"]}} for name in ("first", "second")}}))
        checked = self.home.run("check", str(self.home.config))
        self.assertEqual(checked.returncode, 2)
        for port in 8080, 8081:
            self.assertIn(f"servers.second.box.ports: port {port} of this host is the one of server 'first' already",
                          checked.stdout + checked.stderr)

    def run_published(self, port, *options, **more):
        command = [MCPBOX, "run", "--engine", address(), "--network", "none", *options, "--", "python3", "-u", "-c",
                   ANSWER + "serve('run', 3000); print('up', flush=True); import sys; sys.stdin.read()"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.home.env, **more)

    def test_run_publishes_too(self):
        port = free_port()
        for direct in ([], ["--direct"]):
            with self.subTest(direct), self.run_published(port, "--publish", f"{port}:3000", *direct) as run:
                until(lambda: run.poll() is not None or ask(port), "it answers", 60)
                self.assertEqual(ask(port), "run hello\nbye\n")
                taken = self.run_published(port, "--publish", f"{port}:3000")
                _, told = taken.communicate(timeout=60)
                self.assertEqual(taken.returncode, 125)
                self.assertIn(f"port {port} of this machine is taken", told.decode())
                run.communicate(timeout=60)
                with self.assertRaises(ConnectionRefusedError):
                    connect(port)
        with self.run_published(port) as run:
            time.sleep(0.1)
            self.assertIsNone(ask(port), "off by default")
            run.communicate(timeout=60)

    def test_what_cannot_be_published_is_said_at_once(self):
        for what, told in (("8080:0", "expected PORT"), ("x", "expected PORT"), ("70000", "expected PORT"),
                           ("0.0.0.0:80", "expected PORT"), ("8080:3128", "egress proxy"),
                           ("8080:80", "nobody is root")):
            with self.subTest(what):
                ended = self.home.run("run", "--engine", address(), "--publish", what, "--", "true")
                self.assertEqual(ended.returncode, 2, ended.stderr)
                self.assertIn(told, ended.stderr)


if __name__ == "__main__":
    unittest.main()

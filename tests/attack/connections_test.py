"""A process of the user takes all connections of the control socket and holds them: idle, with half a head, with half a
body, or asking and reading nothing. Whoever wants to see or end the daemon gets in. There is one run: no engine is
asked for any of it."""
import contextlib
import json
import resource
import socket
import time
import unittest

from program import Home, until

PLACES = 256
QUESTION = b"GET /v1/servers HTTP/1.1\r\nHost: x\r\n\r\n"
FLOOD = QUESTION * 2000  # as much as a socket holds, in few pieces: a small one has its own share of the buffer


class Connections(unittest.TestCase):
    def setUp(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        self.home = Home()
        self.addCleanup(self.home.close)
        # Answers of 20 KB: a few of them fill what a socket holds.
        self.home.config.write_text("version: 1\nservers:\n" +
                                    "".join(f"  off{i}: {{command: x, enable: false}}\n" for i in range(50)))
        self.daemon = self.home.serve()
        until(self.home.answers, "the daemon answers")
        self.held = contextlib.ExitStack()
        self.addCleanup(self.held.close)

    def hold(self, count, text=b"", more=b""):
        """Connections that send `text` and then as much of `more` as is taken."""
        opened = []
        for _ in range(count):
            one = self.held.enter_context(socket.socket(socket.AF_UNIX))
            one.settimeout(30)
            one.connect(str(self.home.socket))
            one.sendall(text)
            one.setblocking(False)
            opened.append(one)
        sent, full = dict.fromkeys(opened, 0), 0
        while more and full < len(opened):
            full = 0
            for one in opened:
                try:
                    sent[one] = (sent[one] + one.send(more[sent[one]:])) % len(more)
                except BlockingIOError:
                    full += 1
            time.sleep(0.05)
        return opened

    def they_get_in(self):
        for verb in (["ps", "--format", "json"], ["stop", "off1"], ["ps", "--format", "json"]):
            ended = self.home.run(*verb, timeout=15)
            self.assertEqual(ended.returncode, 0, ended.stderr)
        ended = self.home.run("down", timeout=30)
        self.assertIn("the daemon ended", ended.stdout, ended.stderr)
        self.assertEqual(self.daemon.wait(30), 0)

    def test_idle_ones(self):
        self.hold(PLACES + 20)
        self.they_get_in()

    def test_half_a_head(self):
        self.hold(PLACES + 20, b"GET /v1/servers HTTP/1.1\r\nHost: ")
        self.they_get_in()

    def test_half_a_body(self):
        self.hold(PLACES + 20, b"POST /v1/servers/off1/pull HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                               b"Content-Length: 1000\r\n\r\n{")
        self.they_get_in()

    def test_answers_that_nobody_reads(self):
        self.hold(PLACES, QUESTION, FLOOD)
        self.they_get_in()

    def test_with_the_reserve_taken_too(self):
        self.hold(PLACES, QUESTION, FLOOD)
        self.hold(12, b"GET /v1/ser")
        self.they_get_in()

    def test_idle_ones_of_a_daemon_that_may_have_few_files(self):
        self.daemon.terminate()
        self.daemon.wait(30)
        few = (200, 200)
        self.daemon = self.home.serve(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few))
        until(self.home.answers, "the daemon answers")
        self.hold(200)
        self.they_get_in()

    def test_who_has_time_is_told_to_come_again(self):
        self.hold(PLACES, QUESTION, FLOOD)
        with socket.socket(socket.AF_UNIX) as asker:
            asker.settimeout(30)
            asker.connect(str(self.home.socket))
            asker.sendall(b"GET /v1/wait HTTP/1.1\r\nHost: x\r\n\r\n")
            with asker.makefile("rb") as answer:
                head, body = answer.read().split(b"\r\n\r\n", 1)
        self.assertRegex(head, b"^HTTP/1.1 503 ")
        self.assertIn("all connections to the daemon are in use", json.loads(body)["error"]["message"])


if __name__ == "__main__":
    unittest.main()

"""What the MCP client of a `mcpbox run` hears that cannot start its server: it reads no stderr, and the end of stdout
alone is a closed connection to it."""
import json
import os
import pty
import subprocess
import time
import unittest

from program import MCPBOX, EmptyEngine, Home, until

INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
              "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}
DISCOVER = {"jsonrpc": "2.0", "id": "probe-1", "method": "server/discover", "params": {}}


def lines(*messages):
    return "".join(json.dumps(message) + "\n" for message in messages)


class Unserved(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def start(self, *args, **options):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
                   "env": self.home.env, **options}
        begun = subprocess.Popen([MCPBOX, "run", *args], **options)
        self.addCleanup(begun.kill)
        return begun

    def hears(self, code, *args, says=(INITIALIZE,), **options):
        """The answers to a client that leaves its side open until it has them."""
        begun = self.start(*args, **options)
        begun.stdin.write(lines(*says))
        begun.stdin.flush()
        out = begun.stdout.read()
        err = begun.stderr.read()
        self.assertEqual(begun.wait(30), code, err)
        begun.stdin.close()
        return [json.loads(line) for line in out.splitlines()], err

    def test_every_way_not_to_start_is_told_the_client(self):
        out = self.home.root / "out"
        out.mkdir()
        for code, phase, words, args in (
                (2, None, "there is no option '--memry'", ["--memry", "3", "--", "cat"]),
                (2, None, "--memory: expected", ["--memory", "lots", "--", "cat"]),
                (2, None, "--env 1BAD", ["--env", "1BAD=x", "--", "cat"]),
                (2, None, "--rootfs nope", ["--rootfs", "nope", "--", "cat"]),
                (4, None, "no container engine answers", ["--engine", "unix:///nowhere.sock", "--", "cat"]),
                (125, None, "needs for itself",
                 ["--engine", "native", "--mount", str(self.home.root / "state"), "--", "cat"]),
                (127, "process_start", "no-such-program", ["--engine", "native", "--", "no-such-program"])):
            with self.subTest(args=args):
                answers, err = self.hears(code, *args)
                self.assertEqual(len(answers), 1, answers)
                self.assertEqual((answers[0]["jsonrpc"], answers[0]["id"]), ("2.0", 1))
                error = answers[0]["error"]
                self.assertEqual(error["code"], -32000)
                self.assertIn(words, error["message"])
                self.assertTrue(error["message"].startswith("mcpbox"), error)
                self.assertEqual(error["data"], {"exit_code": code, **({"phase": phase} if phase else {})})
                # The same sentence as on stderr.
                first = error["message"].removeprefix("mcpbox: ").split(" | ")[0]
                self.assertIn(first[:60], err)

    def test_a_client_that_tries_the_newer_revision_first_hears_it_for_both(self):
        answers, _ = self.hears(4, "--engine", "unix:///nowhere.sock", "--", "cat", says=(DISCOVER, INITIALIZE))
        self.assertEqual([answer["id"] for answer in answers], ["probe-1", 1])
        self.assertEqual(answers[0]["error"], answers[1]["error"])

    def test_secrets_stay_out(self):
        answers, err = self.hears(127, "--engine", "native", "--env", "API_KEY=hunter2-hunter2", "--",
                                  "no-such-hunter2-hunter2")
        self.assertNotIn("hunter2", json.dumps(answers))
        self.assertIn("***", answers[0]["error"]["message"])
        self.assertNotIn("hunter2", err)

    def test_what_is_no_request_is_not_answered(self):
        for text in ("hello\n", '{"jsonrpc": "2.0", "method": "notifications/initialized"}\n', '{"id": 1}\n', "\n\n"):
            with self.subTest(text=text):
                ended = self.home.run("run", "--engine", "unix:///nowhere.sock", "--", "cat", input=text, stdin=None)
                self.assertEqual((ended.returncode, ended.stdout), (4, ""))

    def test_with_direct_our_output_is_the_servers(self):
        for args in (["--engine", "unix:///nowhere.sock", "--direct", "--", "cat"],
                     ["--direct", "--memry", "--", "cat"]):
            with self.subTest(args=args):
                ended = self.home.run("run", *args, input=lines(INITIALIZE), stdin=None)
                self.assertEqual(ended.stdout, "")

    def test_nobody_waits_for_a_client_that_says_nothing(self):
        began = time.monotonic()
        begun = self.start("--engine", "unix:///nowhere.sock", "--", "cat")
        self.assertEqual(begun.wait(60), 4)
        begun.stdin.close()
        self.assertEqual(begun.stdout.read(), "")
        self.assertLess(time.monotonic() - began, 55)

    def test_a_terminal_is_not_waited_for(self):
        controller, terminal = pty.openpty()
        try:
            begun = self.start("--engine", "unix:///nowhere.sock", "--", "cat", stdin=terminal)
            self.assertEqual(begun.wait(60), 4)
            self.assertEqual(begun.stdout.read(), "")
        finally:
            os.close(controller)
            os.close(terminal)

    def test_a_run_that_a_signal_stops_answers_nothing(self):
        with EmptyEngine(self.home.root / "engine", silent=True) as engine:
            begun = self.start("--engine", engine.address, "--", "cat")
            begun.stdin.write(lines(INITIALIZE))
            begun.stdin.flush()
            until(lambda: engine.asked, "the engine was asked")
            begun.terminate()
            out, err = begun.communicate(timeout=30)
            self.assertEqual((begun.returncode, out), (143, ""), err)


if __name__ == "__main__":
    unittest.main()

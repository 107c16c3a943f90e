"""Every verb with its standard descriptors closed, full, or read by nobody: a documented exit code, never a signal, and
no result that silently did not arrive (docs/cli.md, "Exit codes")."""
import os
import pathlib
import subprocess
import time
import unittest

from program import MCPBOX, Home, until

POND = pathlib.Path(__file__).resolve().parents[2] / "e2e" / "servers"
MESSAGE = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
SAYS_ONE = ["run", "--engine", "native", "--", "sh", "-c", f"echo '{MESSAGE}'; cat"]

VERBS = [
    ["--help"], ["--version"], ["version"], [], ["no-such-verb"],
    *([verb, "--help"] for verb in ("run", "serve", "ps", "call", "doctor", "env", "egress", "image")),
    ["check", "{config}"], ["check", "{config}", "--format", "json"], ["check", "{broken}"],
    ["explain", "-c", "{config}", "pond"], ["explain", "-c", "{config}", "pond", "--format", "json"],
    ["explain", "--", "python3", "x.py"], ["doctor", "--engine", "native"],
    ["ps"], ["ps", "--phases"], ["ps", "--format", "json"], ["tools"], ["tools", "pond", "--format", "json"],
    ["call", "pond", "echo", "message=hello"], ["call", "pond", "echo", "message=hello", "--format", "json"],
    ["call", "nobody", "echo"], ["call", "pond", "nothing"], ["logs", "pond"], ["logs", "pond", "--format", "json"],
    ["logs", "pond", "--install"], ["pull", "pond"], ["env", "list", "--engine", "native"],
    ["env", "list", "--engine", "native", "--format", "json"], ["env", "prune", "--engine", "native"],
    ["egress", "tail"], ["egress", "suggest"], ["stop", "other"], ["restart", "other"],
    ["down", "--socket", "{nowhere}", "--engine", "unix:///nowhere"],
]


def no_reader():
    """A pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")


class Output(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = home = Home()
        cls.addClassCleanup(home.close)
        home.config.write_text(
            "version: 1\nservers:\n" +
            "".join(f"  {name}: {{command: python3, args: [pond.py], box: {{host_path: {POND}}}}}\n"
                    for name in ("pond", "other")) +
            f"workspace: {{allowed_roots: [{POND}]}}\n")
        (home.root / "broken.yaml").write_text("version: 1\nservers: 7\n")
        (home.root / "state" / "egress").mkdir(mode=0o700)
        (home.root / "state" / "egress" / "egress.log").write_text("")
        home.serve(stderr=subprocess.DEVNULL)
        until(lambda: home.run("ps", "--wait", "60").returncode == 0, "the servers are connected", 60)
        cls.names = {"config": str(home.config), "broken": str(home.root / "broken.yaml"),
                     "nowhere": str(home.root / "nowhere.sock")}

    def args(self, verb):
        return [word.format(**self.names) if word.startswith("{") and word.endswith("}") else word for word in verb]

    def closed(self, redirections, args, **options):
        """The program with descriptors closed as a shell does it."""
        return subprocess.run(["sh", "-c", f'exec "$@" {redirections}', "sh", MCPBOX, *args], env=self.home.env,
                              timeout=60,
                              **{"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options})

    def each(self):
        for verb in VERBS:
            args = self.args(verb)
            with self.subTest(verb=" ".join(verb)):
                yield args, self.home.run(*args)

    def lost(self, usual, ended, why):
        """What a verb does whose results cannot be written."""
        if not usual.stdout:
            self.assertEqual(ended.returncode, usual.returncode, ended.stderr)
            return
        self.assertEqual(ended.returncode, usual.returncode or 1, ended.stderr)
        self.assertIn(f"mcpbox: stdout: {why}; the output did not arrive entire", ended.stderr)

    def test_stdin_closed(self):
        for args, usual in self.each():
            self.assertEqual(self.closed("<&-", args).returncode, usual.returncode)

    def test_stdout_closed(self):
        for args, usual in self.each():
            self.lost(usual, self.closed(">&-", args), "Bad file descriptor")

    def test_stderr_closed(self):
        for args, usual in self.each():
            self.assertEqual(self.closed("2>&-", args).returncode, usual.returncode)

    def test_all_closed(self):
        for args, usual in self.each():
            self.assertEqual(self.closed("<&- >&- 2>&-", args).returncode, usual.returncode
                             or (1 if usual.stdout else 0))

    def test_stdout_full(self):
        for args, usual in self.each():
            with open("/dev/full", "wb") as full:
                ended = self.home.run(*args, capture_output=False, stdout=full, stderr=subprocess.PIPE)
            self.lost(usual, ended, "No space left on device")

    def test_stderr_full(self):
        for args, usual in self.each():
            with open("/dev/full", "wb") as full:
                ended = self.home.run(*args, capture_output=False, stdout=subprocess.PIPE, stderr=full)
            self.assertEqual(ended.returncode, usual.returncode)
            self.assertEqual(bool(ended.stdout), bool(usual.stdout))

    def test_stdout_without_a_reader(self):
        for args, usual in self.each():
            with no_reader() as pipe:
                ended = self.home.run(*args, capture_output=False, stdout=pipe, stderr=subprocess.PIPE)
            self.lost(usual, ended, "Broken pipe")

    def test_stderr_without_a_reader(self):
        for args, usual in self.each():
            with no_reader() as pipe:
                ended = self.home.run(*args, capture_output=False, stdout=subprocess.PIPE, stderr=pipe)
            self.assertEqual(ended.returncode, usual.returncode)

    def test_a_file_that_may_not_grow(self):
        with open(self.home.root / "limited", "wb") as limited:
            ended = subprocess.run(["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", MCPBOX, "run", "--help"],
                                   stdout=limited,
                                   stderr=subprocess.PIPE, text=True, env=self.home.env, timeout=60)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn("File too large", ended.stderr)

    def test_following_verbs_end_when_nobody_reads(self):
        for args in (["logs", "pond", "-f"], ["egress", "tail", "-f"]):
            with self.subTest(verb=" ".join(args)), no_reader() as pipe:
                self.home.run("call", "pond", "echo", "message=x")
                ended = self.home.run(*args, capture_output=False, stdout=pipe, stderr=subprocess.PIPE)
                self.assertIn(ended.returncode, (0, 1), ended.stderr)

    def test_a_non_blocking_stdout_gets_everything(self):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        running = subprocess.Popen([MCPBOX, "call", "pond", "echo", "message=" + "x" * 100_000], stdout=writer,
                                   env=self.home.env)
        os.close(writer)
        time.sleep(0.5)  # the pipe holds 64 KiB
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        self.assertEqual(running.wait(30), 0)
        self.assertEqual(len(said), 100_001)

    def test_run(self):
        usual = self.home.run(*SAYS_ONE)
        self.assertEqual((usual.returncode, usual.stdout.strip()), (0, MESSAGE), usual.stderr)
        for redirection in ("<&-", "2>&-", "<&- 2>&-", "2>/dev/full"):
            with self.subTest(redirection=redirection):
                ended = self.closed(redirection, SAYS_ONE)
                self.assertEqual((ended.returncode, ended.stdout), (0, usual.stdout), ended.stderr)
        with self.subTest(redirection=">&-"):
            ended = self.closed(">&-", SAYS_ONE)
            self.assertEqual(ended.returncode, 125)
            self.assertIn("stdout is closed", ended.stderr)
        with self.subTest(redirection=">/dev/full"):
            ended = self.closed(">/dev/full", SAYS_ONE)
            self.assertEqual(ended.returncode, 125)
            self.assertIn("stdout: No space left on device", ended.stderr)
        # A client that goes away is how most sessions end: the server's own code.
        with self.subTest(redirection="no reader"), no_reader() as pipe:
            ended = self.home.run(*SAYS_ONE, capture_output=False, stdout=pipe, stderr=subprocess.PIPE)
            self.assertIn(ended.returncode, (0, 143), ended.stderr)
        # Its own messages: a hint, an error, every step.
        for args, code in ((["run", "--engine", "native", "-v", "--", "no-such-program"], 127),
                           (["run", "--engine", "native", "-v", "--", "true"], 0)):
            for redirection in ("2>&-", "2>/dev/full"):
                with self.subTest(args=args, redirection=redirection):
                    self.assertEqual(self.closed(redirection, args).returncode, code)

    def test_run_direct_hands_over_nothing_of_ours(self):
        report = "for fd in 0 1 2; do readlink /proc/self/fd/$fd; done; ls /proc/self/fd | wc -l"
        args = ["run", "--engine", "native", "--direct", "--", "sh", "-c", report]
        for redirection, closed in (("<&-", 0), ("2>&-", 2), ("<&- 2>&-", 2)):
            with self.subTest(redirection=redirection):
                ended = self.closed(redirection, args)
                self.assertEqual(ended.returncode, 0, ended.stderr)
                self.assertEqual(ended.stdout.splitlines()[closed], "/dev/null")

    def test_the_daemon_runs_without_standard_descriptors(self):
        home = Home()
        self.addCleanup(home.close)
        for redirections in ("<&- >&- 2>&-", ">/dev/full 2>/dev/full"):
            with self.subTest(redirections=redirections):
                daemon = subprocess.Popen(["sh", "-c", f'exec "$@" {redirections}', "sh", MCPBOX, "serve", "-v",
                                           "--engine", "native",
                                           "-c", str(home.config)], env=home.env)
                home.started.append(daemon)
                until(home.answers, "the daemon answers")
                for pid in [daemon.pid,
                            *map(int,
                                 pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split())]:
                    for fd in range(3):
                        self.assertIn(os.readlink(f"/proc/{pid}/fd/{fd}"), ("/dev/null", "/dev/full"), f"{pid} {fd}")
                daemon.terminate()
                self.assertEqual(daemon.wait(30), 0)


if __name__ == "__main__":
    unittest.main()

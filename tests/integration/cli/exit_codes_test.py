"""Every verb ends alike for one kind of failure: the table of docs/cli.md, "Exit codes"."""
import subprocess
import unittest

from program import Home, until

# What a verb needs to be complete, with SERVER for a name.
DAEMON_VERBS = ("ps", "tools SERVER", "call SERVER tool", "logs SERVER", "restart SERVER", "stop SERVER", "pull SERVER")
ENV_VERBS = ("env list", "env prune", "env refresh SERVER")
OTHERS = ("run -- cat", "serve", "down", "check", "explain SERVER", "doctor", "doctor --attack", "image build",
          "image list", "image pull debian:12", "egress tail", "egress suggest", "version")

FAILED, USAGE, NO_DAEMON, NO_ENGINE = 1, 2, 3, 4
# Engine address: nobody answers there; it is no address at all. A doctor finds things missing: that is 1.
ENGINE_VERBS = {"run -- cat": (NO_ENGINE, USAGE), "serve -c CONFIG": (NO_ENGINE, USAGE), "down": (NO_ENGINE, USAGE),
                "env list": (NO_ENGINE, USAGE), "env prune": (NO_ENGINE, USAGE), "image build": (NO_ENGINE, USAGE),
                "image list": (NO_ENGINE, USAGE), "image pull debian:12": (NO_ENGINE, USAGE),
                "doctor --attack": (NO_ENGINE, USAGE), "doctor": (FAILED, FAILED)}


class ExitCodes(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def ends(self, code, line, *more, **options):
        words = line.replace("CONFIG", str(self.home.config)).split()
        # Our options stand before what is the server's.
        at = words.index("--") if "--" in words else len(words)
        ended = self.home.run(*words[:at], *more, *words[at:], **options)
        self.assertEqual(ended.returncode, code, f"{line} {more}: {ended.stdout}{ended.stderr}")
        return ended

    def test_no_engine_is_four_and_an_address_that_is_none_is_two(self):
        for line, (none, wrong) in ENGINE_VERBS.items():
            for address, code in (("unix:///nowhere.sock", none), ("docker", wrong), ("unix://nowhere", wrong)):
                with self.subTest(verb=line, engine=address):
                    said = self.ends(code, line, "--engine", address)
                    self.assertTrue(said.stderr or line == "doctor", said)

    def test_no_daemon_is_three(self):
        for line in DAEMON_VERBS:
            with self.subTest(verb=line):
                self.assertIn("no mcpbox daemon answers", self.ends(NO_DAEMON, line).stderr)
        self.ends(0, "down", "--engine", "native")

    def test_a_server_that_nobody_knows_is_one_and_the_nearest_is_named(self):
        self.home.config.write_text("version: 1\nservers: {files: {command: cat, enable: false}}\n")
        self.home.serve(stderr=subprocess.DEVNULL)
        until(lambda: "files" in self.home.run("tools", "nosuch").stderr, "the daemon has its engine")
        for line in DAEMON_VERBS[1:]:
            with self.subTest(verb=line):
                said = self.ends(FAILED, line.replace("SERVER", "filez"))
                self.assertIn("no server is named 'filez' (did you mean 'files'?); there are: files", said.stderr)
                self.assertNotIn("did you mean", self.ends(FAILED, line.replace("SERVER", "browser")).stderr)
        for line in ("env refresh filez", "logs --install filez"):
            with self.subTest(verb=line):
                self.ends(FAILED, line)
        self.assertIn("no server 'filez' (did you mean 'files'?)",
                      self.ends(USAGE, "explain -c CONFIG filez").stderr)

    def test_a_wrong_command_line_is_two(self):
        for line in (*DAEMON_VERBS, *ENV_VERBS, *OTHERS):
            with self.subTest(verb=line):
                self.assertIn("there is no option '--bogus'", self.ends(USAGE, line, "--bogus").stderr)
        for line in ("tools a b", "call one", "logs", "restart", "stop", "pull", "explain", "image", "image pull",
                     "env", "env refresh", "egress", "run", "check a b", "version x", ""):
            with self.subTest(line=line):
                self.assertEqual(self.ends(USAGE, line).stdout, "")

    def test_a_wrong_configuration_is_two(self):
        self.home.config.write_text("version: 1\ndaemon: {sock: x}\n")
        for line in (*DAEMON_VERBS, *ENV_VERBS, "serve", "down", "explain SERVER", "egress tail", "egress suggest"):
            with self.subTest(verb=line):
                self.assertIn("unknown key 'sock'", self.ends(USAGE, line, "-c", str(self.home.config)).stderr)
        self.assertIn("unknown key 'sock'", self.ends(USAGE, "check CONFIG").stderr)

    def test_words_that_are_nearly_a_verb_are_understood(self):
        for word, meant in (("strat", "`mcpbox restart SERVER`, or `mcpbox serve` for the daemon"), ("rnu", "'run'"),
                            ("start", "`mcpbox restart SERVER`, or `mcpbox serve` for the daemon"),
                            ("lgos", "'logs'"), ("explan", "'explain'"), ("list", "`mcpbox ps`")):
            with self.subTest(word=word):
                self.assertEqual(self.ends(USAGE, word).stderr, f"mcpbox: there is no verb '{word}' (did you mean "
                                                                f"{meant}?); `mcpbox --help` lists them\n")
        self.assertEqual(self.ends(USAGE, "env lits").stderr, "mcpbox: there is no verb 'lits' (did you mean 'list'?); "
                                                              "`mcpbox env --help` lists them\n")
        # The proxy's own verb is nobody's to type.
        self.assertNotIn("did you mean", self.ends(USAGE, "egress serv").stderr)


if __name__ == "__main__":
    unittest.main()

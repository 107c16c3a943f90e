"""What `explain` and `check` say of limits, sandboxes and variables of a server, and of rules that open nothing."""
import json
import unittest

from program import Home, until


class Explained(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def ends(self, code, *args, **options):
        ended = self.home.run(*args, **options)
        self.assertEqual(ended.returncode, code, f"{args}: {ended.stdout}{ended.stderr}")
        return ended

    def both(self, *args):
        """The lines that people get, by their first word, and the document that programs get."""
        text = self.ends(0, "explain", *args).stdout
        document = json.loads(self.ends(0, "explain", "--format", "json", *args).stdout)
        return {line[:9].strip(): line[10:] for line in text.splitlines()}, document, text

    def configure(self, servers, box="{}"):
        self.home.config.write_text(f"version: 1\nworkspace: {{allowed_roots: [{self.home.root}]}}\nbox: {box}\n"
                                    "servers:\n" + "".join(f"  {line}\n" for line in servers))
        return "-c", str(self.home.config)

    def test_a_run_has_its_limits_and_a_sandbox_to_itself(self):
        lines, document, _ = self.both("--", "cat")
        self.assertEqual(lines["limits"], "1,536 MiB of memory, 512 processes and threads, 2 processors, "
                                          "4,096 MiB of disk, 200,000 files")
        self.assertTrue(lines["isolation"].startswith("dedicated, a sandbox to itself: every run has"), lines)
        self.assertEqual(document["limits"], {"memory_mb": 1536, "pids_limit": 512, "cpus": 2, "disk_mb": 4096,
                                              "max_files": 200000})
        self.assertEqual(document["isolation"]["mode"], "dedicated")
        lines, document, _ = self.both("--memory", "2g", "--cpus", "1", "--pids", "64", "--disk", "512m", "--max-files",
                                       "1000", "--", "cat")
        self.assertEqual(lines["limits"], "2,048 MiB of memory, 64 processes and threads, 1 processor, "
                                          "512 MiB of disk, 1,000 files")
        self.assertEqual(document["limits"], {"memory_mb": 2048, "pids_limit": 64, "cpus": 1, "disk_mb": 512,
                                              "max_files": 1000})

    def test_a_server_that_shares_a_sandbox_says_with_whom_and_what_is_its_part(self):
        folder = self.home.root / "data"
        folder.mkdir()
        place = self.configure(["one: {command: cat}", "two: {command: cat, box: {memory_mb: 256, cpus: 0.5}}",
                                "off: {command: cat, enable: false}",
                                "own: {command: cat, box: {isolation: dedicated}}",
                                f"mounted: {{command: cat, box: {{mounts: [{folder}]}}}}"],
                               "{limits: {memory_mb: 1024, pids_limit: 100, disk_mb: 100}}")
        lines, document, _ = self.both(*place, "one")
        self.assertEqual(lines["limits"], "768 MiB of memory, 75 processes and threads, 2 processors together with the "
                                          "others in its sandbox, 100 MiB of disk, 200,000 files")
        self.assertTrue(lines["isolation"].startswith("shared, in namespaces of its own, with two;"), lines)
        self.assertEqual((document["isolation"]["mode"], document["isolation"]["with"]), ("shared", ["two"]))
        self.assertEqual(document["limits"]["memory_mb"], 768)
        lines, document, _ = self.both(*place, "two")
        self.assertTrue(lines["limits"].startswith("256 MiB of memory, 75 processes and threads, 0.5 processors, "))
        self.assertEqual(document["isolation"]["with"], ["one"])
        lines, document, _ = self.both(*place, "own")
        self.assertEqual(lines["isolation"], "dedicated, a sandbox to itself: the configuration says so")
        self.assertTrue(lines["limits"].startswith("1,024 MiB of memory, 100 processes and threads, 2 processors, "))
        lines, document, _ = self.both(*place, "mounted")
        self.assertEqual(lines["isolation"], "dedicated, a sandbox to itself: folders of this host are mounted in it")
        self.assertEqual(document["isolation"]["with"], [])

    def test_variables_are_named_and_their_values_are_not(self):
        env = {**self.home.env, "PIP_INDEX_URL": "https://user:index-pass@index.example.com/simple"}
        self.home.env = env
        lines, document, text = self.both("--env", "API_KEY=one-value", "--env", "MODE=seen", "--", "uvx", "x")
        self.assertTrue(lines["variables"].startswith("API_KEY, MODE"), lines)
        self.assertIn("PIP_INDEX_URL", text)
        self.assertIn("while its dependencies are installed", text)
        for value in ("one-value", "seen", "index-pass"):
            self.assertNotIn(value, text)
        self.assertLessEqual({"API_KEY", "MODE"}, set(document["variables"]["server"]))
        self.assertIn("PIP_INDEX_URL", document["variables"]["install"])
        self.assertNotIn("HTTPS_PROXY", document["variables"]["install"])
        lines, document, _ = self.both("--", "cat")
        self.assertTrue(lines["variables"].startswith("none but what every server has"), lines)
        self.assertEqual(document["variables"], {"server": [], "install": []})
        place = self.configure(["one: {command: cat, env: {TOKEN: abcdef}, box: {env: {REGION: north}}}"])
        lines, document, text = self.both(*place, "one")
        self.assertTrue(lines["variables"].startswith("REGION, TOKEN"), lines)
        self.assertNotIn("north", text)
        self.assertEqual(document["variables"]["server"], ["REGION", "TOKEN"])
        place = self.configure(["one: {command: uvx, args: [x], env: {TOKEN: abcdef}, box: {env: {REGION: north}}}"],
                               "{install_env: {UV_INDEX_URL: 'https://index.example.com/simple'}}")
        _, document, _ = self.both(*place, "one")
        self.assertIn("UV_INDEX_URL", document["variables"]["install"])
        self.assertFalse({"REGION", "TOKEN"} & set(document["variables"]["install"]), document)

    def test_a_number_that_is_a_secret_too_leaves_json_whole(self):
        _, document, _ = self.both("--env", "PIN=512", "--env", "OTP=2", "--env", "CODE=200000", "--", "cat")
        self.assertEqual((document["limits"]["pids_limit"], document["limits"]["cpus"]), (512, 2))

    def test_a_rule_that_opens_nothing_is_told_at_once(self):
        for rule, words in (("10.0.0.1", "--allow-private 10.0.0.1"), ("localhost:8080", "hosts: {NAME: 127.0.0.1}"),
                            ("169.254.169.254", "never allowed")):
            with self.subTest(rule=rule):
                said = self.ends(0, "explain", "--allow", rule, "--", "cat").stdout
                self.assertIn(f"hint      --allow {rule} lets nothing through: ", said)
                self.assertIn(words, said)
                ran = self.ends(0, "run", "--engine", "native", "--allow", rule, "--", "true")
                self.assertIn(f"hint: --allow {rule} lets nothing through: ", ran.stderr)
                rules = f'[a.example.com, "{rule}"]'
                place = self.configure([f"one: {{command: cat, box: {{network: {{allow: {rules}}}}}}}"])
                found = self.ends(0, "check", place[1])
                self.assertRegex(found.stderr, rf"mcpbox\.yaml:5:\d+: warning: servers\.one\.box\.network\.allow: "
                                               rf"'{rule}' lets nothing through: .*")
                self.assertIn("ok, 1 server", found.stdout)
                listed = json.loads(self.ends(0, "check", place[1], "--format", "json").stdout)
                self.assertEqual((listed["ok"], listed["problems"], len(listed["warnings"])), (True, [], 1))
                self.assertIn("lets nothing through", self.ends(0, "explain", *place, "one").stdout)

    def test_a_rule_that_opens_nothing_stands_in_the_log_of_the_daemon(self):
        self.configure(["one: {command: cat, enable: false, box: {network: {allow: [10.0.0.1]}}}"])
        with (self.home.root / "log").open("w") as log:
            daemon = self.home.serve(stderr=log)
        until(self.home.answers, "the daemon answers")
        daemon.terminate()
        self.assertEqual(daemon.wait(60), 0)
        self.assertIn("servers.one.box.network.allow: '10.0.0.1' lets nothing through: 10.0.0.1 is a private address",
                      (self.home.root / "log").read_text())

    def test_a_rule_that_a_range_opens_is_not_warned_of(self):
        said = self.ends(0, "explain", "--allow", "10.0.0.1", "--allow-private", "10.0.0.0/8", "--", "cat")
        self.assertNotIn("lets nothing through", said.stdout)
        self.home.config.write_text("version: 1\negress: {allow_private: [10.0.0.1], hosts: {db.lan: 10.0.0.1}}\n"
                                    "servers: {one: {command: cat, box: {network: {allow: [10.0.0.1, db.lan]}}}}\n")
        self.assertEqual(self.ends(0, "check", str(self.home.config)).stderr, "")
        self.home.config.write_text(self.home.config.read_text().replace("10.0.0.1]", "10.0.0.2]", 1))
        found = self.ends(0, "check", str(self.home.config)).stderr
        self.assertIn("'db.lan' lets nothing through: db.lan is 10.0.0.1, a private address", found)

    def test_numbers_are_asked_for_in_their_own_words(self):
        for args, words in ((["--memory", "lots"], "--memory: expected a whole number of MiB from 16 to 16777216, or "
                                                   "with a unit, as in 512m or 2g, not 'lots'"),
                            (["--memory", "15"], "from 16 to 16777216"), (["--disk", "1k"], "512m or 2g"),
                            (["--pids", "64m"], "--pids: expected a whole number of processes and threads from 8 to"),
                            (["--max-files", "many"], "--max-files: expected a whole number of files from 100 to"),
                            (["--cpus", "two"], "--cpus: expected a number of processors from 0.01 to 1024, not 'two'"),
                            (["--timeout", "soon"], "--timeout: expected a whole number of seconds from 1 to 86400")):
            with self.subTest(args=args):
                self.assertIn(words, self.ends(2, "explain", *args, "--", "cat").stderr)
        self.ends(0, "explain", "--memory", "512m", "--timeout", "5m", "--", "cat")
        self.assertIn("--wait: expected a whole number of seconds", self.ends(2, "ps", "--wait", "long").stderr)
        self.assertIn("expected a whole number of lines", self.ends(2, "egress", "tail", "-n", "all").stderr)
        for key, text, words in (("memory_mb", "512m", "not '512m'; it counts MiB: write 512"),
                                 ("disk_mb", "2g", "not '2g'; it counts MiB: write 2048"),
                                 ("startup_timeout_sec", "5m", "not '5m'; it counts seconds: write 300"),
                                 ("max_files", "5m", "not '5m'\n")):
            with self.subTest(key=key):
                place = self.configure([f"one: {{command: cat, box: {{{key}: {text}}}}}"])
                self.assertIn(words, self.ends(2, "check", place[1]).stderr)


if __name__ == "__main__":
    unittest.main()

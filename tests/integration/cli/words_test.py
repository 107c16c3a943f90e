"""What the verbs say about wrong command lines and configurations and about servers that do not run: the words,
the exit code, and that check, explain and run agree."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import unittest

from program import MCPBOX, EmptyEngine, Home, until


class Words(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def file(self, name, text):
        path = self.home.root / name
        path.write_text(text)
        return str(path)

    def ends(self, code, *args, **options):
        ended = self.home.run(*args, **options)
        self.assertEqual(ended.returncode, code, f"{args}: {ended.stdout}{ended.stderr}")
        return ended

    def test_check_finds_what_explain_refuses(self):
        (self.home.root / "in").mkdir()
        (self.home.root / "out").mkdir()
        home = self.home.root / "home"
        home.mkdir()
        for server in ("command: npx, args: [x, {out}]", "command: node, args: [a.js], cwd: {out}",
                       "command: x, box: {{mounts: [{out}]}}",
                       "command: x, box: {{host_path: {home}}}", "command: x, box: {{host_path: /}}",
                       "command: x, box: {{host_path: /etc}}",
                       "command: x, box: {{mounts: [/root]}}", "command: docker, args: [run, x]"):
            text = server.format(out=self.home.root / "out", home=home)
            more = f", {home}, /etc, /" if "host_path" in text or "/root" in text else ""
            roots = f"[{self.home.root / 'in'}{more}]"
            file = self.file("a.yaml",
                             f"version: 1\nworkspace: {{allowed_roots: {roots}}}\nservers:\n  one: {{{text}}}\n")
            with self.subTest(server=text):
                env = {**self.home.env, "HOME": str(home)}
                self.ends(1, "explain", "-c", file, "one", env=env)
                found = self.ends(2, "check", file, env=env)
                self.assertRegex(found.stderr, r"a\.yaml:4:\d+: servers\.one: ")
                listed = json.loads(self.ends(2, "check", file, "--format", "json", env=env).stdout)
                self.assertFalse(listed["ok"])
                self.assertIn(4, [problem["line"] for problem in listed["problems"]])

    def test_an_engine_that_is_none_is_told_where_it_stands(self):
        network = "an engine that is reached over the network cannot run servers; write unix:///PATH, native or auto"
        for address, what in (("bogus", "expected auto, native or unix:///PATH"), ("tcp://localhost:1", network)):
            file = self.file("b.yaml", f"version: 1\nengine: {address}\nservers: {{a: {{command: cat}}}}\n")
            for verb in ("check", "serve -c", "explain a -c", "down -c", "env list -c"):
                with self.subTest(address=address, verb=verb):
                    told = self.ends(2, *verb.split(), file).stderr
                    self.assertIn(f"b.yaml:2:9: engine: {what}, not '{address}'", told)

    def test_a_run_is_shown_nothing_that_mcpbox_needs_for_itself(self):
        for own in (self.home.root / "state", self.home.root / "run"):
            own.mkdir(mode=0o700, exist_ok=True)
            (own / "inner").mkdir(exist_ok=True)
            for option in ("--mount", "--stage"):
                for folder in (own, own / "inner"):
                    with self.subTest(option=option, folder=folder.name):
                        args = (option, str(folder), "--", "true")
                        self.assertIn("needs for itself", self.ends(125, "run", "--engine", "native", *args).stderr)
                        self.assertIn("needs for itself", self.ends(1, "explain", "--engine", "native", *args).stdout)

    def test_check_counts_what_it_does_not_print(self):
        file = self.file("many.yaml", "version: 1\nservers:\n"
                         + "".join(f"  s{i}: {{comand: x, command: y}}\n" for i in range(70)))
        found = self.ends(2, "check", file)
        self.assertEqual(found.stderr.count("unknown key"), 50)
        self.assertIn("and 20 more\n", found.stderr)
        self.assertIn("70 problems in ", found.stderr)

    def test_explain_takes_every_option_of_run(self):
        words = ["--engine", "unix:///x", "--ca-bundle", "none", "--wheelhouse", str(self.home.root), "--npm-cache",
                 str(self.home.root),
                 "--memory", "16", "--cpus", "0.01", "--pids", "8", "--disk", "16", "--max-files", "100", "--timeout",
                 "86400",
                 "--accept-degraded", "landlock", "--direct", "-v", "--install-mode", "offline"]
        explained = self.ends(0, "explain", *words, "--", "uvx", "mcp-server-time")
        self.assertNotIn("sandboxes", explained.stdout)
        self.assertNotRegex(explained.stdout, "[0-9a-f]{32}")
        self.assertIn("/cache/env/HASH/env", explained.stdout)
        plan = json.loads(self.ends(0, "explain", "--format", "json", "--", "uvx", "--python", "3.19",
                                    "mcp-server-time").stdout)
        self.assertEqual(plan["install"]["hash"], "HASH")
        self.assertIn("releases.astral.sh", " ".join(plan["why"]))

    def test_a_trust_store_without_a_certificate_is_refused_everywhere(self):
        file = self.file("ca.yaml", "version: 1\nbox: {ca_bundle: /etc/passwd}\n")
        for args in (["check", file], ["serve", "--engine", "native", "-c", file],
                     ["run", "--engine", "native", "--ca-bundle", "/etc/passwd", "--", "true"],
                     ["explain", "--ca-bundle", "/etc/passwd", "--", "true"],
                     ["image", "build", "--ca-bundle", "/etc/passwd"]):
            with self.subTest(args=args):
                self.assertIn("holds no PEM certificate", self.ends(2, *args).stderr)

    def test_words_that_are_no_verb(self):
        for args, line in ((["gadget"], "mcpbox"), (["gadget", "--help"], "mcpbox"), (["env", "gadget"], "mcpbox env"),
                           (["help", "gadget"], "mcpbox")):
            with self.subTest(args=args):
                self.assertEqual(self.ends(2, *args).stderr,
                                 f"mcpbox: there is no verb 'gadget'; `{line} --help` lists them\n")
        self.assertEqual(self.ends(0, "help").stdout, self.ends(0, "--help").stdout)
        self.assertEqual(self.ends(0, "help", "run").stdout, self.ends(0, "run", "--help").stdout)
        self.assertEqual(self.ends(0, "help", "env", "prune").stdout, self.ends(0, "env", "prune", "--help").stdout)

    def test_a_misspelt_option_is_named(self):
        for args, line in ((["run", "--memry", "3", "--", "npx", "-y", "foo"],
                            "mcpbox run: there is no option '--memry' (did you mean '--memory'?); "
                            "`mcpbox run --help` lists them"),
                           (["run", "--memory", "64", "--verbos", "--", "cat"],
                            "mcpbox run: there is no option '--verbos' (did you mean '--verbose'?); "
                            "`mcpbox run --help` lists them"),
                           (["ps", "-z", "two.yaml"],
                            "mcpbox ps: there is no option '-z'; `mcpbox ps --help` lists them"),
                           (["env", "prune", "--al"],
                            "mcpbox env prune: there is no option '--al' (did you mean '--all'?); "
                            "`mcpbox env prune --help` lists them"),
                           (["explain", "files", "--formt", "json"],
                            "mcpbox explain: there is no option '--formt' (did you mean '--format'?); "
                            "`mcpbox explain --help` lists them; the server's command goes behind --: "
                            "mcpbox explain … -- files --formt …"),
                           (["run", "npx", "-y", "foo"],
                            "mcpbox run: the server's command goes behind --: mcpbox run … -- npx -y …")):
            with self.subTest(args=args):
                ended = self.ends(2, *args)
                self.assertEqual((ended.stdout, ended.stderr), ("", line + "\n"))

    def test_what_is_no_access_mode_of_a_mount_is_named(self):
        ended = self.ends(2, "run", "--mount", f"{self.home.root}:rx", "--", "true")
        self.assertIn("'rx' is neither ro nor rw", ended.stderr)

    def test_an_engine_over_the_network_is_refused_before_it_is_asked(self):
        ended = self.ends(125, "run", "--engine", "tcp://127.0.0.1:1", "--", "true")
        self.assertIn("it is reached over the network", ended.stderr)
        self.assertNotIn("connect", ended.stderr)

    def test_a_run_that_a_signal_stops_before_its_server_is_there_ends_with_the_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(signal=number), EmptyEngine(self.home.root / f"engine{number}", silent=True) as engine:
                begun = subprocess.Popen([MCPBOX, "run", "--engine", engine.address, "--", "cat"], env=self.home.env,
                                         stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                self.addCleanup(begun.kill)
                until(lambda: engine.asked, "the engine was asked")
                begun.send_signal(number)
                _, err = begun.communicate(timeout=20)
                self.assertEqual(begun.returncode, 128 + number, err)
                self.assertIn("stopped before the server ran", err)

    def test_options_that_cannot_be(self):
        for args, words in ((["run", "--env", "1BAD=x", "--", "true"], "--env 1BAD"),
                            (["run", "--rootfs", "nope", "--", "true"], "--rootfs nope"),
                            (["run", "--memory", "15", "--", "true"], "--memory"),
                            (["run", "--timeout", "86401", "--", "true"], "--timeout"),
                            (["env", "prune", "abcde"], "at least its first 6 digits")):
            with self.subTest(args=args):
                self.assertIn(words, self.ends(2, *args).stderr)

    def test_without_a_daemon_or_a_configuration_the_next_step_is_said(self):
        ended = self.ends(3, "ps")
        self.assertEqual(ended.stderr,
                         f"mcpbox: no mcpbox daemon answers on {self.home.socket}; "
                         "start one with `mcpbox serve --config FILE` "
                         "(a daemon that another user started answers that user only)\n")
        ended = self.ends(2, "serve", cwd=str(self.home.root / "run"))
        self.assertIn("`mcpbox run -- COMMAND` needs none", ended.stderr)

    def test_the_egress_log_is_read_in_both_spellings_and_names_what_it_has(self):
        log = self.home.root / "log"
        log.mkdir(mode=0o700)
        (log / "egress.jsonl").write_text("".join(json.dumps({"event": "refuse", "server": "one", "phase": "run",
                                                              "port": 443, **entry}) + "\n" for entry in (
            {"host": "db.test", "rule": "db.test", "reason": "10.1.2.3 is a private address; if …"},
            {"host": "169.254.169.254", "reason": "no rule names it"})))
        at = ["--audit", str(log)]
        self.assertEqual(self.ends(0, "egress", "tail", *at, "--json").stdout,
                         self.ends(0, "egress", "tail", *at, "--format", "json").stdout)
        self.assertIn("nothing of a server 'nosuch'; it has of: one",
                      self.ends(0, "egress", "tail", "nosuch", *at).stderr)
        suggested = self.ends(0, "egress", "suggest", *at).stdout
        self.assertIn("# Asked for, and never allowed: 169.254.169.254\n", suggested)
        self.assertIn('egress:\n  allow_private: ["10.1.2.3"]\n', suggested)
        self.assertIn('# Of the server one:\nbox:\n  network:\n    mode: allowlist\n    allow: ["db.test"]\n',
                      suggested)
        with open(log / "egress.jsonl", "a") as more:
            more.write(json.dumps({"event": "refuse", "server": "two", "phase": "run", "port": 443, "host": "b.test",
                                   "reason": "no rule names it"}) + "\n")
        self.assertRegex(self.ends(0, "egress", "suggest", *at).stdout,
                         r'server one:\n(?s:.*)\["db.test"\]\n# Of the server two:\n(?s:.*)\["b.test"\]\n$')
        self.assertEqual(json.loads(self.ends(0, "egress", "suggest", *at, "--format", "json").stdout)["never"],
                         ["169.254.169.254"])

    def test_lines_of_the_egress_log_that_stand_for_many_say_so(self):
        log = self.home.root / "counted"
        log.mkdir(mode=0o700)
        (log / "egress.jsonl").write_text("".join(json.dumps({"event": "refuse", "server": "one", **entry}) + "\n"
                                                  for entry in (
            {"host": "db.test", "port": 443, "phase": "run", "reason": "no rule names it", "count": 1},
            {"host": "db.test", "port": 443, "phase": "run", "reason": "no rule names it", "count": 4399},
            {"host": "", "port": 0, "phase": "", "reason": "counted only", "count": 70})))
        at = ["--audit", str(log)]
        tail = self.ends(0, "egress", "tail", *at).stdout.splitlines()
        self.assertTrue(tail[0].endswith("db.test:443  no rule names it"), tail)
        self.assertTrue(tail[1].endswith("db.test:443  no rule names it (4399 times)"), tail)
        self.assertTrue(tail[2].endswith("one  -  counted only (70 times)"), tail)
        suggested = self.ends(0, "egress", "suggest", *at).stdout
        self.assertTrue(suggested.startswith("# 70 more were counted and not listed"), suggested)
        self.assertIn('allow: ["db.test"]\n', suggested)
        self.assertEqual(json.loads(self.ends(0, "egress", "suggest", *at, "--json").stdout)["counted_only"], 70)

    def test_the_egress_log_of_a_daemon_with_another_state_directory_is_found_by_its_configuration(self):
        log = self.home.root / "other" / "egress"
        log.mkdir(mode=0o700, parents=True)
        log.parent.chmod(0o700)
        (log / "egress.jsonl").write_text(json.dumps({"event": "refuse", "server": "one", "phase": "run", "port": 443,
                                                      "host": "db.test", "reason": "no rule names it"}) + "\n")
        file = self.file("other.yaml", f"version: 1\ndaemon: {{state_dir: {log.parent}}}\n")
        self.assertIn("db.test:443", self.ends(0, "egress", "tail", "-c", file).stdout)
        self.assertIn('["db.test"]', self.ends(0, "egress", "suggest", "--config", file).stdout)
        self.assertNotIn("db.test", self.ends(0, "egress", "tail").stdout)

    def test_who_follows_a_log_is_told_that_the_daemon_ended(self):
        for end in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=end):
                self.home.config.write_text("version: 1\nservers:\n"
                                            '  one: {command: sh, args: [-c, "echo begun >&2; sleep 1000"]}\n')
                daemon = self.home.serve(stderr=subprocess.DEVNULL)
                until(lambda: "begun" in self.home.run("logs", "one").stdout, "the server began")
                follower = subprocess.Popen([MCPBOX, "logs", "-f", "one"], env=self.home.env, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                self.addCleanup(follower.kill)
                while "begun" not in follower.stdout.readline():
                    pass
                daemon.send_signal(end)
                daemon.wait(60)
                _, err = follower.communicate(timeout=60)
                self.assertEqual((follower.returncode, err), (3, "mcpbox: the daemon ended, and the log with it\n"))
                self.home.run("down", "--engine", "native")

    def test_doctor_says_what_was_tried_in_one_line(self):
        said = self.ends(1, "doctor", "--engine", "unix:///nowhere.sock").stdout
        self.assertIn("no container engine answers at unix:///nowhere.sock, which `engine` of the configuration (or "
                      "--engine) names: there is no such socket (ENOENT); start that engine, or name another there: ",
                      said)
        self.assertNotIn("\\n", said)
        self.assertIn("auto, native or unix:///PATH", self.ends(1, "doctor", "--engine", "bogus").stdout)

    def test_doctor_says_which_programs_native_sandboxes_miss(self):
        own = self.home.root / "own"
        own.mkdir()
        for program in ("node", "npx", "python3", "uv"):
            there = shutil.which(program, path="/usr/local/bin:/usr/bin:/bin")
            for path in ("/usr/bin:/bin", f"{own}:/usr/bin:/bin"):
                with self.subTest(program=program, path=path):
                    shutil.copy("/bin/true", own / program)
                    said = self.home.run("doctor", "--engine", "native", env={**self.home.env, "PATH": path}).stdout
                    missing = f"{program} is not on this machine, and " in said
                    self.assertEqual(missing, there is None and str(own) not in path, said)

    def test_what_a_server_said_last_is_read_by_people(self):
        self.home.config.write_text('version: 1\nservers:\n  boom: '
                                    '{command: sh, args: [-c, "echo one >&2; echo boom >&2; exit 3"]}\n')
        self.home.serve(stderr=subprocess.DEVNULL)
        said = until(lambda: [line for line in self.home.run("ps").stdout.splitlines() if "last words" in line],
                     "the server failed")
        self.assertRegex(said[0], r"exit code 3\. Its last words: one \| boom$")
        self.assertIn("Its last words: one | boom\n", self.ends(5, "restart", "boom").stdout)
        logs = self.ends(0, "logs", "boom").stdout
        self.assertRegex(logs, r"mcpbox .*Its last words:\n\S+ mcpbox one\n\S+ mcpbox boom\n")

    def test_a_server_that_is_not_tried_again_says_so_and_what_brings_it_back(self):
        self.home.config.write_text("version: 1\nservers:\n  gone: {command: no-such-program}\n")
        self.home.serve(stderr=subprocess.DEVNULL)
        listed = self.ends(5, "ps", "--wait", "30").stdout
        for said in (listed, self.ends(0, "logs", "gone").stdout, self.ends(5, "call", "gone", "x").stderr):
            self.assertRegex(said, "not tried again, because waiting does not help; once it is mended, "
                                   "`mcpbox restart gone` starts it: .*"
                                   "no-such-program")
        self.assertNotIn("is error", self.ends(5, "call", "gone", "x").stderr)

    def test_pull_counts_what_it_did(self):
        folder = self.home.root / "folder"
        folder.mkdir()
        for name in ("old", "two"):
            (folder / name).write_text("a\n")
        change = "echo x > new; rm -f old; mkdir -p .git; echo x > .git/config; echo c > two; sleep 100"
        self.home.config.write_text(f"version: 1\nworkspace: {{allowed_roots: [{folder}]}}\nservers:\n"
                                    f"  w: {{command: sh, args: [-c, '{change}'],"
                                    f" box: {{host_path: {folder}, host_path_mode: rw}}}}\n"
                                    "  off: {command: sh, enable: false}\n")
        self.home.serve(stderr=subprocess.DEVNULL)
        until(lambda: "changed  two" in self.home.run("pull", "w", "--dry-run").stdout, "the server changed its copy")
        self.assertNotIn(".git", self.ends(0, "pull", "w", "--dry-run").stdout)
        (folder / "two").write_text("b\n")
        self.assertIn("because of 1 conflict. Look at it with", self.ends(1, "pull", "w").stderr)
        (folder / "two").write_text("a\n")
        self.assertIn(f"{folder}: 2 files brought back, 1 deleted\n", self.ends(0, "pull", "w", "--delete").stdout)
        self.assertEqual(self.ends(1, "pull", "off").stderr.count("server 'off'"), 1)
        self.assertIn("add it to workspace.allowed_roots", self.ends(1, "pull", "w", "--to", "/srv").stderr)
        self.assertIn("`mcpbox restart off` starts it", self.ends(5, "call", "off", "x").stderr)

    @unittest.skipUnless(os.geteuid() == 0, "makes a socket of root's")
    def test_a_socket_that_is_closed_to_the_user_is_not_called_absent(self):
        import socket
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.home.root / "docker.sock"))
            listening.listen()
            os.chmod(self.home.root / "docker.sock", 0o600)
            for name in ("state", "run"):
                os.chown(self.home.root / name, 65534, 65534)
            env = {**self.home.env, "DOCKER_HOST": f"unix://{self.home.root}/docker.sock", "HOME": str(self.home.root)}
            ended = self.home.run("run", "--", "true", env=env, user=65534, group=65534, extra_groups=[])
        self.assertEqual(ended.returncode, 4, ended.stderr)
        self.assertIn("which DOCKER_HOST names: permission denied (EACCES): join the socket's group, or unset ",
                      ended.stderr)

    def findings(self, **options):
        said = json.loads(self.ends(1, "doctor", "--engine", "native", "--format", "json", **options).stdout)
        return {line["what"]: (line["verdict"], line["detail"]) for line in said["findings"]}

    def test_doctor_blames_what_is_wrong_and_says_what_mends_it(self):
        state, run = self.home.root / "state", self.home.root / "run"
        begin = "not examined: it needs what is missing above "
        for name, folder in (("state directory", state), ("directory of control sockets", run)):
            with self.subTest(folder=name):
                folder.chmod(0o755)
                found = self.findings()
                self.assertEqual(found["directories"][0], "missing")
                self.assertRegex(found["directories"][1], f"^the {name}: {folder} must .* has mode 0755: `chmod 700 "
                                                          f"{folder}`; or name another one in MCPBOX_")
                for other in ("engine", "egress proxy"):
                    self.assertEqual(found[other], ("skipped", begin + "(directories)"))
                folder.chmod(0o700)
        found = self.findings(env={**self.home.env, "MCPBOX_INIT": "/nowhere"})
        self.assertEqual(found["mcpbox-init"][0], "missing")
        self.assertEqual(found["engine"], ("skipped", begin + "(mcpbox-init)"))
        shutil.rmtree(state / "egress", ignore_errors=True)
        (state / "egress").write_text("")
        self.assertEqual(self.findings()["egress proxy"],
                         ("missing", f"the egress proxy's log: {state}/egress is no directory; remove it"))

    @unittest.skipUnless(os.geteuid() == 0, "gives its folders to another user")
    def test_a_state_folder_that_its_user_cannot_write_or_that_is_another_users_is_said_to_be_that(self):
        state, run = self.home.root / "state", self.home.root / "run"
        nobody = {"user": 65534, "group": 65534, "extra_groups": [], "env": {**self.home.env, "HOME": "/"}}
        os.chown(run, 65534, 65534)
        self.assertIn(f"{state} must be a directory of this user that nobody else can enter, and belongs to user 0, "
                      f"not to 65534: `chown 65534 {state}`", self.findings(**nobody)["directories"][1])
        os.chown(state, 65534, 65534)
        state.chmod(0o500)
        self.assertIn(f"{state} cannot be read and written by this user: Permission denied (its owner can: "
                      f"`chmod 700 {state}`)", self.findings(**nobody)["directories"][1])

    def test_no_sentence_names_an_option_of_run_to_who_wrote_a_file(self):
        """Who speaks is known to setting_name() alone: in all that the daemon may say a key and an option that mean the
        same stand together in one call of it, and never in the sentence itself."""
        options = set(re.findall(r"--[a-z][a-z-]+", self.ends(0, "run", "--help").stdout))
        options -= set(re.findall(r"--[a-z][a-z-]+", self.ends(0, "serve", "--help").stdout))
        self.assertIn("--pids", options)
        word = re.compile("(?:" + "|".join(sorted(options, key=len, reverse=True)) + r")(?![a-z-])")
        source = pathlib.Path(__file__).resolve().parents[3] / "src"
        folders = ("box", "config", "egress", "gateway", "hosting", "provision", "workspace")
        found = []
        for path in sorted(path for name in folders for path in (source / name).rglob("*.cc")):
            if path.parent.name == "init" or path.name in ("run.cc", "run_plan.cc"):
                continue
            text = re.sub(r"(?m)//.*$", "", path.read_text())
            text = re.sub(r'setting_name\(\s*"[^"]*",\s*"[^"]*"\)', "", text)
            text = re.sub(r"settings_from\(\)[^;]*;", "", text)
            for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', text):
                if " " in literal and word.search(literal):
                    found.append(f"{path.name}: {literal}")
        # What the planner says where nothing is inferred, which is `run`; and uv's own options.
        spared = ("plan.cc: ; add --mount ", "install_hint.cc: with hashes, every requirement")
        self.assertEqual([line for line in found if not line.startswith(spared)], [])


if __name__ == "__main__":
    unittest.main()

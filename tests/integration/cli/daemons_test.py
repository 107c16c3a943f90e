"""One control socket, one daemon: whatever is started at once, killed, or stopped late."""
import fcntl
import json
import pathlib
import re
import select
import signal
import socket
import subprocess
import unittest

from program import MCPBOX, EmptyDaemon, EmptyEngine, Home, until

POND = pathlib.Path(__file__).resolve().parents[2] / "e2e" / "servers"
ROUNDS = 50
DAEMONS = 6


class Daemons(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def test_of_daemons_started_at_once_exactly_one_serves(self):
        for number in range(ROUNDS):
            daemons = [self.home.serve() for _ in range(DAEMONS)]
            ended = until(lambda: [d for d in daemons if d.poll() is not None][DAEMONS - 2:] and
                          [d for d in daemons if d.poll() is not None], f"round {number}: all but one have ended")
            self.assertEqual(len(ended), DAEMONS - 1, f"round {number}")
            [serving] = [d for d in daemons if d.poll() is None]
            until(self.home.answers, f"round {number}: the daemon answers")
            for daemon in ended:
                said = daemon.communicate()[1].decode()
                self.assertEqual(daemon.returncode, 1, said)
                self.assertRegex(said,
                                 rf"process {serving.pid} serves .*control\.sock already; stop it with `mcpbox down`")
            self.assertIsNone(serving.poll())
            # Every second one is killed: the next round finds its socket and its lock.
            serving.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
            said = serving.communicate(timeout=60)[1].decode()
            if number % 2 == 0:
                self.assertEqual(serving.returncode, 0, said)
                self.assertEqual([p.name for p in (self.home.root / "run").iterdir()], [], said)

    def test_a_daemon_that_stops_late_leaves_its_successors_socket(self):
        first = self.home.serve()
        until(self.home.answers, "the first daemon answers")
        # What a cleaner of temporary files does; with the lock gone, nothing keeps the next one out.
        self.home.socket.unlink()
        self.home.socket.with_name("control.sock.lock").unlink()
        other_state = self.home.root / "other"
        other_state.mkdir(mode=0o700)
        second = self.home.serve(env={**self.home.env, "MCPBOX_STATE_DIR": str(other_state)})
        until(self.home.answers, "the second daemon answers")
        first.terminate()
        first.communicate(timeout=60)
        self.assertTrue(self.home.socket.exists())
        self.assertTrue(self.home.answers())
        self.assertIsNone(second.poll())

    def test_of_daemons_with_one_state_directory_one_serves(self):
        first = self.home.serve()
        until(self.home.answers, "the first daemon answers")
        other = str(self.home.root / "run" / "other.sock")
        second = self.home.serve(env={**self.home.env, "MCPBOX_SOCKET": other})
        said = second.communicate(timeout=60)[1].decode()
        self.assertEqual(second.returncode, 1, said)
        self.assertIn(f"process {first.pid} serves with the state directory", said)
        self.assertIn(f"mcpbox down --socket {self.home.socket}", said)
        # Nor does a typing error end what the running one has.
        down = self.home.run("down", "--engine", "native", "--socket", other)
        self.assertEqual(down.returncode, 1, down.stderr)
        self.assertIn(f"mcpbox down --socket {self.home.socket}", down.stderr)
        self.assertTrue(self.home.answers())
        self.assertIsNone(first.poll())

    def test_daemons_with_two_state_directories_share_a_run_directory(self):
        first = self.home.serve()
        until(self.home.answers, "the first daemon answers")
        state = self.home.root / "other"
        state.mkdir(mode=0o700)
        socket = self.home.root / "run" / "other.sock"
        second = self.home.serve(env={**self.home.env, "MCPBOX_STATE_DIR": str(state), "MCPBOX_SOCKET": str(socket)})
        until(lambda: self.home.run("ps", "--socket", str(socket)).returncode == 0, "the second daemon answers")
        until(lambda: len(list((self.home.root / "run").glob("*.egress/egress.sock"))) == 2, "each has its own way out")
        for daemon in (first, second):
            daemon.terminate()
            said = daemon.communicate(timeout=60)[1].decode()
            self.assertEqual(daemon.returncode, 0, said)
            self.assertNotIn("serves", said)

    def test_down_removes_what_a_killed_daemon_left(self):
        daemon = self.home.serve()
        until(self.home.answers, "the daemon answers")
        daemon.send_signal(signal.SIGKILL)
        daemon.communicate()
        self.assertTrue(self.home.socket.exists())
        down = self.home.run("down", "--engine", "native")
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertEqual([p.name for p in (self.home.root / "run").iterdir()], [])

    def docker(self):
        """The environment of a user whose `auto` is another engine, which answers."""
        engine = EmptyEngine(self.home.root / "docker.sock")
        self.addCleanup(engine.server_close)
        self.addCleanup(engine.shutdown)
        self.engine = engine
        return {**self.home.env, "DOCKER_HOST": engine.address}

    def one_server(self):
        self.home.config.write_text("version: 1\nservers:\n"
                                    "  pond: {command: python3, args: [pond.py], box: {host_path: %s}}\n"
                                    "workspace: {allowed_roots: [%s]}\n" % (POND, POND))

    def sandboxes(self):
        folder = self.home.root / "state" / "native" / "sandboxes"
        return sorted(p.name for p in folder.iterdir()) if folder.exists() else []

    def killed(self):
        """A daemon that was killed with a server in a native sandbox."""
        self.one_server()
        daemon = self.home.serve()
        until(lambda: self.home.run("ps", "--wait", "60").returncode == 0, "the server is connected", 60)
        daemon.send_signal(signal.SIGKILL)
        daemon.communicate()
        self.assertTrue(self.sandboxes())

    def test_down_looks_at_the_engine_that_the_killed_daemon_used(self):
        auto = self.docker()
        self.killed()
        down = self.home.run("down", env=auto)
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertIn("no daemon was running; native: 1 left-over sandbox and 0 volumes removed", down.stdout)
        self.assertEqual(self.sandboxes(), [])
        self.assertEqual([p.name for p in (self.home.root / "run").iterdir()], [])
        self.assertTrue([path for path in self.engine.asked if path.endswith("/containers/json")],
                        "what runs left there")
        self.engine.shutdown()
        self.engine.server_close()
        down = self.home.run("down", env=auto)
        self.assertEqual((down.returncode, down.stderr), (0, ""))

    def test_down_says_soon_that_the_daemons_engine_does_not_answer(self):
        engine = f"unix://{self.home.root}/gone.sock"
        state = self.home.root / "state"
        state.mkdir(exist_ok=True)
        (state / "daemon.engine").write_text(engine + "\n")
        daemon = EmptyDaemon(self.home.socket, engine)
        self.addCleanup(daemon.close)
        down = subprocess.Popen([MCPBOX, "down", "--volumes"], env={**self.home.env, "DOCKER_HOST": engine}, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(down.wait)
        self.addCleanup(down.kill)
        ready, _, _ = select.select([down.stderr], [], [], 40)
        self.assertTrue(ready, "it says nothing while the daemon waits")
        self.assertRegex(down.stderr.readline(), f"the daemon's engine does not answer at {engine}: its servers are "
                         "ended, .* Start that engine now, or run `mcpbox down --volumes` again when it answers")
        self.assertIsNone(down.poll())
        self.assertIn("/v1/shutdown", daemon.asked)
        daemon.close()
        out, said = down.communicate(timeout=60)
        self.assertEqual((down.returncode, out), (4, "the daemon ended\n"), said)
        self.assertIn("what mcpbox has on that engine is left; run `mcpbox down --volumes` again", said)

    def test_down_finds_left_over_native_sandboxes_beside_another_engine(self):
        auto = self.docker()
        self.killed()
        (self.home.root / "state" / "daemon.engine").unlink(missing_ok=True)
        down = self.home.run("down", "--volumes", env=auto)
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertRegex(down.stdout,
                         "(?s)no daemon was running; docker: 0 left-over .*native: 1 left-over sandbox .*"
                         "--volumes --engine native")
        self.assertEqual(self.sandboxes(), [])

    def test_down_on_another_engine_leaves_what_the_next_daemon_adopts(self):
        auto = self.docker()
        self.killed()
        down = self.home.run("down", "--engine", auto["DOCKER_HOST"])
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertIn("docker: 0 left-over sandboxes", down.stdout)
        [left] = self.sandboxes()
        self.assertTrue(list((self.home.root / "run").glob("*/control.sock")))
        next_one = self.home.serve()
        until(lambda: self.home.run("ps", "--wait", "60").returncode == 0, "the server is connected", 60)
        self.assertEqual(self.sandboxes(), [left])
        next_one.terminate()
        self.assertNotIn("cannot adopt", next_one.communicate(timeout=60)[1].decode())

    def test_volumes_of_one_engine_go_without_the_records_of_another(self):
        records = self.home.root / "state" / "env"
        records.mkdir(mode=0o700)
        for name, engine in (("a" * 32, "docker"), ("b" * 32, "native"), ("c" * 32, "native")):
            (records / f"{name}.json").write_text(json.dumps({"asked_hash": name, "last_used": 1, "servers": ["x"],
                                                              "engine": engine}))
        with open(records / f"{'c' * 32}.lock", "w") as held:
            fcntl.flock(held, fcntl.LOCK_SH)
            down = self.home.run("down", "--volumes", "--engine", "native")
            self.assertEqual(down.returncode, 0, down.stderr)
            left = sorted(p.name for p in records.iterdir())
        self.assertEqual(left, ["a" * 32 + ".json", "c" * 32 + ".json", "c" * 32 + ".lock"])

    def test_env_verbs_look_where_the_daemon_has_its_environments(self):
        auto = self.docker()
        self.assertIn("engine: docker", self.home.run("env", "list", env=auto).stdout)
        daemon = self.home.serve()
        until(self.home.answers, "the daemon answers")
        until(lambda: self.home.status()["engine"]["kind"], "the engine is found")
        for args in (["list"], ["prune", "--all"]):
            ended = self.home.run("env", *args, env=auto)
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertRegex(ended.stdout, r"; engine: native \S+\n\Z")
            self.assertIn("engine: docker",
                          self.home.run("env", *args, "--engine", auto["DOCKER_HOST"], env=auto).stdout)
        self.assertEqual(json.loads(self.home.run("env", "list", "--format", "json", env=auto).stdout)["engine"],
                         "native")
        # Whatever its configuration says by now.
        self.home.config.write_text(f"version: 1\nengine: {auto['DOCKER_HOST']}\n")
        self.assertIn("engine: native", self.home.run("env", "list", "-c", self.home.config, env=auto).stdout)
        daemon.terminate()
        daemon.communicate(timeout=60)
        self.assertIn("engine: native", self.home.run("env", "list", env=auto).stdout)
        self.assertIn("engine: docker", self.home.run("env", "list", "-c", self.home.config, env=auto).stdout)

    def test_down_and_env_need_no_secret_of_the_servers(self):
        other = self.home.root / "run" / "other.sock"
        self.home.config.write_text(f"version: 1\nengine: native\ndaemon: {{socket: {other}}}\nservers:\n"
                                    "  one: {command: x, enable: false, env: {KEY: '${env:MCPBOX_TEST_KEY}'}}\n")
        daemon = self.home.serve(env={**self.home.env, "MCPBOX_TEST_KEY": "x"})
        until(lambda: self.home.run("ps", "--socket", str(other)).returncode == 0, "the daemon answers")
        listed = self.home.run("env", "list", "-c", self.home.config)
        self.assertEqual(listed.returncode, 0, listed.stderr)
        down = self.home.run("down", "-c", self.home.config)
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertIn("the daemon ended; native:", down.stdout)
        self.assertEqual(daemon.wait(30), 0)

    def test_what_a_state_directory_holds_includes_native_volumes(self):
        self.one_server()
        own = self.home.root / "own"
        self.home.config.write_text(self.home.config.read_text() + f"daemon: {{state_dir: {own}}}\n")
        self.home.serve()
        until(lambda: self.home.run("ps", "--wait", "60").returncode == 0, "the server is connected", 60)
        self.assertTrue(list((own / "native" / "volumes").iterdir()))
        self.assertFalse((self.home.root / "state" / "native").exists())
        down = self.home.run("down", "--volumes", "-c", self.home.config)
        self.assertEqual(down.returncode, 0, down.stderr)
        self.assertEqual(list((own / "native" / "volumes").iterdir()), [])

    def test_a_run_that_lives_is_named_with_how_to_go_on(self):
        run = subprocess.Popen([MCPBOX, "run", "--engine", "native", "--", "cat"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=self.home.env)
        self.addCleanup(run.wait, 30)
        self.addCleanup(run.stdin.close)
        until(self.sandboxes, "the sandbox is made")
        down = self.home.run("down", "--volumes", "--engine", "native")
        self.assertIn(f"(process {run.pid})", down.stdout)
        self.assertIn("run `mcpbox down --engine native --volumes` again", down.stdout)

    def test_a_daemon_that_still_prepares_can_be_seen_and_ended(self):
        self.home.config.write_text("version: 1\nservers:\n  one:\n    command: python3\n    args: [-c, pass]\n")
        with socket.socket(socket.AF_UNIX) as engine:
            engine.bind(str(self.home.root / "engine.sock"))
            engine.listen()  # takes connections and never answers
            daemon = self.home.serve(engine=f"unix://{self.home.root}/engine.sock")
            until(self.home.answers, "the daemon answers")
            self.assertEqual([(s["name"], s["state"]) for s in self.home.status()["servers"]], [("one", "preparing")])
            self.assertNotEqual(self.home.run("stop", "one").returncode, 0)
            down = self.home.run("down", "--engine", "native")
            self.assertEqual(down.returncode, 0, down.stderr)
            self.assertIn("the daemon ended", down.stdout)
            said = daemon.communicate(timeout=30)[1].decode()
            self.assertEqual(daemon.returncode, 0, said)


    def test_the_verbs_find_a_daemon_by_its_configuration(self):
        own = self.home.root / "own"
        own.mkdir(mode=0o700)
        self.home.config.write_text(
            f"version: 1\ndaemon: {{socket: {own}/s.sock, state_dir: {own}/state}}\n"
            "servers: {one: {command: sh, args: [-c, 'exit 3'], enable: false, env: {SECRET: '${env:NOT_SET}'}}}\n")
        env = {**self.home.env, "NOT_SET": "set"}
        self.home.serve(env=env)
        def ps():
            return self.home.run("ps", "-c", self.home.config)
        until(lambda: ps().returncode == 0, "it is found, and no secret of the file is looked at")
        self.assertIn("one", ps().stdout)
        self.assertEqual(self.home.run("ps").returncode, 3)
        for words in (["tools"], ["call", "one", "t"], ["logs", "one"], ["stop", "one"], ["pull", "one", "--dry-run"],
                      ["restart", "one"]):
            with self.subTest(words):
                ended = self.home.run(*words, "-c", self.home.config)
                self.assertNotIn(ended.returncode, (2, 3), ended.stderr)
        self.assertEqual(self.home.run("ps", "-c", self.home.config, "--socket", str(self.home.socket)).returncode, 3)
        broken = self.home.root / "broken.yaml"
        broken.write_text("version: 1\ndaemon: {sockt: x}\n")
        ended = self.home.run("ps", "-c", broken)
        self.assertEqual(ended.returncode, 2)
        self.assertIn("broken.yaml:2:10: unknown key 'sockt'", ended.stderr)


if __name__ == "__main__":
    unittest.main()

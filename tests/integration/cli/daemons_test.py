"""One control socket, one daemon: whatever is started at once, killed, or stopped late."""
import re
import signal
import socket
import subprocess
import unittest

from program import Home, until

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
                self.assertRegex(said, rf"process {serving.pid} serves .*control\.sock already; stop it with `mcpbox down`")
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


if __name__ == "__main__":
    unittest.main()

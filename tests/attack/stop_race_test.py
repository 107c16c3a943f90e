"""A server is stopped at any moment of its start and life, while it forks away from its stop: daemons in sessions of
their own that ignore SIGTERM and fork on. And `mcpbox run` is killed at any moment. Nothing of it is left."""
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
import unittest

from attack import Attack, SOURCE  # and as an ordinary user
from program import MCPBOX, until
from repeats import Outcomes, repeats

# Its forks have its arguments, so they are found by them.
FORKS = """
import os, signal, sys, threading, time
def away():
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    for _ in range(10_000):
        try:
            if os.fork(): os._exit(0)
        except OSError: pass
        time.sleep(0.0005)
    os._exit(0)
for _ in range(8):
    if os.fork() == 0: away()
"""


class StopRace(Attack):
    def setUp(self):
        super().setUp()
        self.name = f"forks-{os.getpid()}-{random.getrandbits(64):x}"
        self.outcomes = Outcomes()

    def left(self):
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if self.name.encode() in command[1:] and b"python3" in command[0]:
                found.append(int(process.name))
        return found

    def over(self):
        """Twice: what is about to run its program has other arguments for a moment."""
        if self.left():
            return False
        time.sleep(0.2)
        return not self.left()

    def test_of_a_server_nothing_outlives_its_stop(self):
        server = {"command": "python3", "args": ["-u", "-c", FORKS + SOURCE, self.name], "box": {"pids_limit": 64}}
        self.configure({"forks": server})
        self.home.serve(engine=self.engine)
        until(self.home.answers, "the daemon answers")
        until(lambda: len(self.left()) > 4, "it forks", 60)
        for _ in range(repeats(8)):
            restart = threading.Thread(target=self.home.run, args=("restart", "forks"))
            restart.start()
            time.sleep(random.random() * random.choice((0.02, 0.5)))
            there = len(self.left())
            self.home.run("stop", "forks")
            restart.join()
            stopped = self.home.run("stop", "forks")  # where the restart was the later one
            self.assertEqual(stopped.returncode, 0, stopped.stderr)
            # A start that was cut short is taken away beside the answer.
            until(self.over, "nothing outlives the stop", 5)
            self.outcomes["before it ran" if there == 0 else "while it ran"] += 1
        self.outcomes.tell("stops of a server that forks away")

    def test_of_a_run_nothing_outlives_its_sudden_end(self):
        for _ in range(repeats(3)):
            run = subprocess.Popen([MCPBOX, "run", "--engine", self.engine, "--direct", "--network", "none", "--",
                                    "python3", "-c", FORKS + "time.sleep(60)", self.name], env=self.home.env,
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(run.stdin.close)
            if random.random() < 0.5:
                until(self.left, "it forks", 60)
            time.sleep(random.random() * random.choice((0.02, 0.5)))
            there = len([pid for pid in self.left() if pid != run.pid])
            run.send_signal(signal.SIGKILL)
            run.wait()
            until(self.over, "nothing of it is left", 20)
            self.outcomes["before it ran" if there == 0 else "while it ran"] += 1
        self.outcomes.tell("killed runs of a server that forks away")


if __name__ == "__main__":
    unittest.main()

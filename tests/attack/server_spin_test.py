"""A server that keeps all processors busy slowed its neighbours down and nothing said who it was; and to stop one that
hears neither SIGTERM nor the end of its input took the four seconds that a server has to write out what it has. It is
named now, its neighbours come first, and it is ended at once."""
import json
import os
import pathlib
import threading
import time
import unittest

from engine import ENGINE, address
from hogs import SOURCE
from program import Home, until

# In a container control groups of this version are made.
FIRST = pathlib.Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists()
APART = pathlib.Path("/sys/fs/cgroup/cpu/mcpbox.idle")
# Behind all others of the machine, where it gets half a processor there; else of its sandbox.
BEHIND = {(APART.name, "1"), ("cpu.idle", "1"), ("cpu.shares", "2"), ("cpu.weight", "1")}
# It does not read what comes.
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(15):
    if os.fork() == 0: break
end = time.monotonic() + 60
while time.monotonic() < end: pass
os._exit(0)
"""


# A crowd that ends and is made anew all the time, of which no look sees much.
CROWD = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        if os.fork() == 0:
            until = time.monotonic() + 0.003
            while time.monotonic() < until: pass
            os._exit(0)
    except OSError: pass
os._exit(0)
"""


def of_user(uid):
    """The folders below /proc of its processes, as root of the host sees them."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == uid and (folder / "comm").read_text() != "mcpbox-reaper\n":
                yield folder
        except OSError:
            pass


def priorities(uid):
    """Nice values and policies (sched(7): 0 is the usual one, 5 is SCHED_IDLE)."""
    found = set()
    for folder in of_user(uid):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            found.add((int(fields[16]), int(fields[38])))
        except OSError:
            pass
    return found


def idle(uid):
    """What their control groups say in cpu.idle, or of their weight where the kernel has no such file; for those that
    are in none of the sandbox's, what the one says that is for them."""
    found = set()
    for folder in of_user(uid):
        try:
            lines = [line.split(":", 2) for line in (folder / "cgroup").read_text().splitlines()]
        except OSError:
            continue
        for number, controllers, path in lines:
            if number == "0" or "cpu" in controllers.split(","):
                group = pathlib.Path("/sys/fs/cgroup" + ("" if number == "0" else "/cpu") + path)
                if path.startswith(f"/{APART.name}/"):
                    found.add((APART.name, (APART / "cpu.idle").read_text().strip()))
                    continue
                for name in ("cpu.idle", "cpu.shares", "cpu.weight"):
                    if (group / name).exists():
                        found.add((name, (group / name).read_text().strip()))
                        break
    return found


class Spinner(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = Home()
        cls.addClassCleanup(cls.home.close)
        server = {"command": "python3", "args": ["-u", "-c", SOURCE]}
        servers = {"hog": server, "second": server, "neighbour": server}
        cls.home.config.write_text(json.dumps({"version": 1, "servers": servers}))
        cls.home.serve(engine=address())
        until(cls.home.answers, "the daemon answers")
        cls.all_there()

    @classmethod
    def all_there(cls):
        until(lambda: all(server["state"] == "connected" for server in cls.home.status()["servers"]),
              "all are there", 60)

    def setUp(self):
        self.assertEqual(self.home.run("restart", "hog").returncode, 0)
        self.all_there()

    def py(self, server, code):
        return self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")

    def test_it_is_named(self):
        asking = threading.Thread(target=self.py, args=("hog", DEAF))
        asking.start()
        self.addCleanup(asking.join)
        self.addCleanup(self.home.run, "stop", "hog")
        until(lambda: "server 'hog' keeps" in self.home.run("logs", "hog").stdout, "it is named", 50)
        self.assertRegex(self.home.run("logs", "hog").stdout,
                         r"server 'hog' keeps [0-9.]+ processors busy, with [0-9]+ processes and threads, ")
        self.assertNotIn("server 'neighbour' keeps", self.home.run("logs", "neighbour").stdout)

    def uid(self, name):
        return next(server["uid"] for server in self.home.status()["servers"] if server["name"] == name)

    def comes_behind(self, code):
        asking = threading.Thread(target=self.py, args=("hog", code))
        asking.start()
        self.addCleanup(asking.join)
        self.addCleanup(self.home.run, "stop", "hog")
        hog, neighbour = self.uid("hog"), self.uid("neighbour")
        if ENGINE == "native" or FIRST:  # the kernel shares by groups there
            until(lambda: (found := idle(hog)) and found <= BEHIND, "its groups are behind", 50)
            self.assertFalse(idle(neighbour) & BEHIND)
            self.assertEqual(self.home.run("stop", "hog").returncode, 0)
            asking.join()
            self.assertEqual(self.home.run("restart", "hog").returncode, 0)
            self.all_there()
            until(lambda: not idle(self.uid("hog")) & BEHIND, "it is back when it is quiet", 100)
            return
        until(lambda: priorities(hog) == {(19, 5)}, "all of it is behind", 50)
        until(lambda: priorities(neighbour) == {(-15, 0)}, "its neighbour is before the crowd", 50)
        self.assertEqual(self.home.run("stop", "hog").returncode, 0)
        asking.join()
        until(lambda: priorities(neighbour) == {(5, 0)}, "its neighbour is where it was", 50)
        self.assertEqual(self.home.run("restart", "hog").returncode, 0)
        self.all_there()
        until(lambda: priorities(self.uid("hog")) == {(5, 0)}, "it is back when it is quiet", 100)

    @unittest.skipIf(os.geteuid() != 0, "the processes of others are seen by root")
    def test_its_neighbours_come_first(self):
        self.comes_behind(DEAF)

    @unittest.skipIf(os.geteuid() != 0, "the processes of others are seen by root")
    def test_a_crowd_of_short_ones_is_no_way_around_it(self):
        self.comes_behind(CROWD)

    @unittest.skipIf(os.geteuid() != 0, "the processes of others are seen by root")
    def test_nor_are_two_such_crowds(self):
        self.addCleanup(self.home.run, "restart", "second")
        for name in "hog", "second":
            asking = threading.Thread(target=self.py, args=(name, CROWD))
            asking.start()
            self.addCleanup(asking.join)
            self.addCleanup(self.home.run, "stop", name)

        def is_behind(uid):
            if ENGINE == "native" or FIRST:
                return idle(uid) & BEHIND
            return priorities(uid) & {(19, 5)}
        hogs, neighbour = [self.uid("hog"), self.uid("second")], self.uid("neighbour")
        until(lambda: all(is_behind(uid) for uid in hogs), "both are behind", 30)
        self.assertFalse(is_behind(neighbour))

    def test_to_stop_it_takes_no_grace(self):
        asking = threading.Thread(target=self.py, args=("hog", DEAF))
        asking.start()
        self.addCleanup(asking.join)
        time.sleep(0.5)
        began = time.monotonic()
        self.assertEqual(self.home.run("stop", "hog").returncode, 0)
        # Two graces of two seconds is what it took.
        self.assertLess(time.monotonic() - began, 3)


if __name__ == "__main__":
    unittest.main()

"""A sandbox had one control group, so whoever used all of it took it from the others: the kernel chose whom to kill,
and a spinning server slowed the others down. The native engine gives each server a group of its own."""
import json
import pathlib
import time
import unittest

from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
LIMIT = 160
# Faster than anybody counts: a gigabyte in a few tenths of a second.
MANY = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        held = bytearray(b"x") * (40 << 20)
        time.sleep(60); os._exit(0)
time.sleep(60)
"""
ONE = "held = bytearray(b'x') * (1 << 30)"
SPIN = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        end = time.monotonic() + 6
        while time.monotonic() < end: pass
        os._exit(0)
"""
PING = "print('pong')"


def groups_of(marker):
    """The control groups of the process with that argument: controller -> folder."""
    for process in pathlib.Path("/proc").iterdir():
        try:
            if process.name.isdigit() and marker.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                lines = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
                roots = {name: pathlib.Path("/sys/fs/cgroup", name if names else "", path.lstrip("/"))
                         for _, names, path in lines for name in (names.split(",") if names else ("",))}
                return {name: roots.get(name, roots.get("")) for name in ("memory", "pids", "cpu")}
        except OSError:
            continue
    return None


class ServerGroups(unittest.TestCase):
    def start(self, limits=None, **boxes):
        self.home = Home()
        self.addCleanup(self.home.close)
        root = self.home.root.name
        servers = {name: {"command": "python3", "args": ["-u", "-c", SOURCE, f"{root}-{name}"], "box": box}
                   for name, box in boxes.items()}
        self.home.config.write_text(json.dumps({"version": 1, "box": {"limits": limits or {}}, "servers": servers}))
        self.home.serve()
        until(self.home.answers, "the daemon answers")
        for name in boxes:
            until(lambda name=name: self.py(name, PING).returncode == 0, f"{name} answers", 60)

    def py(self, server, code):
        return self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")

    def group(self, server):
        return groups_of(f"{self.home.root.name}-{server}")

    def test_the_hog_ends_alone_and_its_neighbour_never_notices(self):
        self.start(hog={"memory_mb": LIMIT}, neighbour={"memory_mb": LIMIT})
        before = self.py("neighbour", "state = 'kept'; held = bytearray(b'x') * (100 << 20)")
        self.assertEqual(before.returncode, 0, before.stderr)
        for name, code in (("thirty small processes", MANY), ("a large block", ONE)):
            with self.subTest(name):
                until(lambda: self.py("hog", PING).returncode == 0, "the hog is back", 30)
                ended = self.py("hog", code)
                self.assertRegex(ended.stderr, "server 'hog' was ended: it used [0-9,]+ MiB of memory, "
                                               rf"its limit is {LIMIT} \(box.memory_mb")
                self.assertIn("kept", self.py("neighbour", "print(state)").stdout, "the same process as before")

    def test_each_server_has_a_group_with_its_limits_and_none_is_left(self):
        self.start(one={"memory_mb": 200, "pids_limit": 50, "cpus": 0.5}, two={})
        one, two = self.group("one"), self.group("two")
        for controller, group in one.items():
            with self.subTest(controller):
                self.assertNotEqual(group, two[controller])
                self.assertEqual(group.parent, two[controller].parent, "of one sandbox")
        self.assertEqual((one["pids"] / "pids.max").read_text().strip(), "60")  # 50, room of 8, and ours
        if (shares := one["cpu"] / "cpu.shares").exists():
            self.assertLess(int(shares.read_text()), 1024, "PID 1 has more than one of them")
        # Nobody in there can write to one.
        self.assertNotIn("cgroup", self.py("one", "print(open('/proc/self/mounts').read())").stdout)
        sandbox = one["memory"].parent
        self.assertEqual(self.home.run("stop", "one").returncode, 0)
        until(lambda: not any(group.exists() for group in one.values()), "the groups of what ended are gone")
        self.assertTrue(two["memory"].exists())
        self.home.run("down")
        until(lambda: not sandbox.exists(), "the sandbox's group is gone, with those in it")

    def test_a_spinner_has_the_processors_that_it_names(self):
        self.start(spinner={"cpus": 0.25}, neighbour={})
        self.py("spinner", SPIN)
        group = self.group("spinner")

        def used():
            ticks = 0
            for pid in (group["cpu"] / "cgroup.procs").read_text().split():
                fields = pathlib.Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
            return ticks / 100

        before, began = used(), time.monotonic()
        time.sleep(2)
        share = (used() - before) / (time.monotonic() - began)
        self.assertLess(share, 0.4, "processors; it names 0.25")


if __name__ == "__main__":
    unittest.main()

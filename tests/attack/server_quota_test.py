"""A server that wrote fast had much more on disk than it may before the walk of its folders saw that: 67 MB of 27.
Where the file system has project quotas it refuses the rest at once, whoever has passed is ended by name all the same,
and nothing of that is left when the server is gone."""
import ctypes
import json
import os
import pathlib
import struct
import subprocess
import unittest

import quota_machine
from program import MCPBOX, Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
DISK, ROOM = 27, 2  # MiB
FIRST_PROJECT = 0x71000000  # and a bit; from a number in between Linux 6.1 passes over some
QUOTACTL_FD, SET_QUOTA, GET_NEXT_QUOTA, PROJECTS, BOTH_LIMITS = 443, 0x800008, 0x800009, 2, 5
FAST = """
import os, time
file = os.open(os.path.expanduser("~/x"), os.O_CREAT | os.O_WRONLY)
os.write(file, bytes(25 << 20))
time.sleep(1)
try:
    for n in range(40): os.write(file, bytes(1 << 20))
except OSError as error: print(error.strerror, flush=True)
print(os.stat(file).st_blocks * 512 >> 20, flush=True)
time.sleep(20)
"""
FAILS = """
import os
with open(os.path.expanduser("~/x"), "wb") as file:
    for n in range(64): file.write(bytes(1 << 20))
"""
FILES = """
import os, time
home = os.path.expanduser("~/")
for made in range(280): os.mkdir(f"{home}{made}")
time.sleep(1)
try:
    for made in range(280, 20000): os.mkdir(f"{home}{made}")
except OSError as error: print(error.strerror, flush=True)
print(made, flush=True)
time.sleep(20)
"""
NEARLY = """
import os, time
with open(os.path.expanduser("~/x"), "wb") as file: file.write(bytes(26 << 20))
time.sleep(3)
print("lives")
"""
SLEEPS = """
import time
print("up")
time.sleep(60)
"""
MOVES = """
import os
home = os.path.expanduser("~/")
tree = os.path.dirname(home[:-1])
os.symlink("a", home + "link")
open(home + "file", "w").close()
for name in "link", "file":
    os.rename(home + name, tree + "/tmp/" + name)
    os.rename(tree + "/tmp/" + name, home + name)
os.link(home + "file", tree + "/tmp/second")
print("moved")
"""
ESCAPES = """
import fcntl, os, struct
file = os.open(os.path.expanduser("~"), os.O_RDONLY)
for call in 0x401c5820, 0x40086602:  # FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS
    try:
        fcntl.ioctl(file, call, bytes(64))
        print("changed")
    except OSError as error: print(error.errno)
"""

INSTALLS = """
const fs = require('fs'), file = fs.openSync('x', 'w');
for (let n = 0; n < 64; n++) fs.writeSync(file, Buffer.alloc(1 << 20));
"""


def projects():
    """The numbers of mcpbox's projects on this disk that have a limit, with its bytes and the inodes that are used."""
    libc, found, number = ctypes.CDLL(None, use_errno=True), {}, FIRST_PROJECT
    at = os.open("/mnt", os.O_RDONLY)
    block = ctypes.create_string_buffer(72)
    while libc.syscall(QUOTACTL_FD, at, GET_NEXT_QUOTA << 8 | PROJECTS, ctypes.c_uint(number), block) == 0:
        hard, _, _, files_hard, _, files, _, _, _, number = struct.unpack_from("=8QII", block)
        if hard or files_hard:
            found[number] = (hard << 10, files)
        number += 1
    os.close(at)
    return found


def limit(number, kilobytes, files):
    block = ctypes.create_string_buffer(struct.pack("=8QII", kilobytes, 0, 0, files, 0, 0, 0, 0, BOTH_LIMITS, 0))
    libc, at = ctypes.CDLL(None, use_errno=True), os.open("/mnt", os.O_RDONLY)
    done = libc.syscall(QUOTACTL_FD, at, SET_QUOTA << 8 | PROJECTS, ctypes.c_uint(number), block)
    os.close(at)
    if done != 0:
        raise OSError(ctypes.get_errno(), f"limit of project {number}")


class Runs(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def command(self, code, *limits):
        return ["run", "--engine", "native", "--direct", "--network", "none", "--accept-degraded", "landlock",
                *(limits or ("--disk", str(DISK))), "--", "python3", "-u", "-c", code]

    def runs(self, code, *limits):
        return self.home.run(*self.command(code, *limits))

    def refused(self, code, *limits):
        """What it printed of its refusal, and how it ended. One that is ended before it can say so is no proof."""
        for _ in range(5):
            ended = self.runs(code, *limits)
            if ended.stdout.count("\n") == 2:
                break
        return *ended.stdout.split("\n")[:2], ended.stderr

    def test_who_writes_too_much_is_refused_at_the_limit_and_ended_by_name(self):
        error, written, said = self.refused(FAST)
        self.assertEqual(error, "Disk quota exceeded", said)
        self.assertIn(int(written), range(DISK - 1, DISK + ROOM + 1))
        self.assertRegex(said, fr"server 'python3' was ended: it used ({DISK + 1}|{DISK + 2}) MiB of disk, "
                         fr"its limit is {DISK} \(--disk\); raise")

    def test_who_ends_of_it_is_told_why(self):
        ended = self.runs(FAILS)
        self.assertNotEqual(ended.returncode, 0, ended.stderr)
        self.assertRegex(ended.stderr, "server 'python3' (was ended: it|ended: exit code 1, after its file system had "
                         fr"refused it more: it) used (27|28|29) MiB of disk, its limit is {DISK} ")

    def test_the_same_of_files(self):
        error, made, said = self.refused(FILES, "--max-files", "300")
        self.assertEqual(error, "Disk quota exceeded", said)
        self.assertIn(int(made), range(300, 501))
        self.assertRegex(said, r"was ended: it used [0-9]+ files, its limit is 300 ")

    def test_who_has_nearly_all_that_it_may_is_no_full_disk(self):
        ended = self.runs(NEARLY)
        self.assertEqual((ended.returncode, ended.stdout), (0, "lives\n"), ended.stderr)

    def test_files_and_links_move_among_a_servers_folders(self):
        self.assertEqual(self.runs(MOVES).stdout, "moved\n")

    def test_no_server_changes_what_its_files_count_for(self):
        self.assertEqual(self.runs(ESCAPES).stdout, "25\n25\n")

    def test_nothing_is_left_of_a_run(self):
        self.assertEqual(self.runs("print('ran')").stdout, "ran\n")
        # What its keeper had not removed yet when it ended is for the next one.
        until(lambda: self.runs("").returncode == 0 and not projects(), "no limit is left")

    def test_nor_of_one_that_was_killed(self):
        with subprocess.Popen([MCPBOX, *self.command(SLEEPS)], env=self.home.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"up\n")
            self.assertEqual([hard >> 20 for hard, _ in projects().values()], [DISK + ROOM])
            run.kill()
        until(lambda: self.runs("").returncode == 0 and not projects(), "no limit is left")

    def test_an_installation_has_a_limit_of_its_own(self):
        project = self.home.root / "p"
        (project / "tools").mkdir(parents=True)
        # What is beside the project reaches no registry.
        (project / "package.json").write_text('{"name": "p", "dependencies": {"tools": "file:./tools"}}')
        (project / "tools" / "package.json").write_text(
            '{"name": "tools", "version": "1.0.0", "scripts": {"install": "node install.js"}}')
        (project / "tools" / "install.js").write_text(INSTALLS)
        (project / "server.js").write_text("console.log('runs')\n")
        for disk in DISK, 200:
            ended = self.home.run("run", "--engine", "native", "--direct", "--accept-degraded", "landlock", "--disk",
                                  str(disk), "--stage", str(project), "--", "node", str(project / "server.js"))
            if disk == DISK:
                self.assertRegex(ended.stderr, fr"used ({DISK}|{DISK + 1}|{DISK + 2}) MiB of disk, its limit is {DISK}")
            else:
                self.assertEqual(ended.stdout, "runs\n", ended.stderr)
        # The environment stays.
        until(lambda: self.runs("").returncode == 0 and [hard >> 20 for hard, _ in projects().values()] == [202],
              "only the environment's limit is left")

    def test_doctor_says_who_holds_the_limits(self):
        said = self.home.run("doctor", "--engine", "native").stdout
        self.assertRegex(said, r"ok +disk limits +each server's are held by the file system of /mnt")


class Daemons(unittest.TestCase):
    def serve(self, home, limit, folder):
        server = {"command": "python3", "args": ["-u", "-c", SOURCE], "cwd": str(folder),
                  "box": {"disk_mb": limit, "accept_degraded": ["landlock"]}}
        home.config.write_text(json.dumps({"version": 1, "workspace": {"allowed_roots": [str(folder)]},
                                           "servers": {"one": server}}))
        home.serve()
        until(home.answers, "the daemon answers")
        until(lambda: home.status()["servers"][0]["state"] == "connected", "the server is there", 60)

    def py(self, home, code):
        asked = home.run("call", "one", "py", "--json", json.dumps({"code": code}), "--format", "json")
        self.assertEqual(asked.returncode, 0, asked.stderr)
        return asked.stdout

    def kill(self, home):
        home.started[0].kill()
        home.started.pop().communicate(timeout=30)

    def writes(self, home):
        wrote = self.py(home, "import os; print(open(os.path.expanduser('~/y'), 'w').write('x' * 10 ** 6))")
        self.assertIn("1000000", wrote)

    def test_limits_are_each_servers_own_follow_the_configuration_and_go_with_the_work_space(self):
        homes = [Home(), Home()]
        for home in homes:
            self.addCleanup(home.close)
            folder = home.root / "folder"
            folder.mkdir()
            self.serve(home, 40, folder)
        self.assertEqual([hard >> 20 for hard, _ in projects().values()], [42, 42])
        first = homes[0]
        self.py(first, "import os; open(os.path.expanduser('~/kept'), 'w').write('x')")
        first.run("down")
        first.started.pop().communicate(timeout=30)
        self.serve(first, 50, first.root / "folder")
        self.assertEqual(sorted(hard >> 20 for hard, _ in projects().values()), [42, 52])
        self.assertIn("True", self.py(first, "import os; print(os.path.exists(os.path.expanduser('~/kept')))"))
        # One that is killed leaves its limits to the next one of the same work space …
        number, = (number for number, (hard, _) in projects().items() if hard >> 20 == 52)
        self.kill(first)
        limit(number, 4, 1)
        self.serve(first, 60, first.root / "folder")
        self.assertEqual(sorted(hard >> 20 for hard, _ in projects().values()), [42, 62])
        self.writes(first)
        for left, home in ((1, first), (0, homes[1])):
            home.run("down", "--volumes")
            until(lambda: len(projects()) == left, f"{left} limits are left: {projects()}")
        # … and without it to nobody who gets its number.
        self.kill(first)
        limit(number, 4, 1)
        self.serve(first, 40, first.root / "folder")
        self.assertEqual([(key, hard >> 20) for key, (hard, _) in projects().items()], [(number, 42)])
        self.writes(first)


if __name__ == "__main__":
    quota_machine.main(__file__)

"""One server filled the disk of the machine, with bytes or with files, and nothing stopped it. Whoever has more than
its limit ends alone now, by name, however it hides it: in folders that it may not read itself, in files with many names
or none, in a folder of the host."""
import os
import pathlib
import shutil
import tempfile
import threading
import unittest

from engine import address
from hogs import Hogs
from program import Home


BYTES = """
import os, time
piece = os.urandom(1 << 20)
for n in range(400):
    with open(os.path.expanduser(f"~/{n}"), "wb") as file: file.write(piece)
    time.sleep(0.01)
time.sleep(20)
"""
FILES = """
import os, time
for n in range(10000):
    os.mkdir(os.path.expanduser(f"~/d{n}")) if n % 2 else open(os.path.expanduser(f"~/f{n}"), "w").close()
    time.sleep(0.0005)
time.sleep(20)
"""
HIDDEN = """
import os, time
home, piece = os.path.expanduser("~/deep"), os.urandom(1 << 20)
os.mkdir(home)
os.chmod(home, 0o300)
os.makedirs(f"{home}/a/b")
for n in range(200):
    with open(f"{home}/a/b/{n}", "wb") as file: file.write(piece)
    os.chmod(f"{home}/a/b", 0); time.sleep(0.02); os.chmod(f"{home}/a/b", 0o700)
os.chmod(home, 0)
time.sleep(20)
"""
MANY_NAMES = """
import os, time
home = os.path.expanduser("~/")
with open(home + "one", "wb") as file: file.write(os.urandom(20 << 20))
for n in range(50): os.link(home + "one", f"{home}name{n}")
time.sleep(1.5)
print("lives")
"""
NAMELESS = """
import os, time
piece = os.urandom(1 << 20)
home = os.path.expanduser("~/")
files = []
for n in range(20):
    files.append(open(home + "gone", "wb"))
    os.unlink(home + "gone")
    for m in range(20): files[-1].write(piece); files[-1].flush()
    time.sleep(0.2)
time.sleep(20)
"""
PING = "print('pong')"
DISK, FILE_LIMIT = 64, 2000
HOGS = {"bytes": BYTES, "files": FILES, "hidden": HIDDEN, "nameless": NAMELESS}


class ServerDisk(Hogs):
    hogs, ping = HOGS, PING

    @classmethod
    def setUpClass(cls):
        cls.start({"disk_mb": DISK, "max_files": FILE_LIMIT}, ["names", "left"])

    def test_whoever_has_too_much_ends_alone(self):
        for name in "bytes", "hidden", "nameless":
            with self.subTest(name):
                self.ends(name, fr"server '{name}' was ended: it used [0-9,]+ MiB of disk, its limit is {DISK} "
                          r"\(box.disk_mb\); raise")

    def test_whoever_has_too_many_files_ends_alone(self):
        self.ends("files", r"server 'files' was ended: it used [0-9,]+ files, its limit is 2,000 "
                  r"\(box.max_files\); raise")

    def test_whose_files_stay_too_many_is_not_started_over_and_over(self):
        self.py("left", BYTES)

        def starts():
            return next(server for server in self.home.status()["servers"] if server["name"] == "left")["restarts"]

        for _ in range(10):
            before, restarted = starts(), self.home.run("restart", "left")
            if restarted.returncode == 5:
                break  # else it had answered before it was ended
        self.assertRegex(restarted.stdout, r"left: error: .* its limit is 64 \(box.disk_mb\); raise the limit "
                         "if it needs more, or find out what it writes; `mcpbox restart --fresh left` drops all")
        self.assertLess(starts() - before, 4)  # others have three more starts
        self.assertEqual(self.home.run("restart", "--fresh", "left").returncode, 0)

    def test_a_file_counts_once_whatever_names_it_has(self):
        self.assertIn("lives", self.py("names", MANY_NAMES).stdout)


FILLED = """
import os, time
time.sleep({wait})
print("lives", flush=True)
for n in range(200):
    with open(f"{folder}/{{n}}", "wb") as file: file.write(os.urandom(1 << 20))
    time.sleep(0.01)
time.sleep(20)
"""
AT_ONCE = """
import os, time
for n in range(4):
    with open(f"{folder}/{{n}}", "wb") as file: file.write(os.urandom(10 << 20))
time.sleep(10)
"""
WAITS = "import time; time.sleep(6); print('lives')"


class MountedFolder(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mcpbox-disk-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "before").write_bytes(os.urandom(50 << 20))
        os.chown(self.folder, 12345, 12345)
        os.chown(self.folder / "before", 12345, 12345)

    def runs(self, code):
        return self.home.run("run", "--engine", address(), "--direct", "--network", "none", "--disk", "32",
                             "--mount", f"{self.folder}:rw", "--", "python3", "-u", "-c", code)

    def test_what_was_there_before_does_not_count_and_what_comes_does(self):
        ended = self.runs(FILLED.format(folder=self.folder, wait=1.5))
        self.assertEqual(ended.stdout, "lives\n", ended.stderr)
        self.assertEqual(ended.returncode, 137, ended.stderr)
        self.assertRegex(ended.stderr,
                         r"mcpbox: server 'python3' was ended: it used [0-9,]+ MiB of disk, its limit is 32 ")

    def test_what_comes_in_the_first_moment_counts(self):
        ended = self.runs(AT_ONCE.format(folder=self.folder))
        self.assertEqual(ended.returncode, 137, ended.stderr)
        self.assertIn("of disk, its limit is 32 ", ended.stderr)

    def test_nobody_is_ended_for_what_the_host_does_there(self):
        writing = threading.Timer(2, (self.folder / "of-the-host").write_bytes, [os.urandom(60 << 20)])
        writing.start()
        ended = self.runs(WAITS)
        writing.join()
        self.assertEqual((ended.returncode, ended.stdout), (0, "lives\n"), ended.stderr)


if __name__ == "__main__":
    unittest.main()

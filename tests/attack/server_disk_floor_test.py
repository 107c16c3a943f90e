"""One server filled the machine's disk within its own limits, and everybody stood still. Below a floor of free space
the one who wrote most is ended now: also one whose files have no name, and never another for what the host or a
stranger writes there."""
import json
import os
import pathlib
import shutil
import subprocess
import threading
import unittest

from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
FILL = """
import os, time
piece = os.urandom(1 << 20)
for n in range(190):
    with open(os.path.expanduser(f"~/{n}"), "wb") as file: file.write(piece)
    time.sleep(0.005)
time.sleep(20)
"""
NAMELESS = """
import os, time
piece, files = os.urandom(1 << 20), []
for n in range(174):
    if n % 29 == 0:
        files.append(open(os.path.expanduser("~/gone"), "wb"))
        os.unlink(os.path.expanduser("~/gone"))
    files[-1].write(piece)
    files[-1].flush()
    time.sleep(0.005)
time.sleep(20)
"""
A_LITTLE = """
import os, time
with open(os.path.expanduser("~/cache"), "wb") as file: file.write(os.urandom(20 << 20))
time.sleep(4)
print("lives")
"""


class DiskFloor(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        state = self.home.root / "state"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m,mode=0700", "tmpfs", state], check=True)
        self.addCleanup(shutil.rmtree, self.home.root)
        self.addCleanup(subprocess.run, ["umount", state], check=True)
        self.addCleanup(self.home.close)
        server = {"command": "python3", "args": ["-u", "-c", SOURCE]}
        servers = {name: server for name in ("hog", "neighbour")}
        self.home.config.write_text(json.dumps({"version": 1, "servers": servers}))
        self.home.serve()
        until(self.home.answers, "the daemon answers")
        until(lambda: all(server["state"] == "connected" for server in self.home.status()["servers"]),
              "both servers are there", 60)

    def py(self, server, code):
        return self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")

    def test_files_without_a_name_are_found_and_a_neighbour_is_not_ended_for_them(self):
        neighbour = []
        asking = threading.Thread(target=lambda: neighbour.append(self.py("neighbour", A_LITTLE)))
        asking.start()
        ended = self.py("hog", NAMELESS)
        asking.join()
        self.assertIn("lives", neighbour[0].stdout, neighbour[0].stderr)
        self.assertRegex(ended.stderr, r"server 'hog' was ended: the disk was about to be full")

    def test_nobody_is_ended_for_what_the_host_writes(self):
        answers = []
        asking = threading.Thread(target=lambda: answers.append(self.py("neighbour", A_LITTLE)))
        asking.start()
        (self.home.root / "state" / "of-the-host").write_bytes(os.urandom(1 << 20) * 174)
        asking.join()
        self.assertIn("lives", answers[0].stdout, answers[0].stderr)

    def test_whoever_wrote_most_is_ended_before_the_disk_is_full(self):
        ended = self.py("hog", FILL)
        self.assertRegex(ended.stderr, r"server 'hog' was ended: the disk was about to be full \(10 MiB have to stay "
                         r"free\), and it wrote most: [0-9]+ MiB lately")
        self.assertIn("pong", self.py("neighbour", "print('pong')").stdout)


if __name__ == "__main__":
    unittest.main()

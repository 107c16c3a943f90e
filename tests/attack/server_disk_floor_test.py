"""One server filled the machine's disk within its own limits, and everybody stood still. Below a floor of free space
the one who wrote most is ended now."""
import json
import pathlib
import shutil
import subprocess
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

    def test_whoever_wrote_most_is_ended_before_the_disk_is_full(self):
        ended = self.py("hog", FILL)
        self.assertRegex(ended.stderr, r"server 'hog' was ended: the disk was about to be full \(10 MiB have to stay "
                         r"free\), and it wrote most: [0-9]+ MiB lately")
        self.assertIn("pong", self.py("neighbour", "print('pong')").stdout)


if __name__ == "__main__":
    unittest.main()

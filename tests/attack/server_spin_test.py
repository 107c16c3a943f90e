"""A server that keeps all processors busy and hears neither SIGTERM nor the end of its input: to stop it took the four
seconds that a server has to write out what it has. It is ended at once now, and who does write out is not."""
import json
import threading
import time
import unittest

from engine import address
from hogs import SOURCE
from program import Home, until

# Several, so that it gets what it wants on a busy machine, too. It does not read what comes.
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(7):
    if os.fork() == 0: break
end = time.monotonic() + 60
while time.monotonic() < end: pass
os._exit(0)
"""
# At the end of its input it works for a while, and says then that it got that far.
WRITES_OUT = SOURCE + """
import os, time
while time.process_time() < 1: pass
open(os.path.expanduser("~/written"), "w").close()
"""


class Spinner(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = Home()
        cls.addClassCleanup(cls.home.close)
        servers = {name: {"command": "python3", "args": ["-u", "-c", source]}
                   for name, source in (("hog", SOURCE), ("busy", WRITES_OUT), ("neighbour", SOURCE))}
        cls.home.config.write_text(json.dumps({"version": 1, "servers": servers}))
        cls.home.serve(engine=address())
        until(cls.home.answers, "the daemon answers")

    def setUp(self):
        self.start("hog")
        self.start("busy")

    def start(self, name):
        self.assertEqual(self.home.run("restart", name).returncode, 0)
        until(lambda: all(server["state"] == "connected" for server in self.home.status()["servers"]),
              "all are there", 60)

    def py(self, server, code):
        return self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")

    def test_to_stop_it_takes_no_grace(self):
        asking = threading.Thread(target=self.py, args=("hog", DEAF))
        asking.start()
        self.addCleanup(asking.join)
        time.sleep(0.5)
        began = time.monotonic()
        self.assertEqual(self.home.run("stop", "hog").returncode, 0)
        # Two graces of two seconds is what it took.
        self.assertLess(time.monotonic() - began, 3)

    def test_who_works_hard_only_then_has_its_grace(self):
        self.assertEqual(self.home.run("stop", "busy").returncode, 0)
        self.start("busy")
        found = self.py("busy", "import os; print(os.path.exists(os.path.expanduser('~/written')))")
        self.assertIn("True", found.stdout)


if __name__ == "__main__":
    unittest.main()

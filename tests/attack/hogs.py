"""Servers of one sandbox that use too much, beside one that is asked all the time."""
import json
import pathlib
import threading
import time
import unittest

from engine import address
from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()


class Hogs(unittest.TestCase):
    """A class of tests sets `hogs` (name: what it runs) and `ping`, and calls start() in setUpClass."""
    hogs, ping = {}, ""

    @classmethod
    def start(cls, limits, others, **settings):
        cls.home = Home()
        cls.addClassCleanup(cls.home.close)
        server = {"command": "python3", "args": ["-u", "-c", SOURCE], "box": limits}
        servers = {name: server for name in (*cls.hogs, *others, "neighbour")}
        cls.home.config.write_text(json.dumps({"version": 1, **settings, "servers": servers}))
        cls.home.serve(engine=address())
        until(cls.home.answers, "the daemon answers")
        until(lambda: all(server["state"] == "connected" for server in cls.home.status()["servers"]),
              "all servers are there", 60)

    def py(self, server, code):
        return self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")

    def ends(self, hog, words, within=15):
        """It ends within seconds, its call says why, and the neighbour answers all the time and a moment longer."""
        failed, over = [], threading.Event()

        def ask():
            while not over.is_set():
                if (asked := self.py("neighbour", self.ping)).returncode != 0:
                    failed.append(asked.stderr)

        asking = threading.Thread(target=ask)
        asking.start()
        began = time.monotonic()
        try:
            ended = self.py(hog, self.hogs[hog])
        finally:
            took = time.monotonic() - began
            time.sleep(0.2)
            over.set()
            asking.join()
        self.assertEqual(failed, [])
        self.assertRegex(ended.stderr, words, ended.stdout)
        self.assertLess(took, within)
        return ended.stderr

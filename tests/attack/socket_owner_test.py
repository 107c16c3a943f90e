"""Another user makes the folder that a client looks for its daemon in, serves the socket there, and reads what the
client sends."""
import multiprocessing
import os
import socket
import unittest

from engine import address
from program import Home, until

THIEF = 64231  # nobody's user id
ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\nConnection: close\r\n\r\n"
          b'{"result":{"content":[]},"servers":[]}   ')


def serve(path, owner, heard, ready):
    if owner:
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        os.chmod(path, 0o777)
        listening.listen()
        ready.set()
        while True:
            client, _ = listening.accept()
            with client:
                if request := client.recv(65536):
                    heard.put(request)
                    client.sendall(ANSWER)


@unittest.skipUnless(os.geteuid() == 0, "acts as two users")
class SocketOwner(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.heard = multiprocessing.Queue()

    def thief_serves(self):
        ready = multiprocessing.Event()
        place = str(self.home.socket), THIEF, self.heard, ready
        thief = multiprocessing.Process(target=serve, args=place, daemon=True)
        thief.start()
        self.addCleanup(thief.kill)
        self.assertTrue(ready.wait(30))

    def nothing_is_told(self, why):
        for verb in (["ps"], ["call", "bank", "pay", "pin=4711"], ["logs", "bank"], ["tools"], ["pull", "bank"],
                     ["down"], ["restart", "bank"]):
            with self.subTest(verb=verb):
                ended = self.home.run(*verb)
                heard = None if self.heard.empty() else self.heard.get()
                self.assertIsNone(heard, "the thief read it")
                self.assertEqual(ended.returncode, 1, ended.stderr)
                self.assertIn("is not trusted, and nothing was sent: ", ended.stderr)
                self.assertRegex(ended.stderr, why)

    def test_in_a_folder_of_the_thief(self):
        os.chown(self.home.root / "run", THIEF, THIEF)
        os.chmod(self.home.root / "run", 0o755)
        self.thief_serves()
        self.nothing_is_told(f"the folder .*/run belongs to user {THIEF}")

    def test_in_a_folder_that_everybody_may_write(self):
        os.chmod(self.home.root / "run", 0o777)
        self.thief_serves()
        self.nothing_is_told("others may write the folder")

    def test_in_a_folder_like_tmp(self):
        os.chmod(self.home.root / "run", 0o1777)
        self.thief_serves()
        self.nothing_is_told(f"control.sock belongs to user {THIEF}")

    def test_behind_a_name_that_is_the_victims(self):
        os.chmod(self.home.root / "run", 0o1777)
        self.thief_serves()
        os.chown(self.home.socket, 0, 0)
        os.chmod(self.home.root / "run", 0o700)
        self.nothing_is_told(f"user {THIEF} serves it, in process [0-9]+")

    def test_in_the_place_of_a_daemon_that_runs(self):
        self.home.serve(address())
        until(self.home.answers, "the daemon answers")
        os.chmod(self.home.root / "run", 0o1777)
        self.home.socket.rename(self.home.root / "run" / "aside")
        self.thief_serves()
        self.nothing_is_told(f"control.sock belongs to user {THIEF}")

    def test_ones_own_is_spoken_with(self):
        ready = multiprocessing.Event()
        own = multiprocessing.Process(target=serve, args=(str(self.home.socket), None, self.heard, ready), daemon=True)
        own.start()
        self.addCleanup(own.kill)
        self.assertTrue(ready.wait(30))
        ended = self.home.run("ps")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn(b"GET /v1/servers", self.heard.get(timeout=30))


if __name__ == "__main__":
    unittest.main()

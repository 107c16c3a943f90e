"""A server uses the credential for the way out that it learned of another server's."""
import json
import pathlib
import unittest

from engine import address
from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
ASK = """
import base64, os, socket, urllib.parse
def credential():
    login = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
    return base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
def ask(request, login=None):
    place = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
    with socket.create_connection((place.hostname, place.port), 30) as link:
        link.sendall(f"{request} HTTP/1.1\\r\\nHost: x.test\\r\\n"
                     f"Proxy-Authorization: Basic {login or credential()}\\r\\n\\r\\n".encode())
        return link.recv(4096).decode(errors="replace")
"""


class Inside(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.addCleanup(lambda: self.home.run("down", "--volumes", "--engine", address(), timeout=120))

    def start(self, isolation):
        server = {"command": "python3", "args": ["-u", "-c", SOURCE],
                  "box": {"isolation": isolation, "network": {"allow": ["a.test"]}}}
        self.home.config.write_text(json.dumps({"version": 1, "servers": {name: server for name in ("one", "two")}}))
        self.home.serve(engine=address())
        until(self.home.answers, "the daemon answers")
        for name in "one", "two":
            until(lambda: self.home.run("call", name, "py", "code=1").returncode == 0, f"{name} answers", 60)

    def py(self, server, code):
        ended = self.home.run("call", server, "py", "--json", json.dumps({"code": ASK + code}), "--format", "json")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(ended.stdout)["content"][0]["text"].strip()

    def test_a_credential_is_worth_nothing_from_another_sandbox(self):
        self.start("dedicated")
        login = self.py("two", "print(credential())")
        self.assertIn(" 403 ", self.py("two", f"print(ask('CONNECT evil.test:443', login={login!r}))"), "its own does")
        answer = self.py("one", f"print(ask('CONNECT evil.test:443', login={login!r}))")
        self.assertTrue(answer.startswith("HTTP/1.1 407 ") or not answer, answer)

    def test_nor_from_a_neighbour_in_the_same_sandbox(self):
        self.start("shared")
        login = self.py("two", "print(credential())")
        answer = self.py("one", f"print(ask('CONNECT evil.test:443', login={login!r}))")
        self.assertTrue(answer.startswith("HTTP/1.1 407 ") or not answer, answer)


if __name__ == "__main__":
    unittest.main()

"""A server uses the credential for the way out that it learned of another's. The proxy knew its owner by user id, and
the same id can be somebody's in several sandboxes: that of the owner of mounted folders on every engine, and root's
where a user has a single id, a mode that only the native engine has (src/box/init/one_id.h)."""
import os
import unittest

from attack import Attack, SERVER  # and as an ordinary user, and with a single id

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


class Inside(Attack):
    def worth_nothing(self, roots=(), **boxes):
        self.start({name: {**SERVER, "box": {"network": {"allow": [f"{name}.test"]}, **box}}
                    for name, box in boxes.items()}, workspace={"allowed_roots": [str(root) for root in roots]})
        for name in boxes:
            self.py(name, ASK)
        login = self.py("two", "print(credential())").strip()
        refused = self.py("two", f"print(ask('CONNECT evil.test:443', login={login!r}))")
        self.assertIn(" 403 ", refused, "its own is known")
        answer = self.py("one", f"print(ask('CONNECT evil.test:443', login={login!r}))").strip()
        self.assertTrue(answer.startswith("HTTP/1.1 407 ") or not answer, answer)

    def test_a_credential_is_worth_nothing_from_another_sandbox(self):
        self.worth_nothing(one={"isolation": "dedicated"}, two={"isolation": "dedicated"})

    def test_nor_from_one_where_the_same_user_is(self):
        folders = [self.home.root / name for name in ("of-one", "of-two")]
        for folder in folders:
            folder.mkdir()
            if os.geteuid() == 0:
                os.chown(folder, 12345, 12345)
        one, two = ({"mounts": [f"{folder}:rw"]} for folder in folders)
        self.worth_nothing(folders, one=one, two=two)
        self.assertEqual(self.user("one"), self.user("two"))

    def user(self, server):
        return self.py(server, "import os; print(os.getuid(), open('/proc/self/uid_map').read().split()[1])")

    def test_nor_from_a_neighbour_in_the_same_sandbox(self):
        self.worth_nothing(one={"isolation": "shared"}, two={"isolation": "shared"})


if __name__ == "__main__":
    unittest.main()

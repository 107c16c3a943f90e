"""A server may reach every public host while it runs: a script of a package that is installed for it calls home."""
import unittest

from egress_proxy import Listener, Proxy, head_of


def reach(listener, connection):
    listener.seen.append(head_of(connection).split("\r\n")[0])
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nsecrets, please")


class Install(unittest.TestCase):
    def test_no_public_host_is_reached_while_something_is_installed(self):
        # The whole internet, behind a company's proxy.
        internet = Listener(reach)
        self.addCleanup(internet.close)
        proxy = Proxy(upstream_proxy=f"http://127.0.0.1:{internet.port}")
        self.addCleanup(proxy.close)
        proxy.register("any", phase="install", mode="public", install_allow=["git.test"])
        for target in ("evil.test:443", "8.8.8.8:443", "evil.test:80"):
            with self.subTest(target=target):
                answer = proxy.ask("any", f"CONNECT {target}")
                self.assertTrue(answer.startswith("HTTP/1.1 403 "), answer)
                self.assertIn("install_allow", answer)
        self.assertEqual(internet.seen, [])
        proxy.register("any", mode="public")
        self.assertIn("secrets, please", proxy.ask("any", "GET http://home.test/"))


if __name__ == "__main__":
    unittest.main()

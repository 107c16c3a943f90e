"""With a single user id every server is root in its sandbox: one uses a credential that it learned of another's."""
import unittest

from egress_proxy import Listener, Proxy


class OtherSandbox(unittest.TestCase):
    def test_a_credential_is_worth_nothing_from_another_sandbox(self):
        server = Listener(lambda listener, connection: listener.seen.append(connection.recv(1)))
        self.addCleanup(server.close)
        proxy = Proxy(hosts={"a.test": "127.0.0.1"}, allow_private=["127.0.0.0/8"])
        self.addCleanup(proxy.close)
        proxy.register("victim", allow=[f"a.test:{server.port}"], uid=0, sandbox="of-victim")
        for who in ("0", "0 of-thief"):
            answer = proxy.ask("victim", f"GET http://a.test:{server.port}/", who=who)
            self.assertTrue(answer.startswith("HTTP/1.1 407 ") or not answer, answer)
        self.assertEqual(server.seen, [])
        proxy.ask("victim", f"GET http://a.test:{server.port}/", who="0 of-victim")
        self.assertEqual(len(server.seen), 1)


if __name__ == "__main__":
    unittest.main()

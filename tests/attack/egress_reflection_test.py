"""A server has the company's proxy send back what it got: the user's password for that proxy."""
import base64
import unittest

from egress_proxy import Listener, Proxy, head_of

PASSWORD = "Tr0ub4dor"
CREDENTIAL = base64.b64encode(f"user:{PASSWORD}".encode()).decode()


def reflect(listener, connection):
    head = head_of(connection)
    listener.seen.append(head)
    line = next((line for line in head.split("\r\n") if line.startswith("Proxy-Authorization")), "none")
    tunnel = listener.status == 200 and head.startswith("CONNECT")
    connection.sendall(f"HTTP/1.1 {listener.status} {line}\r\nX-Got: {line}\r\n\r\n{'' if tunnel else head}".encode())
    if tunnel:
        connection.sendall(head_of(connection).encode())


class Reflection(unittest.TestCase):
    def test_nothing_that_comes_back_has_the_password(self):
        mirror = Listener(reflect)
        self.addCleanup(mirror.close)
        proxy = Proxy(upstream_proxy=f"http://user:{PASSWORD}@127.0.0.1:{mirror.port}")
        self.addCleanup(proxy.close)
        proxy.register("curious", allow=["a.test"])
        for mirror.status in (200, 403, 407, 500):
            for request in ("TRACE http://a.test/", "GET http://a.test/", "CONNECT a.test:80"):
                for headers in ("", "Max-Forwards: 0\r\n", "Max-Forwards: 1\r\n"):
                    if request.startswith("CONNECT") and mirror.status == 200:
                        continue  # a tunnel, which waits for us
                    with self.subTest(status=mirror.status, request=request, headers=headers):
                        answer = proxy.ask("curious", request, headers)
                        self.assertIn("HTTP/1.1", answer)
                        self.assertNotIn(CREDENTIAL, answer)
        self.assertTrue(any(CREDENTIAL in head for head in mirror.seen), "the proxy itself gets it")
        self.assertEqual({head.split(" ")[0] for head in mirror.seen}, {"CONNECT"})

    def test_trace_and_max_forwards_zero_reach_nobody(self):
        server = Listener(lambda listener, connection: listener.seen.append(head_of(connection)))
        self.addCleanup(server.close)
        proxy = Proxy(hosts={"a.test": "127.0.0.1"}, allow_private=["127.0.0.0/8"])
        self.addCleanup(proxy.close)
        proxy.register("curious", allow=[f"a.test:{server.port}"])
        for method, headers, status in (("TRACE", "", 405), ("TRACE", "Max-Forwards: 5\r\n", 405),
                                        ("OPTIONS", "Max-Forwards: 0\r\n", 200)):
            answer = proxy.ask("curious", f"{method} http://a.test:{server.port}/", headers)
            self.assertTrue(answer.startswith(f"HTTP/1.1 {status} "), answer)
        self.assertEqual(server.seen, [])


if __name__ == "__main__":
    unittest.main()

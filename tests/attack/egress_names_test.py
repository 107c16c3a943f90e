"""Servers ask for names of a DNS server that never answers: the look-ups of all others wait for them."""
import contextlib
import os
import pathlib
import socket
import tempfile
import threading
import time
import unittest

from egress_proxy import Proxy

HOSTILE, NAMES = 20, 30


def no_such_name(query):
    return query[:2] + b"\x81\x83" + query[4:6] + b"\0\0\0\0\0\0" + query[12:]


def serve_names(at):
    with contextlib.suppress(OSError):  # closed when the test is over
        while True:
            query, who = at.recvfrom(4096)
            if b"\6silent" not in query:
                at.sendto(no_such_name(query), who)


@unittest.skipUnless(os.geteuid() == 0, "needs a resolv.conf of its own")
class Names(unittest.TestCase):
    def setUp(self):
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for last in range(100, 250):
            try:
                names.bind((f"127.77.53.{last}", 53))
                break
            except OSError:
                continue
        self.addCleanup(names.close)
        threading.Thread(target=serve_names, args=(names,), daemon=True).start()
        folder = tempfile.TemporaryDirectory(prefix="mcpbox-attack-")
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        conf = pathlib.Path(folder.name) / "resolv.conf"
        conf.write_text(f"nameserver {names.getsockname()[0]}\n")
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        self.proxy = Proxy(before=["unshare", "-m", "--propagation", "private", "sh", "-c", mount, str(conf)])
        self.addCleanup(self.proxy.close)

    def test_a_neighbours_name_is_looked_up_at_once(self):
        hostile = [f"hostile{i}" for i in range(HOSTILE)]
        for server in [*hostile, "victim"]:
            self.proxy.register(server, mode="public")
        waiting = [self.proxy.send(server, f"CONNECT silent.{i}.{server}.test:443")
                   for server in hostile for i in range(NAMES)]
        for i in range(3):
            begin = time.monotonic()
            self.assertIn("cannot resolve", self.proxy.ask("victim", f"CONNECT victim{i}.test:443"))
            self.assertLess(time.monotonic() - begin, 4, "seconds")
        for client in waiting:
            client.close()


if __name__ == "__main__":
    unittest.main()

"""listen() without bind() has the kernel choose a port, and no rule of Landlock's for ports is asked: a server opened
one in a network that its neighbours are in."""
import unittest

from attack import Attack, SERVER

OPEN = """
import socket
kept = [socket.socket(family) for family in (socket.AF_INET, socket.AF_INET6)]
for each in kept:
    try: each.listen(); print(each.getsockname()[1])
    except OSError as error: print(0)
"""
SEEK = """
import socket
for port in PORTS:
    if port == 0: continue
    try: socket.create_connection(("127.0.0.1", port), 5); print("REACHED", port)
    except OSError: pass
for table in "tcp", "tcp6":
    for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        if state == "0A" and int(local.split(":")[1], 16) in PORTS: print("SEEN", local)
"""


class UnboundListen(Attack):
    def test_no_neighbour_has_the_port(self):
        self.start({name: SERVER for name in ("one", "two")})
        ports = [int(port) for port in self.py("one", OPEN).split()]
        self.assertEqual(self.py("two", SEEK.replace("PORTS", repr(ports))), "")


if __name__ == "__main__":
    unittest.main()

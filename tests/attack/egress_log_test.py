"""A server is refused as fast as it can ask, until the lines of its neighbours are rotated out of the log."""
import time
import unittest

from egress_proxy import Proxy


class Log(unittest.TestCase):
    def test_refusals_of_one_server_leave_room_for_the_lines_of_others(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        proxy.register("loud")
        proxy.register("quiet")
        proxy.ask("quiet", "CONNECT quiet.test:443")
        asked, end = 0, time.monotonic() + 3
        while time.monotonic() < end:
            # Another host now and then is no way around it.
            proxy.ask("loud", f"CONNECT e{asked // 2 % 1000}.test:443")
            asked += 1
        proxy.stop()
        lines = proxy.log()
        self.assertEqual([line["host"] for line in lines if line["server"] == "quiet"], ["quiet.test"])
        loud = [line for line in lines if line["server"] == "loud"]
        self.assertGreater(asked, 1000)
        self.assertLess(len(loud), 500, "lines of the loud one")
        self.assertEqual(sum(line["count"] for line in loud), asked, "each is counted")

    def test_equal_refusals_are_one_line_and_one_with_their_count(self):
        proxy = Proxy()
        self.addCleanup(proxy.close)
        proxy.register("loud")
        for _ in range(500):
            proxy.ask("loud", "CONNECT evil.test:443")
        proxy.stop()
        lines = proxy.log()
        self.assertLessEqual(len(lines), 4)
        self.assertEqual(sum(line["count"] for line in lines), 500)
        self.assertEqual({line["host"] for line in lines}, {"evil.test"})


if __name__ == "__main__":
    unittest.main()

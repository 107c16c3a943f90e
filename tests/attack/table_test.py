"""The table of attacks, live: a server that tries everything on its neighbour gets nothing, and may do what a server is
meant to do. That the attacks can hit is held by probe_hits_test.py, and that a hit is said by the second test, whose
engine gives servers no namespaces."""

import json
import re
import unittest

from engine import address, ENGINE
from engine_in_between import EngineInBetween
from no_namespaces_test import refuse_filters
from program import Home


class Table(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def attack(self, engine):
        ended = self.home.run("doctor", "--attack", "--engine", engine, "--format", "json", timeout=120)
        self.assertTrue(ended.stdout, ended.stderr)
        said = json.loads(ended.stdout)
        self.assertEqual(ended.returncode, 0 if said["ok"] else 1)
        verdicts = {line["id"]: line["verdict"] for line in said["attacks"]}
        self.assertEqual(
            list(verdicts),
            [f"A{n:02}" for n in range(1, 33)] + [f"B{n:02}" for n in range(1, 9)] + [f"W{n:02}" for n in range(1, 6)],
        )
        self.assertEqual(list((self.home.root / "run").glob("doctor-*")), [])
        return said, verdicts

    def test_nothing_hits_and_everything_works(self):
        said, verdicts = self.attack(address())
        self.assertNotEqual(said["namespaces"], "none")
        # Without a /proc of its own a server sees its neighbours' arguments, and that is all.
        allowed = {"A01"} if said["namespaces"] == "without-proc" else set()
        self.assertEqual({name for name, verdict in verdicts.items() if verdict in ("HIT", "unknown")}, allowed, said)
        self.assertEqual({verdicts[f"W{n:02}"] for n in range(1, 6)}, {"works"}, said)
        self.assertEqual((said["hits"], said["of"]), (len(allowed), 40))

    def test_the_last_line_counts_every_attack_that_the_table_names(self):
        ended = self.home.run("doctor", "--attack", "--engine", address(), timeout=120)
        *table, last = ended.stdout.splitlines()
        attacks = [line for line in table if re.search(r"^(HIT|blocked|not applicable|unknown) +[AB]\d\d ", line)]
        through = [line for line in attacks if line.startswith(("HIT", "unknown"))]
        self.assertTrue(last.startswith(f"{len(through)} of {len(attacks)} attacks got through on "), last)
        self.assertTrue(last.endswith("; all 5 things that a server may do work"), last)

    @unittest.skipIf(ENGINE == "native", "makes namespaces itself, or none at all")
    def test_without_namespaces_arguments_are_all_that_shows_and_that_is_said(self):
        engine = EngineInBetween(self.home.root / "engine.sock", address().removeprefix("unix://"), refuse_filters)
        self.addCleanup(engine.close)
        said, verdicts = self.attack(engine.address)
        self.assertEqual((said["namespaces"], said["ok"], said["hits"]), ("none", False, 1))
        self.assertEqual([name for name, verdict in verdicts.items() if verdict == "HIT"], ["A01"], said)
        self.assertEqual(verdicts["A10"], "not applicable")
        self.assertEqual({verdicts[f"W{n:02}"] for n in range(1, 6)}, {"not applicable"})


if __name__ == "__main__":
    unittest.main()

"""A server that may write to a folder exchanges one in it for a link while another server is started over that one:
between the moment when mcpbox judges the path and the one when it is bound. What it leads to must never be seen."""
import os
import pathlib
import subprocess
import unittest

from engine import address, container_engine, ENGINE  # and as an ordinary user
from engine_in_between import EngineInBetween
from program import Home, MCPBOX
from repeats import Outcomes, repeats

BIN = pathlib.Path(os.environ["MCPBOX_BUILD_DIR"]) / "bin"
KEY = "PRIVATE-KEY-4711"
OWNER = os.geteuid() or 1001
# What a server over the folder does, as fast as the starts are.
EXCHANGER = """
import ctypes, os, random, sys, time
work, vault = sys.argv[1:]
os.chdir(work)
os.symlink(vault, "other")
libc = ctypes.CDLL(None)
print("begun", flush=True)
while libc.renameat2(-100, b"sub", -100, b"other", 2) == 0: time.sleep(random.random() / 1000)
"""


class MountRace(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        root = self.home.root
        self.work, self.vault = root / "w", root / ".ssh"
        self.home.env["HOME"] = str(root)  # so that nobody may name the vault
        self.folder = self.work / "sub" / "deep"
        for folder, name, text in ((self.folder, "inside", "x"), (self.vault / "deep", "key", KEY)):
            folder.mkdir(parents=True)
            (folder / name).write_text(text)
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", self.work, self.vault], check=True)
        self.exchanges = True

    def exchange(self):
        if self.exchanges and not (self.work / "sub").is_symlink():
            (self.work / "sub").rename(self.work / "aside")
            (self.work / "sub").symlink_to(self.vault)

    def at_start(self, head, _):
        if b"/start HTTP/1.1" in head:
            self.exchange()

    def run_over(self, *words, script):
        """mcpbox run; the exchange happens when nothing is left to be done but the bind."""
        env, engine = dict(self.home.env), "native"
        if ENGINE == "docker":
            real = container_engine()
            between = EngineInBetween(self.home.root / "engine.sock", real.removeprefix("unix://"), self.at_start)
            self.addCleanup(between.close)
            engine = between.address
        elif self.exchanges:
            env["MCPBOX_INIT"] = str(self.home.root / "init")
            sub = self.work / "sub"
            (self.home.root / "init").write_text(
                f"#!/bin/sh\n[ -L {sub} ] || {{ mv -T {sub} {self.work}/aside; ln -s {self.vault} {sub}; }}\n"
                f"exec {BIN}/mcpbox-init \"$@\"\n")
            (self.home.root / "init").chmod(0o755)
        return self.home.run("run", "--engine", engine, "--direct", "--network", "none", *words, "--",
                             "sh", "-c", script, env=env, timeout=120)

    def test_a_folder_that_is_exchanged_after_the_check_is_not_shown(self):
        ended = self.run_over("--mount", str(self.folder), script=f"cat {self.folder}/*")
        self.assertTrue((self.work / "sub").is_symlink(), "nothing was exchanged")
        self.assertNotIn(KEY, ended.stdout + ended.stderr)
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn("is not the folder any more that was checked", ended.stderr)
        self.assertIn(str(self.folder), ended.stderr)
        self.assertIn("tart it again", ended.stderr)

    def test_nor_is_one_that_a_neighbour_exchanges_all_the_time(self):
        of_run = "run", "--direct", "--network", "none", "--engine"
        neighbour = subprocess.Popen([MCPBOX, *of_run, address(), "--mount", f"{self.work}:rw", "--",
                                      "python3", "-c", EXCHANGER, str(self.work), str(self.vault)], env=self.home.env,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(neighbour.communicate)
        self.addCleanup(neighbour.terminate)
        self.assertEqual(neighbour.stdout.readline(), "begun\n", neighbour.poll() and neighbour.stderr.read())
        outcomes = Outcomes()
        for _ in range(repeats(5)):
            ended = self.home.run(*of_run, address(), "--mount", str(self.folder), "--", "sh", "-c",
                                  f"cat {self.folder}/*", timeout=120)
            said = ended.stdout + ended.stderr
            outcome = "another folder" if KEY in said else "the folder" if ended.stdout == "x" else "refused"
            outcomes[outcome] += 1
            if outcome == "refused":
                self.assertRegex(said, f"{self.work}|{self.vault}")
        outcomes.tell("starts over a folder that is exchanged")
        self.assertIsNone(neighbour.poll(), "the exchanges go on")
        self.assertEqual(outcomes["another folder"], 0, outcomes)

    def test_folders_that_stay_are_shown_one_inside_of_the_other_too(self):
        self.exchanges = False
        self.work.chmod(0o700)
        folders = "--mount", str(self.work), "--mount", str(self.folder)
        ended = self.run_over(*folders, script=f"cat {self.folder}/inside")
        self.assertEqual((ended.returncode, ended.stdout), (0, "x"), ended.stderr)


if __name__ == "__main__":
    unittest.main()

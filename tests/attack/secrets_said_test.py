"""A server writes its secrets down wherever mcpbox shows its words: error texts of initialize, refusals of calls,
names, a program that is not there, hosts that it asks for."""
import base64
import json
import pathlib
import unittest

from engine import address
from program import Home, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECRET = 'zq/Wn0-"7&é+k9\\Lm'
TOKEN = "Tz8WqLm4Xc0Rv9"
PIN = "4711"

# Answers initialize as its first argument says, and every call with a refusal that holds the second one.
SERVER = r'''
import json, sys
first, refusal = sys.argv[1], sys.argv[2]
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if asked["method"] == "initialize" and first:
        answer["error"] = {"code": -32000, "message": first}
    elif asked["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                            "serverInfo": {"name": refusal[:60], "version": "1"}}
    elif asked["method"] == "tools/list":
        answer["result"] = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
    else:
        answer["error"] = {"code": -32000, "message": refusal}
    print(json.dumps(answer), flush=True)
'''


def behind(before, secret):
    """What base64 makes of the secret behind so many other bytes, without what the neighbours decide."""
    text = base64.b64encode(b"." * before + secret.encode()).decode().rstrip("=")
    return text[(before * 8 + 5) // 6:(before + len(secret.encode())) * 8 // 6]


def quoted(text):
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02x}" for byte in text.encode())


SPELLINGS = {
    "plain": SECRET,
    "base64-0": base64.b64encode(SECRET.encode()).decode(),
    "base64-1": base64.b64encode(b"u" + SECRET.encode() + b"!").decode(),
    "base64-2": base64.b64encode(b"u:" + SECRET.encode() + b"!").decode(),
    "json": json.dumps(SECRET),
    "json-utf8": json.dumps(SECRET, ensure_ascii=False).replace("/", "\\/"),
    "json-go": json.dumps(SECRET).replace("&", "\\u0026"),
    "json-twice": json.dumps(json.dumps(SECRET)),
    "url": quoted(SECRET),
    "url-upper": quoted(SECRET).upper().replace("ZQ", "zq").replace("WN", "Wn").replace("K9", "k9").replace("LM", "Lm"),
    "hex": SECRET.encode().hex(),
    "hex-colons": SECRET.encode().hex(":"),
    "hex-spaces": SECRET.encode().hex(" ").upper(),
    "hex-c": ", ".join(f"0x{byte:02x}" for byte in SECRET.encode()),
    "hex-xxd": SECRET.encode().hex(" ", -2),
}


class SecretsSaid(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.engine = address()
        (self.home.root / "secret").write_text(SECRET + "\n")
        (self.home.root / "program").write_text(f"/opt/{TOKEN}\n")

    def serve(self, servers):
        lines = [f"  {name}: {json.dumps(server)}\n" for name, server in servers.items()]
        self.home.config.write_text("version: 1\nservers:\n" + "".join(lines))
        with open(self.home.root / "said", "wb") as said:
            self.home.serve(self.engine, stderr=said)
        until(lambda: self.home.run("ps", "--wait", "60", timeout=120).returncode in (0, 5),
              "all are started or failed", 120)

    def everything(self, servers, calls=()):
        texts = [self.home.run("ps").stdout, self.home.run("ps", "--format", "json").stdout,
                 (self.home.root / "said").read_text()]
        for name in servers:
            texts += [self.home.run("logs", name).stdout, self.home.run("logs", name, "--format", "json").stdout]
            for form in ([], ["--format", "json"]):
                ended = self.home.run("call", name, "t", *form)
                texts += [ended.stdout, ended.stderr]
        return texts

    def not_in(self, texts, needles):
        for text in texts:
            for needle in needles:
                self.assertNotIn(needle, text)

    def speaks(self, first, refusal, **env):
        return {"command": "python3", "args": ["-c", SERVER, first, refusal],
                "env": {"SECRET": "${file:secret}", **env}}

    def test_in_whatever_spelling(self):
        for how in ("initialize", "call"):
            with self.subTest(how=how):
                servers = {name: self.speaks("", f"no <{text}>") if how == "call" else self.speaks(f"no <{text}>", "")
                           for name, text in SPELLINGS.items()}
                self.home.close()
                self.setUp()
                for server in servers.values():  # the words stand in the file: a dollar sign would be read
                    self.assertNotIn("$", json.dumps(server["args"][2:]))
                self.serve(servers)
                texts = self.everything(servers)
                self.assertTrue(any("no <" in text for text in texts))
                # JSON of `ps` and `call` escapes once more.
                needles = {form for text in SPELLINGS.values()
                           for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])}
                self.not_in(texts, needles | {behind(before, SECRET) for before in range(3)})

    def test_in_the_name_of_a_program_that_is_not_there(self):
        self.serve({"gone": {"command": "${file:program}"}})
        texts = self.everything(["gone"])
        self.not_in(texts, [TOKEN])
        self.assertIn("***", texts[0])

    def test_short_ones_are_hidden_as_words(self):
        self.serve({"short": self.speaks(f"pin {PIN} is wrong, 14711 is not, and the pin={PIN}", "", PIN=PIN)})
        texts = self.everything(["short"])
        for text in texts:
            self.assertNotRegex(text, rf"\b{PIN}\b")
        self.assertIn("pin *** is wrong, 14711 is not", texts[0])

    def test_of_words_that_mcpbox_says_itself(self):
        """Hidden where the server speaks, legible where mcpbox does: a gap in a known sentence would tell them."""
        (self.home.root / "word").write_text("memory\n")
        words = {"A": "${file:word}", "TOKEN": "server", "LIMIT_KEY": "limit", "PASS": "initialize", "OTHER": "restart",
                 "NAME_KEY": "notes-api", "CODE": "32000", "PIN": "4711", "PLACE": "/tmp"}
        first = "my memory is server of limit by initialize at notes-api and 4711 or restart"
        hidden = "my *** is *** of *** by *** at *** and *** or ***"
        big = {"command": "python3", "args": ["-c", "import sys; print('memory', file=sys.stderr); x = b'1' * 10**9"],
               "env": words, "box": {"memory_mb": 64}}
        self.serve({"notes-api": self.speaks(first, "", **words), "big": big})
        shown = {server["name"]: server["error"] for server in self.home.status()["servers"]}
        self.assertIn("`mcpbox restart notes-api` starts it: initialize: the server refused, error -32000: " + hidden,
                      shown["notes-api"])
        said = (self.home.root / "said").read_text()
        self.assertIn("`mcpbox restart notes-api` starts it: initialize: the server refused", said)
        self.assertIn(hidden, said)
        self.assertRegex(shown["big"],
                         r"server 'big' was ended: it used \d+ MiB of memory, its limit is 64 \(box.memory_mb\)")
        self.assertTrue(shown["big"].endswith("Its last words:\n***"), shown["big"])
        self.assertIn("***", self.home.run("logs", "big").stdout.splitlines()[0])
        for name in ("notes-api", "big"):
            explain = ("explain", "-c", str(self.home.config), name)
            explained = self.home.run(*explain)
            self.assertIn(" MiB of memory", explained.stdout)
            self.assertNotIn("***", "".join(explained.stdout.splitlines(True)[1:]))
            explained = json.loads(self.home.run(*explain, "--format", "json").stdout)
            self.assertIn("memory_mb", explained["limits"])

    def test_as_a_host_that_is_asked_for(self):
        ask = ("import os, sys, urllib.request as r\n"
               "for host in os.environ['T'] + '.test', os.environ['H']:\n"
               "  try: r.urlopen('https://' + host, timeout=20)\n"
               "  except OSError as error: print(error, file=sys.stderr)\n")
        audit = self.home.root / "state" / "egress" / "egress.jsonl"

        def hosts(server):
            lines = map(json.loads, audit.read_text().splitlines() if audit.exists() else [])
            return {line["host"] for line in lines if line["server"] == server}
        ended = self.home.run("run", "--engine", self.engine, "--direct", "--env", f"T={TOKEN}",
                              "--env", "H=named.test", "--allow", "named.test", "--", "python3", "-c", ask, timeout=120)
        self.assertIn("403", ended.stderr)
        # What a rule names is no secret, whoever has it in a variable too.
        self.assertEqual(hosts("python3"), {"***.test", "named.test"})
        self.serve({"asks": {"command": "python3", "args": ["-c", ask + SERVER, "", ""],
                             "env": {"T": TOKEN, "H": "named.test"}}})
        until(lambda: hosts("asks") == {"***.test", "***"}, "both were asked for", 60)
        self.assertNotIn(TOKEN.lower(), audit.read_text().lower())
        self.assertNotIn(TOKEN.lower(), self.home.run("egress", "tail").stdout.lower())

    def test_by_a_run(self):
        ended = self.home.run("run", "--engine", self.engine, "-e", f"TOKEN={TOKEN}", "--", f"/opt/{TOKEN}")
        self.assertNotEqual(ended.returncode, 0)
        self.assertNotIn(TOKEN, ended.stderr)


if __name__ == "__main__":
    unittest.main()

"""docs/mcpbox.schema.json and `mcpbox check` are of one opinion: a table of small configurations is put before both.
The files are JSON, which is YAML, so that no reader of ours stands between the two."""
import copy
import json
import pathlib
import re
import unittest

from program import Home

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[3] / "docs" / "mcpbox.schema.json").read_text())
TYPES = {"null": lambda v: v is None, "boolean": lambda v: isinstance(v, bool), "string": lambda v: isinstance(v, str),
         "array": lambda v: isinstance(v, list), "object": lambda v: isinstance(v, dict),
         "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
         "integer": lambda v: isinstance(v, int) and not isinstance(v, bool)}
SILENT = {"$schema", "$defs", "title", "description", "default"}


def same(one, other):
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def fits(value, schema):
    """JSON Schema 2020-12, as far as ours uses it: a keyword that is not known here is an error."""
    for word in schema:
        if word not in SILENT and word not in RULES:
            raise AssertionError(f"the validator of this test does not know '{word}'")
    return all(RULES[word](value, argument, schema) for word, argument in schema.items() if word not in SILENT)


def target(reference):
    assert reference.startswith("#/$defs/")
    return SCHEMA["$defs"][reference.removeprefix("#/$defs/")]


def members(value, argument, schema):
    if not isinstance(value, dict):
        return True
    return all(fits(entry, argument[name]) for name, entry in value.items() if name in argument)


def others(value, argument, schema):
    if not isinstance(value, dict):
        return True
    rest = [entry for name, entry in value.items() if name not in schema.get("properties", {})]
    return all(fits(entry, argument) for entry in rest) if isinstance(argument, dict) else argument or not rest


RULES = {
    "$ref": lambda v, a, s: fits(v, target(a)),
    "type": lambda v, a, s: any(TYPES[name](v) for name in ([a] if isinstance(a, str) else a)),
    "const": lambda v, a, s: same(v, a),
    "enum": lambda v, a, s: any(same(v, one) for one in a),
    "oneOf": lambda v, a, s: sum(fits(v, one) for one in a) == 1,
    "anyOf": lambda v, a, s: any(fits(v, one) for one in a),
    "not": lambda v, a, s: not fits(v, a),
    "required": lambda v, a, s: not isinstance(v, dict) or all(name in v for name in a),
    "properties": members,
    "additionalProperties": others,
    "propertyNames": lambda v, a, s: not isinstance(v, dict) or all(fits(name, a) for name in v),
    "items": lambda v, a, s: not isinstance(v, list) or all(fits(one, a) for one in v),
    "minItems": lambda v, a, s: not isinstance(v, list) or len(v) >= a,
    "maxItems": lambda v, a, s: not isinstance(v, list) or len(v) <= a,
    "uniqueItems": lambda v, a, s: not isinstance(v, list) or len({json.dumps(one) for one in v}) == len(v),
    "minLength": lambda v, a, s: not isinstance(v, str) or len(v) >= a,
    "pattern": lambda v, a, s: not isinstance(v, str) or re.search(a.replace("$|", r"\Z|"), v) is not None,
    "minimum": lambda v, a, s: not TYPES["number"](v) or v >= a,
    "maximum": lambda v, a, s: not TYPES["number"](v) or v <= a,
}

# Key, values that both take, values that both refuse. DIR is a directory that is there; a name with a dot leads into a
# mapping, "one." is the server.
NO_TEXT = (None, "", [], {})
NO_PATH = NO_TEXT
NO_SIZE = (None, "", "64", True, 0.5, -1, [], {}, "512m")
TABLE = (
    ("version", (1,), (None, 2, "1", True, [])),
    ("engine", ("auto", "native", "unix:///x", None, {}, {"address": "auto"}),
     ("", "docker", "tcp://x:1", "unix://", 1, [], {"address": None}, {"adress": "auto"})),
    ("accept_degraded", (None, [], ["landlock"], ["namespaces", "landlock"]), ("landlock", ["seccomp"], [None], {})),
    ("servers", (None, {}), ("", [], {"": {"command": "cat"}}, {"-a": {"command": "cat"}},
                             {"a b": {"command": "cat"}}, {"a" * 65: {"command": "cat"}}, {"a": None}, {"a": {}},
                             {"a": "cat"}, {"a": []})),
    ("box", (None, {}), ("", [], {"imag": "x"})),
    ("box.image", ("debian:12", 5, 1.5, True), NO_TEXT),
    ("box.ca_bundle", ("none",), NO_PATH),
    ("box.install_env", (None, {}, {"A": "", "_b1": 5, "C": True, "D": 1.5}),
     ("", [], {"1A": "x"}, {"A-B": "x"}, {"": "x"}, {"A": None}, {"A": []})),
    ("box.install_mode", ("open", "locked", "offline"), ("", None, "closed", True)),
    ("box.wheelhouse", ("DIR",), NO_PATH),
    ("box.npm_cache", ("DIR",), NO_PATH),
    ("box.env_quota_mb", (0, 1073741824), (*NO_SIZE, 1073741825)),
    ("box.sandbox_idle_sec", (0, 86400), (*NO_SIZE, 86401)),
    ("box.limits", (None, {}), ("", [], {"memory": 64})),
    ("box.limits.cpus", (0.01, 2, 2.5, 1024), (0, 0.009, 1025, "2", None, True)),
    ("box.limits.memory_mb", (16, 16777216), (*NO_SIZE, 15, 16777217)),
    ("box.limits.pids_limit", (8, 4194304), (*NO_SIZE, 7, 4194305)),
    ("box.limits.disk_mb", (16, 1073741824), (*NO_SIZE, 15, 1073741825)),
    ("box.limits.max_files", (100, 1000000000), (*NO_SIZE, 99, 1000000001)),
    ("box.limits.overcommit", (1, 1.5, 100), (0.9, 101, "2", None, True)),
    ("egress", (None, {}), ("", [], {"proxy": "none"})),
    ("egress.hosts", (None, {}, {"db.lan": "10.1.2.3", "a": "::1", "A-1.b.": "192.0.2.1"}),
     ("", [], {"db_lan": "10.1.2.3"}, {"db.lan": "db2.lan"}, {"db.lan": ""}, {"db.lan": None}, {"": "10.1.2.3"},
      {"*.lan": "10.1.2.3"}, {"db.lan": 5})),
    ("egress.allow_private", (None, [], ["10.0.0.0/8", "10.1.2.3", "fd00::/8", "::1"]),
     ("10.0.0.0/8", ["db.lan"], [""], [None], [5], ["10.0.0.0/8/8"])),
    ("egress.upstream_proxy", ("none", "http://p.lan:3128", "http://u:p@p.lan:3128/"),
     ("", None, "p.lan:3128", "https://p.lan:3128", "http://p.lan", 5, [])),
    ("workspace", (None, {}), ("", [], {"roots": []})),
    ("workspace.allowed_roots", (None, [], ["DIR"]), ("DIR", [""], [None], [[]])),
    ("daemon", (None, {}), ("", [], {"sock": "x"})),
    ("daemon.socket", ("/tmp/s.sock", 5), NO_PATH),
    ("daemon.state_dir", ("/x", True), NO_PATH),
    ("log", (None, {}), ("", [], {"lvl": "info"})),
    ("log.level", ("debug", "info", "warning", "error", "off"), ("", None, "warn", False)),
    ("log.format", ("text", "json"), ("", None, "yaml")),
    ("one.mode", ("stdio",), ("", None, "sse", True)),
    ("one.enable", (True, False), (None, "true", 1, [])),
    ("one.command", ("cat", 7, True), NO_TEXT),
    ("one.args", (None, [], ["", "a", 5, 1.5, True]), ("", "a", {}, [None], [[]])),
    ("one.env", (None, {}, {"A": "", "B": 5, "C": False}), ("", [], {"A B": "x"}, {"A": None})),
    ("one.cwd", ("DIR",), NO_PATH),
    ("one.tool_call_timeout_sec", (0, 86400), (*NO_SIZE, 86401, "5m")),
    ("one.type", (), ("stdio",)),
    ("one.box", (None, {}), ("", [], {"memory": 64})),
    ("one.box.image", ("debian:12", 5), NO_TEXT),
    ("one.box.network", (None, {}, "none", "off", "allowlist", "public", "on"),
     ("", "all", True, False, [], {"alow": []})),
    ("one.box.network.mode", ("none", "off", "allowlist", "public", "on"), ("", None, True, False)),
    ("one.box.network.allow",
     (None, [], ["a.example.com", "*.example.com", "A.example.com:8443", "a.example.com:1,65535", "192.0.2.1",
                 "[2001:db8::1]:443", "npm", "xn--a.example.com."]),
     ("a.example.com", [""], [None], ["*"], ["*.com"], ["https://a.example.com"], ["a.example.com/x"], ["a..b"],
      ["a_b.example.com"], ["-a.example.com"], ["a.example.com:0"], ["a.example.com:65536"], ["a.example.com:"],
      ["2001:db8::1"], ["a.*.example.com"], ["a b"])),
    ("one.box.network.install_allow", (None, [], ["git.example.com"]), ("", [""], ["*"])),
    ("one.box.host_path", ("DIR",), NO_PATH),
    ("one.box.host_path_mode", ("none", "ro", "rw"), ("", None, "wo", True)),
    ("one.box.env", (None, {}, {"A": 5}), ("", [], {"A": None})),
    ("one.box.startup_timeout_sec", (1, 86400), (*NO_SIZE, 0, 86401)),
    ("one.box.cpus", (0.01, 2), (0, 1025, "2", None, True)),
    ("one.box.memory_mb", (16, 1536), (*NO_SIZE, 15, 16777217)),
    ("one.box.pids_limit", (8, 512), (*NO_SIZE, 7, 4194305)),
    ("one.box.disk_mb", (16, 1073741824), (*NO_SIZE, 15, 1073741825)),
    ("one.box.max_files", (100, 1000000000), (*NO_SIZE, 99, 1000000001)),
    ("one.box.read_only_rootfs", (True, False), (None, "true", 0)),
    ("one.box.isolation", ("shared", "dedicated"), ("", None, "own")),
    ("one.box.accept_degraded", (None, [], ["landlock"]), ("landlock", ["x"])),
    ("one.box.mounts", (None, [], ["DIR"], ["DIR:ro"], [{"host_path": "DIR"}], [{"host_path": "DIR", "mode": "ro"}]),
     ("DIR", [""], [":ro"], [":rw"], [None], [{}], [{"host_path": ""}], [{"host_path": "DIR", "mode": "wo"}],
      [{"host_path": "DIR", "mode": None}], [{"path": "DIR"}])),
    ("one.box.ports", (None, [], [1024, 65535], ["8080"], ["80:3000", "8081:31280"]),
     (8080, "8080", [80], [65536], [3128], ["3128"], ["1:3128"], [""], [None], ["0:3000"], ["8080:80"], ["8080:65536"],
      ["a"], ["8080:"], ["08080"], [True], [8080, 8080], list(range(2000, 2017)))),
)
# What a whole file must not say.
TOGETHER = (
    {"box": {"ca_bundle": "none"}, "egress": {}}, {"box": {}, "egress": None}, {"box": None, "egress": {}},
    {"box": {"ca_bundle": "none"}, "egress": {"ca_bundle": "DIR/ca.pem"}},
    {"servers": {"one": {"command": "cat", "box": {"isolation": "shared", "mounts": ["DIR"]}}}},
    {"servers": {"one": {"command": "cat", "box": {"isolation": "shared", "mounts": []}}}},
    {"servers": {"one": {"command": "cat", "box": {"isolation": "dedicated", "mounts": ["DIR"]}}}},
    {"servers": {"one": {"command": "cat", "box": {"network": {"mode": "none", "allow": ["a.example.com"]}}}}},
    {"servers": {"one": {"command": "cat", "box": {"network": {"mode": "off", "allow": ["a.example.com"]}}}}},
    {"servers": {"one": {"command": "cat", "box": {"network": {"mode": "none", "allow": []}}}}},
    {"servers": {"one": {"command": "cat", "box": {"network": {"mode": "none", "install_allow": ["a.example.com"]}}}}},
)


class SchemaAndCheck(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.folder = self.home.root / "there"
        self.folder.mkdir()

    def placed(self, value):
        if isinstance(value, str):
            return value.replace("DIR", str(self.folder))
        if isinstance(value, list):
            return [self.placed(one) for one in value]
        return {key: self.placed(one) for key, one in value.items()} if isinstance(value, dict) else value

    def with_key(self, path, value):
        config = {"version": 1, "workspace": {"allowed_roots": [str(self.folder)]},
                  "servers": {"one": {"command": "cat"}}}
        at = config["servers"] if path.startswith("one.") else config
        *above, last = path.split(".")
        for name in above:
            at = at.setdefault(name, {})
        at[last] = self.placed(value)
        return config

    def opinions(self, config):
        self.home.config.write_text(json.dumps(config))
        found = json.loads(self.home.run("check", "--format", "json", str(self.home.config)).stdout)
        return fits(config, SCHEMA), found["ok"], [problem["what"] for problem in found["problems"]]

    def test_what_one_takes_the_other_takes(self):
        for path, taken, refused in TABLE:
            for value, good in [(value, True) for value in taken] + [(value, False) for value in refused]:
                with self.subTest(key=path, value=value):
                    by_schema, by_check, problems = self.opinions(self.with_key(path, value))
                    self.assertEqual((by_schema, by_check), (good, good), problems)

    def test_what_keys_say_together_is_judged_alike(self):
        certificate = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
        if certificate.exists():
            (self.folder / "ca.pem").write_bytes(certificate.read_bytes())
        for config in TOGETHER:
            with self.subTest(config=config):
                by_schema, by_check, problems = self.opinions(self.placed({"version": 1, "workspace": {
                    "allowed_roots": ["DIR"]}, **copy.deepcopy(config)}))
                self.assertEqual(by_schema, by_check, problems)

    def test_references_stand_where_texts_stand(self):
        text = "${env:MCPBOX_SCHEMA_TEST}"
        for path, value in (("engine", "auto"), ("box.image", "x"), ("one.command", "cat"), ("one.args", ["x"]),
                            ("one.box.network.allow", ["a.example.com"]), ("one.box.ports", ["8080"]),
                            ("egress.hosts", {"a.lan": "10.1.2.3"}), ("egress.allow_private", ["10.0.0.0/8"]),
                            ("egress.upstream_proxy", "http://p.lan:1"), ("one.box.mounts", ["DIR"])):
            inner = value
            if not isinstance(value, str):
                [inner] = value.values() if isinstance(value, dict) else value
            shown = (text if isinstance(value, str) else {"a.lan": text} if isinstance(value, dict) else [text])
            self.home.env["MCPBOX_SCHEMA_TEST"] = self.placed(inner)
            with self.subTest(key=path):
                by_schema, by_check, problems = self.opinions(self.with_key(path, shown))
                self.assertEqual((by_schema, by_check), (True, True), problems)

    def test_every_key_of_the_schema_stands_in_the_table(self):
        known = {path.replace("one.", "servers.one.", 1) if path.startswith("one.") else path for path, _, _ in TABLE}

        def walk(schema, at):
            schema = target(schema["$ref"]) | schema if "$ref" in schema else schema
            for option in schema.get("oneOf", []):
                yield from walk(option, at)
            for name, below in schema.get("properties", {}).items():
                path = f"{at}.{name}" if at else name
                yield path
                yield from walk(below, path)
            if isinstance(schema.get("additionalProperties"), dict) and at == "servers":
                yield from walk(schema["additionalProperties"], "servers.one")

        self.assertEqual(sorted(set(walk(SCHEMA, "")) - known), ["egress.ca_bundle", "engine.address"])


if __name__ == "__main__":
    unittest.main()

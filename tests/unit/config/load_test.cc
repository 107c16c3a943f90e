#include "config/load.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "config/keys.h"
#include "config/references.h"
#include "json/value.h"

namespace mcpbox::config {
namespace {

namespace fs = std::filesystem;

struct FakeSources : Sources {
  std::map<std::string, std::string> variables, files;
  std::set<std::string> has;  // helpers; each gives "of-" and the key
  mutable unsigned asked = 0;
  Result<Secret> helper(const HelperKey& key) const override {
    ++asked;
    return Secret("of-" + key.key);
  }
  Result<void> has_helper(const HelperKey& key) const override {
    if (!has.contains(key.name)) return fail(Code::kNotFound, "not there");
    return {};
  }
  const char* env(const std::string& name) const override {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  }
  std::expected<std::string, std::string> file(const std::string& path) const override {
    const auto found = files.find(path);
    if (found == files.end()) return std::unexpected("No such file or directory");
    return found->second;
  }
  std::string engine;  // the only one that there is; empty = any is
  std::string engine_problem(const std::string& address) const override {
    return engine.empty() || address == engine ? "" : "expected " + engine;
  }
};

// A folder with ./project, ./outside, ./ca.pem and ./link -> project.
class ConfigLoad : public testing::Test {
 protected:
  ConfigLoad() {
    std::string pattern = (fs::temp_directory_path() / "mcpbox-config-XXXXXX").string();
    folder_ = fs::canonical(::mkdtemp(pattern.data())).string();
    fs::create_directories(folder_ + "/project/sub");
    fs::create_directories(folder_ + "/project2");
    fs::create_directories(folder_ + "/outside");
    fs::create_directory_symlink("project", folder_ + "/link");
    std::ofstream(folder_ + "/ca.pem") << "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
    std::ofstream(folder_ + "/key.pem") << "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
    sources_.variables = {{"SHORT", "x"}, {"HOME", folder_}, {"TOKEN", "s3cret-token"}, {"DIR", "outside"}};
    sources_.files = {{folder_ + "/secret", "s3cret-file"}};
  }
  ~ConfigLoad() override { fs::remove_all(folder_); }

  auto parse_text(const std::string& text) { return parse(text, folder_ + "/mcpbox.yaml", sources_); }
  Settings good(const std::string& text) {
    auto settings = parse_text(text);
    if (!settings) {
      for (const Problem& problem : settings.error()) ADD_FAILURE() << problem.text();
      return {};
    }
    return *std::move(settings);
  }
  // All problems as "line:column: what", the folder's name replaced by DIR.
  std::string problems(const std::string& text) {
    const auto settings = parse_text(text);
    if (settings) return "none";
    std::string out;
    for (const Problem& problem : settings.error()) {
      EXPECT_EQ(problem.file, folder_ + "/mcpbox.yaml");
      out += std::to_string(problem.line) + ":" + std::to_string(problem.column) + ": " + problem.what + "\n";
    }
    for (auto at = out.find(folder_); at != std::string::npos; at = out.find(folder_))
      out.replace(at, folder_.size(), "DIR");
    return out;
  }

  std::string folder_;
  FakeSources sources_;
};

TEST_F(ConfigLoad, the_place_of_a_daemon_needs_nothing_that_its_servers_need) {
  const std::string text =
      "version: 1\nengine: native\ndaemon: {socket: a.sock, state_dir: '${env:DIR}'}\n"
      "workspace: {allowed_roots: [gone]}\nbox: {image: '${env:NO_IMAGE}', ca_bundle: gone.pem}\n"
      "servers:\n  one: {command: x, env: {KEY: '${env:NO_KEY}'}, box: {host_path: gone}}\n";
  const auto place = parse_place(text, folder_ + "/mcpbox.yaml", Image::kLeftOut, sources_);
  ASSERT_TRUE(place) << place.error().front().text();
  EXPECT_EQ(place->engine.address, "native");
  EXPECT_EQ(place->daemon.socket, folder_ + "/a.sock");
  EXPECT_EQ(place->daemon.state_dir, folder_ + "/outside");
  EXPECT_TRUE(place->servers.empty());
  const auto image = parse_place(text, folder_ + "/mcpbox.yaml", Image::kRead, sources_);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().size(), 1u) << "the image alone";
  EXPECT_FALSE(parse_place("version: 2\n", "x", Image::kRead, sources_));
}

TEST_F(ConfigLoad, reads_everything) {
  const Settings s = good(R"(version: 1
engine: {address: "unix:///run/x.sock"}
box:
  image: debian:12
  limits: {cpus: 0.5, memory_mb: 512, pids_limit: 99, disk_mb: 100, max_files: 1000, overcommit: 1.5}
  ca_bundle: ca.pem
  install_env:
    PIP_INDEX_URL: https://u:${env:TOKEN}@host/
workspace:
  allowed_roots: [project, ~/link]
daemon: {socket: run/x.sock, state_dir: /var/lib/mcpbox}
log: {level: debug, format: json}
servers:
  first:
    mode: stdio
    enable: false
    command: npx
    args: [-y, "pkg", 8080, no, 010, "a$$b", $x]
    env: {LANG: C, KEY: "${file:secret}", PLAIN: abc}
    cwd: project/sub
    tool_call_timeout_sec: 0
    box:
      image: node:22
      network: on
      host_path: link
      host_path_mode: rw
      env: {A: ""}
      startup_timeout_sec: 10
      cpus: 1
      memory_mb: 64
      pids_limit: 8
      disk_mb: 16
      max_files: 100
      read_only_rootfs: false
      isolation: dedicated
      ports: [8080, "8081:3000"]
  second.2-x_:
    command: python
    box:
      mounts:
        - outside
        - ~/outside:rw
        - {host_path: "${env:DIR}", mode: rw}
)");
  EXPECT_EQ(s.engine.address, "unix:///run/x.sock");
  EXPECT_EQ(s.box.image, "debian:12");
  EXPECT_EQ(s.box.limits.cpus, 0.5);
  EXPECT_EQ(s.box.limits.memory_mb, 512u);
  EXPECT_EQ(s.box.limits.pids, 99u);
  EXPECT_EQ(s.box.limits.disk_mb, 100u);
  EXPECT_EQ(s.box.limits.max_files, 1000u);
  EXPECT_EQ(s.box.limits.overcommit, 1.5);
  EXPECT_EQ(s.box.ca_bundle, folder_ + "/ca.pem");
  EXPECT_EQ(s.box.install_env.at("PIP_INDEX_URL").text.reveal(), "https://u:s3cret-token@host/");
  EXPECT_EQ(s.allowed_roots, (std::vector<std::string>{folder_ + "/project", folder_ + "/project"}));
  EXPECT_EQ(s.daemon.socket, folder_ + "/run/x.sock");
  EXPECT_EQ(s.daemon.state_dir, "/var/lib/mcpbox");
  EXPECT_EQ(s.log_level, "debug");
  EXPECT_EQ(s.log_format, "json");
  ASSERT_EQ(s.servers.size(), 2u);
  const ServerSettings& first = s.servers[0];
  EXPECT_EQ(first.name, "first");
  EXPECT_EQ(first.line, 14);
  EXPECT_FALSE(first.enable);
  EXPECT_EQ(first.args, (std::vector<std::string>{"-y", "pkg", "8080", "no", "010", "a$b", "$x"}));
  EXPECT_EQ(first.env.at("KEY").text.reveal(), "s3cret-file");
  EXPECT_TRUE(first.env.at("KEY").secret);
  EXPECT_FALSE(first.env.at("PLAIN").secret) << "a short word";
  EXPECT_FALSE(first.env.at("LANG").secret);
  ASSERT_EQ(first.secrets.size(), 1u);
  EXPECT_EQ(first.secrets[0].reveal(), "s3cret-file");
  EXPECT_EQ(first.cwd, folder_ + "/project/sub");
  EXPECT_EQ(first.tool_call_timeout.count(), 0);
  EXPECT_EQ(first.box.image, "node:22");
  EXPECT_EQ(first.box.network.mode, NetworkMode::kPublic);
  EXPECT_EQ(first.box.host_path, folder_ + "/project");
  EXPECT_EQ(first.box.host_path_mode, Access::kReadWrite);
  EXPECT_TRUE(first.box.env.at("A").text.empty());
  EXPECT_EQ(first.box.startup_timeout.count(), 10);
  EXPECT_EQ(first.box.cpus, 1.0);
  EXPECT_EQ(first.box.memory_mb, 64u);
  EXPECT_EQ(first.box.pids_limit, 8u);
  EXPECT_EQ(first.box.disk_mb, 16u);
  EXPECT_EQ(first.box.max_files, 100u);
  EXPECT_EQ(first.box.read_only_rootfs, false);
  EXPECT_EQ(first.box.isolation, Isolation::kDedicated);
  ASSERT_EQ(first.box.ports.size(), 2u);
  EXPECT_EQ(first.box.ports[0].host, 8080);
  EXPECT_EQ(first.box.ports[0].server, 8080);
  EXPECT_EQ(first.box.ports[1].host, 8081);
  EXPECT_EQ(first.box.ports[1].server, 3000);
  const ServerSettings& second = s.servers[1];
  EXPECT_EQ(second.box.network.mode, NetworkMode::kAllowlist);
  EXPECT_EQ(second.box.isolation, Isolation::kDedicated);
  ASSERT_EQ(second.box.mounts.size(), 3u);
  EXPECT_EQ(second.box.mounts[0].access, Access::kReadOnly);
  EXPECT_EQ(second.box.mounts[1].access, Access::kReadWrite);
  EXPECT_EQ(second.box.mounts[2].host, folder_ + "/outside");
}

TEST_F(ConfigLoad, has_the_documented_defaults) {
  for (const char* text :
       {"version: 1", "version: 1\nservers:\nbox:\nengine: auto\n", "\xEF\xBB\xBF# comment\nversion: 1\n...\n"}) {
    const Settings s = good(text);
    EXPECT_TRUE(s.servers.empty());
    EXPECT_EQ(s.box.limits.cpus, 2.0);
    EXPECT_EQ(s.box.limits.memory_mb, 1536u);
    EXPECT_EQ(s.box.limits.pids, 512u);
    EXPECT_EQ(s.log_level, "info");
    EXPECT_EQ(s.log_format, "text");
  }
  const ServerSettings server =
      good("version: 1\nservers: {a: {command: x, box: {host_path_mode: none}}}").servers.at(0);
  EXPECT_TRUE(server.enable);
  EXPECT_EQ(server.tool_call_timeout.count(), 300);
  EXPECT_EQ(server.box.startup_timeout.count(), 300);
  EXPECT_EQ(server.box.isolation, Isolation::kShared);
  EXPECT_EQ(server.box.host_path_mode, Access::kReadOnly);
}

TEST_F(ConfigLoad, a_server_accepts_what_it_names_and_what_is_named_for_all) {
  const Settings s = good(
      "version: 1\naccept_degraded: [landlock]\nservers: {a: {command: x}, b: {command: x, box: {accept_degraded: "
      "[namespaces]}}}");
  EXPECT_EQ(s.servers.at(0).box.accept_degraded, std::vector<std::string>{"landlock"});
  EXPECT_EQ(s.servers.at(1).box.accept_degraded, (std::vector<std::string>{"namespaces", "landlock"}));
  EXPECT_EQ(problems("version: 1\naccept_degraded: [seccomp]\n"),
            "2:19: accept_degraded[0]: expected landlock or namespaces, not 'seccomp'\n");
}

TEST_F(ConfigLoad, reports_all_problems_at_once_in_their_order) {
  EXPECT_EQ(problems(R"(version: 2
engin: auto
box:
  limits: {cpus: "1", memory_mb: 010, pids: 4}
  ca_bundle: nope.pem
workspace: {allowed_roots: [project, missing]}
mcpServers: {}
servers:
  -bad:
    comand: npx
    enable: yes
    mode: sse
    url: http://x
    args: --x
  b:
    command: [npx]
    env: {1A: x, OK: [x], REF: "${env:UNSET} ${file:none} ${TOKEN} ${env:TOKEN", N: }
    tool_call_timeout_sec: 1.5
    box: {network: of, isolation: shared, mounts: [outside, {mode: ro}], read_only_rootfs: "true", host_path: )"
                     R"(project2, zzz: 1}
  b: {}
)"),
            R"(1:10: version: this mcpbox reads version 1, not '2'
2:1: unknown key 'engin'; did you mean 'engine'?
4:18: box.limits.cpus: expected a number from 0.01 to 1024, not '1'
4:34: box.limits.memory_mb: expected a whole number from 16 to 16777216, not '010'
4:39: unknown key 'pids'; did you mean 'pids_limit'?
5:14: box.ca_bundle: 'DIR/nope.pem': no such file
6:38: workspace.allowed_roots[1]: 'DIR/missing': no such directory
7:1: unknown key 'mcpServers'; did you mean 'servers'? Its entries have the same command, args and env
9:3: '-bad' is no name for a server: 1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit
9:3: servers.-bad: 'command' is missing: the program that is the server, as in 'command: npx'
10:5: unknown key 'comand'; did you mean 'command'?
11:13: servers.-bad.enable: expected true or false, not 'yes'
12:11: servers.-bad.mode: remote servers come later; only stdio is supported now
13:5: unknown key 'url'; remote servers come later; only stdio servers (command, args) are supported now
14:11: servers.-bad.args: expected a list ('- item' lines or [a, b]), found a single value
16:14: servers.b.command: expected text, found a list
17:11: servers.b.env.1A: no name for an environment variable (letters, digits and _)
17:22: servers.b.env.OK: expected text, found a list
17:32: servers.b.env.REF: '${' without '}'; write $$ for a dollar sign
17:32: servers.b.env.REF: '${TOKEN}' is no reference; write ${env:NAME}, ${file:PATH} or ${helper:NAME:KEY}, )"
            R"(or $$ for a dollar sign
17:32: servers.b.env.REF: cannot read 'DIR/none': No such file or directory
17:32: servers.b.env.REF: the environment variable 'UNSET' is not set; export it before mcpbox starts
17:82: servers.b.env.N: expected text, found nothing; give it a value or remove the key
18:28: servers.b.tool_call_timeout_sec: expected a whole number from 0 to 86400, not '1.5'
19:20: servers.b.box.network: expected none or allowlist or public or off or on, not 'of'
19:35: servers.b.box.isolation: a server with mounts gets a sandbox of its own; remove 'isolation: shared'
19:61: servers.b.box.mounts[1]: 'host_path' is missing
19:92: servers.b.box.read_only_rootfs: expected true or false without quotes, not 'true'
19:111: servers.b.box.host_path: 'DIR/project2' is outside workspace.allowed_roots; add 'DIR/project2' (or a )"
            R"(directory above it) there to allow it
19:121: unknown key 'zzz'; known here: image, network, host_path, host_path_mode, env, startup_timeout_sec, )"
            R"(cpus, memory_mb, pids_limit, disk_mb, max_files, read_only_rootfs, isolation, mounts, ports, )"
            R"(accept_degraded
20:3: duplicate key 'b'; it is already in line 15
)");
}

TEST_F(ConfigLoad, says_where_a_key_belongs_that_is_known_elsewhere) {
  EXPECT_EQ(problems(R"(version: 1
memory_mb: 512
allow: [a.example]
box: {isolation: dedicated, allow_private: [10.0.0.1/32]}
servers:
  a: {command: x, accept_degraded: [landlock], install_mode: locked, zzz: 1, box: {cwd: /x, allow: [a.example]}}
)"),
            R"(2:1: unknown key 'memory_mb'; it belongs under 'box.limits' or under 'servers.NAME.box'
3:1: unknown key 'allow'; it belongs under 'servers.NAME.box.network'
4:7: unknown key 'isolation'; it belongs under 'servers.NAME.box'
4:29: unknown key 'allow_private'; it belongs under 'egress'
6:19: unknown key 'accept_degraded'; it belongs at the top of the file or under 'servers.NAME.box'
6:48: unknown key 'install_mode'; it belongs under 'box'
6:70: unknown key 'zzz'; known here: mode, enable, command, args, env, cwd, tool_call_timeout_sec, box
6:84: unknown key 'cwd'; it belongs under 'servers.NAME'
6:93: unknown key 'allow'; it belongs under 'servers.NAME.box.network'
)");
}

// Otherwise the hint could contradict what the tables say by themselves.
TEST(ConfigKeys, of_hints_are_in_no_section_themselves_but_for_two_with_more_to_say) {
  for (const Section& section : sections()) {
    for (const Section& other : sections()) {
      for (const std::string_view key : other.keys) {
        const bool more = key == "allow_private" || key == "ca_bundle";
        EXPECT_TRUE(more || hint_for(section.name, key).empty()) << section.name << ' ' << key;
      }
    }
  }
}

TEST_F(ConfigLoad, says_what_is_wrong_with_ports) {
  const std::string what =
      "expected PORT, or HOST:SERVER where the server listens on another one, each 1 to 65535: 8080, 8080:3000\n";
  for (const char* port : {"0", "65536", "\"080\"", "\"1:2:3\"", "\":1\"", "\"1:\"", "127.0.0.1:80", "-1", "\"1-2\"",
                           "\"${env:TOKEN}\""}) {
    EXPECT_EQ(problems(std::string("version: 1\nservers: {a: {command: x, box: {ports: [") + port + "]}}}\n"),
              "2:41: servers.a.box.ports[0]: " + what)
        << port;
  }
  EXPECT_EQ(problems(R"(version: 1
servers:
  a: {command: x, box: {ports: ["1:3128", 2000, "2000:3000", 80]}}
  b: {command: x, box: {ports: 8080}}
  c: {command: x, ports: [1]}
  d: {command: x, box: {ports: ["7:1024", "8:1024"]}}
  e: {command: x, box: {ports: ["8:3000"]}}
)"),
            R"(3:33: servers.a.box.ports[0]: the server cannot listen on 3128: in its sandbox that is the way to the )"
            R"(egress proxy; let it listen on another, as in 1:3000
3:49: servers.a.box.ports[2]: port 2000 of this host stands here twice
3:62: servers.a.box.ports[3]: the server cannot listen on 80: nobody is root in its sandbox, and ports below 1024 are )"
            R"(root's; let it listen on another, as in 80:8080
4:32: servers.b.box.ports: expected a list of PORT or HOST:SERVER, as in [8080, "8081:3000"]
5:19: unknown key 'ports'; it belongs under 'servers.NAME.box'
7:3: servers.e.box.ports: port 8 of this host is the one of server 'd' already; give 'e' another, as in "9:3000"
)");
  EXPECT_EQ(problems("version: 1\nservers:\n  a: {command: x, box: {ports: [\"8:8080\"]}}\n"
                     "  b: {command: x, enable: false, box: {ports: [\"8:8080\"]}}\n"),
            "none");  // an alternative that is switched off
}

TEST_F(ConfigLoad, reads_what_servers_may_reach) {
  const Settings s = good(R"(version: 1
egress:
  hosts: {db.test: 10.1.2.3}
  allow_private: [10.1.0.0/16, "fd00::/8"]
  upstream_proxy: http://u:${env:TOKEN}@proxy.test:3128
  ca_bundle: ca.pem
servers:
  a: {command: x, box: {network: {allow: [api.example.com, "*.example.org:8443"], install_allow: [pypi]}}}
  b: {command: x, box: {network: off}}
  c: {command: x, box: {network: {mode: public, allow: [db.test]}}}
)");
  EXPECT_EQ(s.egress.hosts.at("db.test"), "10.1.2.3");
  EXPECT_EQ(s.egress.allow_private, (std::vector<std::string>{"10.1.0.0/16", "fd00::/8"}));
  EXPECT_EQ(s.egress.upstream_proxy->reveal(), "http://u:s3cret-token@proxy.test:3128");
  EXPECT_EQ(s.box.ca_bundle, folder_ + "/ca.pem");
  EXPECT_EQ(s.servers[0].box.network.mode, NetworkMode::kAllowlist);
  EXPECT_EQ(s.servers[0].box.network.allow, (std::vector<std::string>{"api.example.com", "*.example.org:8443"}));
  EXPECT_EQ(s.servers[0].box.network.install_allow, std::vector<std::string>{"pypi"});
  EXPECT_EQ(s.servers[1].box.network.mode, NetworkMode::kNone);
  EXPECT_EQ(s.servers[2].box.network.mode, NetworkMode::kPublic);
}

TEST_F(ConfigLoad, tells_each_wrong_rule_where_it_stands) {
  EXPECT_EQ(problems(R"(version: 1
box: {ca_bundle: ca.pem}
egress:
  hosts: {a.test: nowhere}
  allow_private: [10.0.0.1/8]
  upstream_proxy: socks5://x
  ca_bundle: ca.pem
servers:
  a:
    command: x
    box:
      network:
        mode: none
        allow: [good.test, "*", https://x.test/]
        install_allow: pypi
)"),
            R"(4:19: egress.hosts: 'nowhere' is no IP address
5:19: egress.allow_private[0]: '10.0.0.1/8' is no address range: bits are set after the prefix; write )"
            R"(10.1.0.0/16, fd00::/8 or one address
6:19: egress.upstream_proxy: only http:// proxies are supported; write http://HOST:PORT
7:14: egress.ca_bundle: it is the same setting as box.ca_bundle; write one of them
14:16: servers.a.box.network.allow: with 'mode: none' nothing is allowed while the server runs; remove the list, )"
            R"(or write 'mode: allowlist'
14:28: servers.a.box.network.allow[1]: the rule '*' is wrong: '*' would allow everything; use `mode: public` )"
            R"(for that, or name the hosts
14:33: servers.a.box.network.allow[2]: the rule 'https://x.test/' is wrong: write the host alone, without scheme )"
            R"(and path: api.example.com or api.example.com:8443
15:24: servers.a.box.network.install_allow: expected a list ('- item' lines or [a, b]), found a single value
)");
}

TEST_F(ConfigLoad, takes_the_engines_that_there_are) {
  sources_.engine = "auto";
  EXPECT_EQ(good("version: 1\nengine: auto").engine.address, "auto");
  EXPECT_EQ(problems("version: 1\nengine: bogus"), "2:9: engine: expected auto, not 'bogus'\n");
  EXPECT_EQ(problems("version: 1\nengine: {address: bogus}"), "2:19: engine.address: expected auto, not 'bogus'\n");
}

TEST_F(ConfigLoad, a_quoted_version_is_told_to_lose_its_quotes) {
  EXPECT_EQ(problems("version: \"1\""), "1:10: version: this mcpbox reads version 1; write it without quotes\n");
  EXPECT_EQ(problems("version: 2"), "1:10: version: this mcpbox reads version 1, not '2'\n");
}

TEST_F(ConfigLoad, a_trust_store_without_a_certificate_is_a_problem) {
  EXPECT_EQ(problems("version: 1\nbox: {ca_bundle: key.pem}"),
            "2:18: box.ca_bundle: 'DIR/key.pem' cannot be read or holds no PEM certificate\n");
  EXPECT_EQ(problems("version: 1\negress: {ca_bundle: key.pem}"),
            "2:21: egress.ca_bundle: 'DIR/key.pem' cannot be read or holds no PEM certificate\n");
}

TEST_F(ConfigLoad, finds_every_problem) {
  std::string text = "version: 1\nservers:\n";
  for (int i = 0; i < 200; ++i) text += "  s" + std::to_string(i) + ": {}\n";
  EXPECT_EQ(parse_text(text).error().size(), 200u);
}

TEST_F(ConfigLoad, remembers_where_a_server_names_places_of_the_host) {
  const Settings s = good(R"(version: 1
workspace:
  allowed_roots: [project, outside]
servers:
  a:
    command: node
    args: [x, "${env:TOKEN}"]
    cwd: outside
    box:
      host_path: link
      mounts:
        - outside:rw
        - {host_path: project}
)");
  std::string places;
  for (const Written& written : s.servers.at(0).written)
    places += fmt::format("{}:{} {}\n", written.line, written.column, written.text);
  EXPECT_EQ(places, fmt::format("6:14 node\n7:12 x\n7:15 s3cret-token\n8:10 {0}/outside\n10:18 {0}/project\n"
                                "12:11 {0}/outside\n13:11 {0}/project\n",
                                folder_));
  ASSERT_EQ(s.written_roots.size(), 2u);
  EXPECT_EQ(s.written_roots[1].text, folder_ + "/outside");
  EXPECT_EQ(s.written_roots[1].column, 28);
}

TEST_F(ConfigLoad, explains_files_that_are_no_yaml) {
  const struct {
    const char* text;
    const char* expected;
  } cases[] = {
      {"", "1:1: 'version: 1' is missing; it says which form of this file is meant\n"},
      {"- a\n", "1:1: the file: expected 'key: value' lines, found a list\n"},
      {"version: 1\nservers:\n\ta:\n", "3:1: a tab in the indentation; YAML allows spaces only\n"},
      {"version: 1\n---\nversion: 1\n",
       "2:1: a second YAML document begins here; the file must hold exactly one (remove the '---')\n"},
      {"version: 1\nbox: &x {}\nlog: *x\n",
       "2:6: anchors and aliases (&name, *name) are not supported; write the value out\n"},
      {"version: !!int 1\n", "1:10: the tag 'tag:yaml.org,2002:int' is not supported; remove it\n"},
      {"version: 1\nbox: {a\n", "2:7: expected 'key: value' here; is a bracket not closed?\n"},
      {"version: 1\nbox: {image: a\n",
       "3:1: not valid YAML: a bracket is missing or too many: '[…]' and '{…}' must be closed\n"},
      {"version: 1\nlog: {level: \"info}\nservers:\n  a: {}\n",
       "2:7: not valid YAML: the quoted text that begins here is not closed\n"},
      {"version: 1\nlog: 'x", "2:1: not valid YAML: the quoted text that begins here is not closed\n"},
      {"version: 1\nservers:\n  a:\n    command: x\n   args: []\n",
       "5:4: not valid YAML: the indentation or the punctuation is wrong here: expected 'key: value' lines (or '- "
       "item' lines) in one column; "
       "text that holds ': ' or begins with a special character needs quotes\n"},
      {"version: 1\nlog: @x\n", "2:6: not valid YAML: a text cannot begin with this character; put it in quotes\n"},
      {"version: 1\n? [a]\n: b\n", "2:3: a key must be text\n"},
      {"version: 1\n# \xC3\xA9\n# a\xff\n", "3:4: the text from here on is not valid UTF-8; save the file as UTF-8\n"},
      {"version: 1\nx: "
       "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
       "2:35: nested more than 32 levels deep\n"},
  };
  for (const auto& c : cases) EXPECT_EQ(problems(c.text), c.expected) << c.text;
  EXPECT_EQ(problems(std::string("version: 1\n\0", 12)), "2:1: a NUL byte; this is no text file\n");
  EXPECT_EQ(problems(std::string((1 << 20) + 1, '#')), "0:0: the file has more than 1.0 MiB, and no more are read\n");
  std::string many = "version: 1\nservers: {a: {command: x, args: [";
  for (int i = 0; i < 20'000; ++i) many += "a,";
  EXPECT_NE(problems(many + "]}}").find("more than 10000 values in one file"), std::string::npos);
}

TEST_F(ConfigLoad, never_prints_a_secret) {
  sources_.variables["BAD"] = std::string("s3cret-with-newline\n");
  sources_.engine = "auto";
  const std::string text = problems(R"(version: 1
engine: ${env:TOKEN}
box: {ca_bundle: "/${env:TOKEN}", image: {a: "${env:TOKEN}"}}
log: {level: "${env:TOKEN}"}
servers:
  a:
    command: ""
    env: {A: ["${env:TOKEN}"], B: "s3cret ${env:NOPE}", C: "s3cret${"}
    cwd: ${env:TOKEN}
    box: {host_path: "${env:DIR}", cpus: "${env:TOKEN}", mounts: ["${env:TOKEN}:rw"]}
)");
  EXPECT_EQ(text.find("s3cret"), std::string::npos) << text;
  EXPECT_NE(text.find("'${env:DIR}' is outside workspace.allowed_roots, which is empty"), std::string::npos) << text;
  EXPECT_NE(text.find("servers.a.cwd: '${env:TOKEN}': no such directory"), std::string::npos) << text;
}

constexpr const char* kReferring = R"(version: 1
servers:
  a:
    command: ${file:program}
    args: [--key, "k=${helper:vault:https://a/b}"]
    env: {KEY: "${file:secret}", HOST: "${env:TOKEN}", PLAIN: abc}
    box: {env: {P: "${helper:vault:pin}${helper:vault:https://a/b}"}}
  plain: {command: x, env: {A: b}}
)";

TEST_F(ConfigLoad, notes_helpers_and_asks_them_at_the_start_of_their_server_only) {
  sources_.files[folder_ + "/program"] = "serve";
  sources_.has = {"vault"};
  const Settings s = good(kReferring);
  EXPECT_EQ(s.servers[1].references, nullptr);
  ServerSettings a = s.servers[0];
  ASSERT_NE(a.references, nullptr);
  EXPECT_EQ(a.args[1], "k=${helper:vault:https://a/b}");
  EXPECT_EQ(a.references->helpers, (std::set<HelperKey>{{"vault", "https://a/b"}, {"vault", "pin"}}));
  EXPECT_EQ(sources_.asked, 0u);

  const HelperAnswers answers{{{"vault", "https://a/b"}, Secret("helped")}, {{"vault", "pin"}, Secret("4711")}};
  sources_.files[folder_ + "/secret"] = "rotated-file";
  sources_.variables["TOKEN"] = "rotated-token";
  const auto fresh = read_again(a, answers, sources_);
  ASSERT_TRUE(fresh) << fresh.error().message();
  EXPECT_EQ(a.command, "serve");
  EXPECT_EQ(a.args, (std::vector<std::string>{"--key", "k=helped"}));
  EXPECT_EQ(a.env.at("KEY").text.reveal(), "rotated-file");
  EXPECT_EQ(a.env.at("HOST").text.reveal(), "rotated-token");
  EXPECT_EQ(a.env.at("PLAIN").text.reveal(), "abc");
  EXPECT_EQ(a.box.env.at("P").text.reveal(), "4711helped");
  std::set<std::string> secrets;
  for (const Secret& secret : a.secrets) secrets.emplace(secret.reveal());
  EXPECT_EQ(secrets, (std::set<std::string>{"serve", "helped", "4711", "rotated-file", "rotated-token"}));
}

TEST_F(ConfigLoad, what_cannot_be_read_again_is_named_and_changes_nothing) {
  sources_.files[folder_ + "/program"] = "serve";
  sources_.has = {"vault"};
  ServerSettings a = good(kReferring).servers[0];
  sources_.files.erase(folder_ + "/secret");
  const HelperAnswers answers{{{"vault", "https://a/b"}, fail(Code::kUnavailable, "it is locked")},
                              {{"vault", "pin"}, Secret("4711")}};
  const auto fresh = read_again(a, answers, sources_);
  ASSERT_FALSE(fresh);
  EXPECT_EQ(fresh.error().code(), Code::kUnavailable) << "both may be there in a moment";
  const HelperAnswers none{{{"vault", "https://a/b"}, fail(Code::kNotFound, "it has no such key")},
                           {{"vault", "pin"}, Secret("4711")}};
  EXPECT_EQ(read_again(a, none, sources_).error().code(), Code::kFailedPrecondition);
  sources_.variables.erase("TOKEN");
  EXPECT_EQ(read_again(a, answers, sources_).error().code(), Code::kFailedPrecondition);
  const std::string& why = fresh.error().message();
  EXPECT_NE(why.find("mcpbox.yaml:5:19: servers.a.args[1]: '${helper:vault:https://a/b}': it is locked"),
            std::string::npos)
      << why;
  EXPECT_NE(why.find("servers.a.env.KEY: cannot read '" + folder_ + "/secret'"), std::string::npos) << why;
  EXPECT_EQ(a.env.at("KEY").text.reveal(), "s3cret-file");
}

TEST_F(ConfigLoad, a_helper_outside_of_what_is_read_again_is_asked_at_once) {
  sources_.has = {"vault"};
  const Settings s = good("version: 1\nbox: {install_env: {PIP_INDEX_URL: 'https://u:${helper:vault:pypi}@h/'}}\n");
  EXPECT_EQ(s.box.install_env.at("PIP_INDEX_URL").text.reveal(), "https://u:of-pypi@h/");
  EXPECT_EQ(sources_.asked, 1u);
}

TEST_F(ConfigLoad, a_helper_that_is_written_wrongly_or_is_not_there_is_a_problem) {
  const auto of = [&](const std::string& reference) {
    return problems("version: 1\nservers: {a: {command: x, env: {K: '${helper:" + reference + "}'}}}\n");
  };
  for (const char* wrong : {"", "vault", "vault:", ":key", "../vault:key", "a b:key"})
    EXPECT_NE(of(wrong).find("write ${helper:NAME:KEY}"), std::string::npos) << wrong << of(wrong);
  EXPECT_NE(of("vault:key").find("servers.a.env.K: '${helper:vault:key}': not there"), std::string::npos);
}

TEST_F(ConfigLoad, short_values_are_secrets_where_their_names_or_they_themselves_say_so) {
  const Settings s = good(
      "version: 1\nservers: {a: {command: x, env: {PIN: '4711', api_key: on, MIX: a1b, PORT: '8080', MODE: prod, "
      "LONGER: production, LANG: C.UTF-8, GIVEN: '${env:SHORT}'}}}\n");
  for (const char* secret : {"PIN", "api_key", "MIX", "LONGER", "GIVEN"})
    EXPECT_TRUE(s.servers[0].env.at(secret).secret) << secret;
  for (const char* plain : {"PORT", "MODE", "LANG"}) EXPECT_FALSE(s.servers[0].env.at(plain).secret) << plain;
}

TEST_F(ConfigLoad, paths_and_what_everybody_knows_are_no_secrets_unless_their_names_say_so) {
  const Settings s = good(
      "version: 1\nservers: {a: {command: x, env: {DATA: /home/me/notes, TMP: /tmp, HOME: '${env:HOME}', "
      "SUB: '${env:HOME}/data', KEY: /home/me/notes, ODD: /zYx9/aB3q, LONG: /run/a1B2c3D4e5F6g7H8i9J0k1L2m3, "
      "HOOK: /app/T024BE7LD/x9K2hd82jL, "
      "REF: '${env:TOKEN}'}}}\n");
  for (const char* secret : {"KEY", "ODD", "LONG", "HOOK", "REF"})
    EXPECT_TRUE(s.servers[0].env.at(secret).secret) << secret;
  for (const char* plain : {"DATA", "TMP", "HOME", "SUB"}) EXPECT_FALSE(s.servers[0].env.at(plain).secret) << plain;
}

TEST_F(ConfigLoad, compares_roots_by_component_after_links_are_resolved) {
  const std::string head =
      "version: 1\nworkspace: {allowed_roots: [project]}\nservers: {a: {command: x, box: {host_path: ";
  good(head + "project}}}");
  good(head + "project/sub/}}}");
  good(head + "link/sub}}}");
  EXPECT_NE(problems(head + "project2}}}"), "none");
  EXPECT_NE(problems(head + "project/../outside}}}"), "none");
  EXPECT_NE(problems(head + ".}}}"), "none");
}

TEST_F(ConfigLoad, reads_files_and_real_sources) {
  std::ofstream(folder_ + "/token") << "abc\n";
  std::ofstream(folder_ + "/mcpbox.yaml") << "version: 1\nservers: {a: {command: x, env: {T: '${file:token}'}}}\n";
  const auto settings = load(folder_ + "/mcpbox.yaml");
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->servers[0].env.at("T").text.reveal(), "abc");
  EXPECT_EQ(load(folder_ + "/none.yaml").error()[0].text(),
            folder_ +
                "/none.yaml: cannot read the configuration: No such file or directory; docs/configuration.md says "
                "how to write one, and `mcpbox run -- COMMAND` needs none");
  EXPECT_EQ(load(folder_).error()[0].what, "cannot read the configuration: it is a directory");
  ASSERT_EQ(::mkfifo((folder_ + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(load(folder_ + "/fifo").error()[0].what, "cannot read the configuration: it is not a regular file");
}

// The schema in docs/ is written by hand; its property names must be those that the decoder knows.
TEST(ConfigSchema, has_the_decoders_keys) {
  const char* const source = std::getenv("MCPBOX_SOURCE_DIR");
  const std::string root = source != nullptr ? source : ".";
  std::ifstream file(root + "/docs/mcpbox.schema.json");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto schema = json::Value::parse(text);
  ASSERT_TRUE(schema) << schema.error().message();
  for (const Section& section : sections()) {
    const json::Value properties =
        section.name == "settings" ? (*schema)["properties"] : (*schema)["$defs"][section.name]["properties"];
    std::vector<std::string> in_schema, known(section.keys.begin(), section.keys.end());
    for (const auto& [key, value] : properties.members()) in_schema.push_back(key);
    std::sort(known.begin(), known.end());
    EXPECT_EQ(in_schema, known) << section.name;
  }
}

// And every key of the tables is really read: a wrong value for it is noticed.
TEST(ConfigSchema, every_known_key_is_decoded) {
  const std::map<std::string_view, std::pair<std::string, std::string>> around = {
      {"settings", {"", ""}},
      {"engine", {"engine: {", "}"}},
      {"box", {"box: {", "}"}},
      {"limits", {"box: {limits: {", "}}"}},
      {"workspace", {"workspace: {", "}"}},
      {"daemon", {"daemon: {", "}"}},
      {"log", {"log: {", "}"}},
      {"server", {"servers: {a: {", "}}"}},
      {"server_box", {"servers: {a: {command: x, box: {", "}}}"}},
      {"mount", {"servers: {a: {command: x, box: {mounts: [{", "}]}}}"}},
      {"network", {"servers: {a: {command: x, box: {network: {", "}}}}"}},
      {"egress", {"egress: {", "}"}},
  };
  for (const Section& section : sections()) {
    for (const std::string_view key : section.keys) {
      const auto& [before, after] = around.at(section.name);
      const std::string text = (section.name == "settings" && key == "version" ? "" : "version: 1\n") + before +
                               std::string(key) + ": [[]]" + after;
      const auto settings = parse(text, "x.yaml");
      ASSERT_FALSE(settings) << text;
      for (const Problem& problem : settings.error())
        EXPECT_EQ(problem.what.find("unknown key"), std::string::npos) << problem.text();
    }
  }
}

}  // namespace
}  // namespace mcpbox::config

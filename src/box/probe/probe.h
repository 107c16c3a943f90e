// The attacks of `mcpbox doctor --attack`: a victim, and an attacker that tries on it what a hostile server would.
//
// Both are processes of one static program. The victim keeps secrets, files, ports and memory that the attacker was not
// told; the attacker is told only how to recognise the victim. An attack counts as a hit when its effect is there: the
// attacker read the victim's canary, or the victim says what was done to it. Whatever an attack makes, it removes
// again. Nothing but the victim, and files of the attacker's own name, is touched.
//
// The attacker writes a line for each attack, "ID VERDICT DETAIL", VERDICT being hit, blocked or none (there is nothing
// here that could be attacked), and at its end "end".
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::box::probe {

// What the attacker knows of the victim. Texts are empty, and numbers 0, where there is no such thing.
struct Target {
  std::string token;   // in the victim's arguments; its canaries begin with it
  pid_t pid = 0;       // as PID 1 of the sandbox counts
  bool apart = false;  // the attacker has a PID namespace of its own, in which that number is another's
  int port = 0;        // TCP, on loopback
  int host_port = 0;   // a service of the host, which answers with the canary "host"
  std::vector<std::string> host_addresses;
  std::string files;   // folder of the victim's
  std::string setuid;  // a program with the setuid bit, of somebody else: this one
};

struct Outcome {
  enum class Verdict { kHit, kBlocked, kNone };
  Verdict verdict = Verdict::kBlocked;
  std::string detail;
};
Outcome hit(std::string detail);
Outcome blocked(std::string detail);
Outcome blocked_by(int error);
Outcome none(std::string detail);

// The text that only the victim has: `what` is env, memory, file, port, abstract, shm.
std::string canary(const Target& target, std::string_view what);
std::string abstract_name(const Target& target);
key_t shared_memory_key(const Target& target);

// Processes that may be the victim: those whose arguments say so, and its number, where it is not one of ours.
std::vector<pid_t> candidates(const Target& target);

// At most `limit` bytes; empty where it cannot be read, with errno.
std::string read_all(const std::string& path, std::size_t limit = 1 << 20);
// Whether a file could be made; it is removed again. `error`: why not.
bool can_make(const std::string& path, int& error);

struct Attack {
  const char* id;
  std::function<Outcome(const Target&)> run;
};
void add_process_attacks(std::vector<Attack>& attacks);
void add_file_attacks(std::vector<Attack>& attacks);
void add_socket_attacks(std::vector<Attack>& attacks);
void add_kernel_attacks(std::vector<Attack>& attacks);
void add_identity_attacks(std::vector<Attack>& attacks);
// The last ones, after which the victim may be gone.
void add_signals(std::vector<Attack>& attacks);
// What a server is meant to be able to do; a hit says that it can.
void add_works(std::vector<Attack>& attacks);

// Keeps what is attacked, says "ready PORT" on stdout, and answers each line of stdin with what was done to it:
// "state …" words, one for each effect. Ends with stdin.
int be_victim(const std::string& token);

}  // namespace mcpbox::box::probe

// CROWD processes that have one short-lived child each, and replace it at once, for SECONDS; then "lives". Never more
// than 1 + 2 * CROWD at once, and far more forks in a second than an interpreter makes.
//
//   test_churn CROWD SECONDS
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

// Always with one child, never with two. False when a fork fails.
bool churn(time_t end) {
  while (::time(nullptr) < end) {
    const pid_t child = ::vfork();
    if (child == 0) ::_exit(0);
    if (child < 0 || ::waitpid(child, nullptr, 0) != child) return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  if (count != 3) return 2;
  const int crowd = ::atoi(words[1]);
  const time_t end = ::time(nullptr) + ::atoi(words[2]);
  for (int i = 0; i < crowd; ++i) {
    const pid_t child = ::fork();
    if (child < 0) return 1;
    if (child == 0) ::_exit(churn(end) ? 0 : 1);
  }
  bool fine = true;
  for (int status = 0; ::wait(&status) > 0;) fine = fine && status == 0;
  ::puts(fine ? "lives" : "a fork failed");
  return fine ? 0 : 1;
}

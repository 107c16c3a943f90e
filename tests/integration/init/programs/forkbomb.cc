// Forks until the limit is reached, says so, and goes on trying.
#include <unistd.h>

int main() {
  while (true) {
    const pid_t child = ::fork();
    if (child < 0) {
      static bool said = false;
      if (!said && ::write(1, "full\n", 5) == 5) said = true;
      ::usleep(1000);
    }
  }
}

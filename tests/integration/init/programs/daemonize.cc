// Becomes a daemon that ignores SIGTERM, in a session of its own.
#include <signal.h>
#include <unistd.h>

int main() {
  if (::fork() != 0) return 0;
  ::setsid();
  ::signal(SIGTERM, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  const pid_t between = ::getpid();
  if (::fork() != 0) ::_exit(0);
  while (::getppid() == between) ::usleep(1000);  // it ignores SIGTERM as well, as long as it is there
  if (::write(1, "daemon is up\n", 13) != 13) return 1;
  while (true) ::pause();
}

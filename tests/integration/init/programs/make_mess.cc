// Fills the working directory with what makes removal hard: depth, permissions, links, many entries.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main() {
  const int top = ::open(".", O_RDONLY | O_DIRECTORY);
  for (int level = 0; level < 1500; ++level) {
    if (::mkdir("deep", 0700) != 0 || ::chdir("deep") != 0) return 1;
  }
  ::fchdir(top);
  ::mkdir("dark", 0700);
  ::close(::open("dark/file", O_CREAT | O_WRONLY, 0));
  ::mkdir("dark/inner", 0700);
  ::close(::open("dark/inner/file", O_CREAT | O_WRONLY, 0));
  ::chmod("dark/inner", 0);
  ::chmod("dark", 0);
  ::symlink("/etc", "link");
  ::mkfifo("pipe", 0600);
  ::mkdir("many", 0700);
  for (int i = 0; i < 3000; ++i) {
    char name[32];
    ::snprintf(name, sizeof name, "many/%d", i);
    const int fd = ::open(name, O_CREAT | O_WRONLY, 0600);
    if (fd < 0) return 2;
    ::close(fd);
  }
  ::chmod("many", 0500);
  return 0;
}

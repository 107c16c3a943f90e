// What runs inside the sandboxes of the contract: static, so that an empty image will do.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "exit") == 0) return atoi(argv[2]);
  if (argc == 2 && strcmp(argv[1], "wait") == 0) {
    for (;;) pause();
  }
  if (argc == 3 && strcmp(argv[1], "keep") == 0) {  // exit code 0: made, 7: was there already
    if (access(argv[2], F_OK) == 0) return 7;
    const int fd = open(argv[2], O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0) return 1;
    return close(fd) == 0 ? 0 : 1;
  }
  return 2;
}

// PID 1 of a test sandbox.
//   wait          until killed
//   exit N        at once
//   hog FILE      waits for FILE, has children that take memory until the kernel steps in, and ends like them
//   report FILE   writes what it sees of its confinement, then waits
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

static void try_create(FILE* out, const char* path) {
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  fprintf(out, "create %s %s\n", path, fd >= 0 ? "ok" : strerror(errno));
  if (fd >= 0) close(fd);
}

static void copy_lines(FILE* out, const char* path, const char* prefix) {
  char line[512];
  FILE* in = fopen(path, "r");
  if (in == NULL) return;
  while (fgets(line, sizeof(line), in) != NULL) {
    if (strncmp(line, prefix, strlen(prefix)) == 0) fputs(line, out);
  }
  fclose(in);
}

static int report(const char* path) {
  char temporary[512];
  snprintf(temporary, sizeof(temporary), "%s.new", path);
  FILE* out = fopen(temporary, "w");
  if (out == NULL) return 1;
  fprintf(out, "pid %d uid %d gid %d\n", getpid(), getuid(), getgid());
  for (char** entry = environ; *entry != NULL; ++entry) fprintf(out, "env %s\n", *entry);
  copy_lines(out, "/proc/self/status", "Cap");
  copy_lines(out, "/proc/self/status", "NoNewPrivs");
  copy_lines(out, "/proc/self/status", "Seccomp:");
  try_create(out, "/root-file");
  try_create(out, "/tmp/file");
  try_create(out, "/data/file");
  try_create(out, "/scratch/file");
  try_create(out, "/volume/file");
  try_create(out, "/fast/file");
  try_create(out, "/readonly/file");
  struct stat info;
  fprintf(out, "other interfaces %s\n", stat("/sys/class/net/eth0", &info) == 0 ? "yes" : "no");
  fflush(out);
  pid_t child = fork();  // no_new_privs must not keep PID 1 from switching to a server's uid
  if (child == 0) {
    int ok = setgroups(0, NULL) == 0 && setgid(1900000001) == 0 && setuid(1900000001) == 0;
    _exit(ok && setuid(0) != 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  fprintf(out, "switch uid %s\n", status == 0 ? "ok" : "failed");
  fclose(out);
  return rename(temporary, path);
}

static void take_all(void) {
  int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score < 0 || write(score, "1000", 4) != 4) _exit(2);
  for (;;) {
    volatile char* piece = malloc(1 << 20);  // volatile, or the optimizer leaves it all out
    for (size_t i = 0; piece != NULL && i < 1 << 20; i += 4096) piece[i] = 1;
  }
}

static int hog(const char* begin) {
  while (access(begin, F_OK) != 0) usleep(10000);
  // The engine learns of it from the kernel by itself, in its own time, and only while the container is there.
  for (int i = 0; i < 3; ++i) {
    pid_t child = fork();
    if (child == 0) take_all();
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) return 2;
    sleep(1);
  }
  return 128 + SIGKILL;
}

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "exit") == 0) return atoi(argv[2]);
  if (argc == 3 && strcmp(argv[1], "report") == 0 && report(argv[2]) != 0) return 1;
  if (argc == 3 && strcmp(argv[1], "hog") == 0) return hog(argv[2]);
  for (;;) pause();
}

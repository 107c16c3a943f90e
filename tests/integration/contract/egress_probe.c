// What looks for a way out of the sandboxes of the contract: static, so that an empty image will do.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int relay(void) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(3128), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const struct timeval limit = {20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr*)&name, sizeof name) != 0) {
    printf("relay: %s\n", strerror(errno));
    exit(1);
  }
  return fd;
}

static void say(int fd, const char* text) {
  if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text)) exit(2);
}

// The tunnel's answer, up to the empty line; what follows stays unread.
static int open_tunnel(const char* credential, const char* target, char* answer, size_t size) {
  const int fd = relay();
  char head[1024];
  snprintf(head, sizeof head, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\n", target, target,
           credential);
  say(fd, head);
  size_t have = 0;
  while (have + 1 < size && (have < 4 || memcmp(answer + have - 4, "\r\n\r\n", 4) != 0)) {
    if (recv(fd, answer + have, 1, 0) != 1) break;
    ++have;
  }
  answer[have] = '\0';
  return fd;
}

// To the end of the stream.
static void print_rest(int fd) {
  char piece[4096];
  for (ssize_t got; (got = recv(fd, piece, sizeof piece, 0)) > 0;) fwrite(piece, 1, (size_t)got, stdout);
}

static void try_tcp(const char* address, int port) {
  struct sockaddr_storage name = {0};
  socklen_t size = sizeof(struct sockaddr_in);
  if (strchr(address, ':') != NULL) {
    struct sockaddr_in6* six = (struct sockaddr_in6*)&name;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((unsigned short)port);
    inet_pton(AF_INET6, address, &six->sin6_addr);
    size = sizeof *six;
  } else {
    struct sockaddr_in* four = (struct sockaddr_in*)&name;
    four->sin_family = AF_INET;
    four->sin_port = htons((unsigned short)port);
    inet_pton(AF_INET, address, &four->sin_addr);
  }
  const int fd = socket(name.ss_family, SOCK_STREAM, 0);
  const int error = fd < 0 || connect(fd, (struct sockaddr*)&name, size) != 0 ? errno : 0;
  printf("%s:%d %s\n", address, port, error == 0 ? "REACHED" : strerrorname_np(error));
  if (fd >= 0) close(fd);
}

static void try_socket(const char* what, int family, int type, int protocol) {
  const int fd = socket(family, type, protocol);
  printf("%s %s\n", what, fd >= 0 ? "MADE" : strerrorname_np(errno));
  if (fd >= 0) close(fd);
}

// Where the network is the server's own it may make such a socket, which leads nowhere.
static void try_datagram(const char* what, const char* address, int family) {
  struct sockaddr_storage name = {.ss_family = (sa_family_t)family};
  if (family == AF_INET6) {
    ((struct sockaddr_in6*)&name)->sin6_port = htons(53);
    inet_pton(family, address, &((struct sockaddr_in6*)&name)->sin6_addr);
  } else {
    ((struct sockaddr_in*)&name)->sin_port = htons(53);
    inet_pton(family, address, &((struct sockaddr_in*)&name)->sin_addr);
  }
  const socklen_t size = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  const int fd = socket(family, SOCK_DGRAM, 0);
  const int sent = fd < 0 ? -1 : (int)sendto(fd, "x", 1, 0, (struct sockaddr*)&name, size);
  printf("%s %s\n", what, sent == 1 ? "MADE" : strerrorname_np(errno));
  if (fd >= 0) close(fd);
}

int main(int argc, char** argv) {
  char answer[4096];
  if (argc == 4 && strcmp(argv[1], "get") == 0) {  // credential http://URL
    const int fd = relay();
    snprintf(answer, sizeof answer, "GET %s HTTP/1.1\r\nHost: %.*s\r\nProxy-Authorization: %s\r\n\r\n", argv[3],
             (int)strcspn(argv[3] + 7, "/"), argv[3] + 7, argv[2]);
    say(fd, answer);
    print_rest(fd);
    return 0;
  }
  if (argc == 5 && strcmp(argv[1], "half-close") == 0) {  // credential target text
    const int fd = open_tunnel(argv[2], argv[3], answer, sizeof answer);
    say(fd, argv[4]);
    shutdown(fd, SHUT_WR);
    print_rest(fd);
    return 0;
  }
  if (argc == 5 && strcmp(argv[1], "many") == 0) {  // credential target count: all open at once, then each is used
    const int count = atoi(argv[4]);
    int* all = calloc((size_t)count, sizeof *all);
    for (int i = 0; i < count; ++i) {
      all[i] = open_tunnel(argv[2], argv[3], answer, sizeof answer);
      if (strncmp(answer, "HTTP/1.1 200", 12) != 0) {
        printf("%d: %s", i, answer);
        return 1;
      }
    }
    int good = 0;
    for (int i = 0; i < count; ++i) {
      char text[32], back[32];
      const int length = snprintf(text, sizeof text, "number %d\n", i);
      say(all[i], text);
      good += recv(all[i], back, (size_t)length, MSG_WAITALL) == length && memcmp(text, back, (size_t)length) == 0;
    }
    printf("%d\n", good);
    return 0;
  }
  if (argc == 3 && strcmp(argv[1], "flood") == 0) {  // count: what the last of so many silent connections is told
    int last = -1;
    for (int i = 0; i < atoi(argv[2]); ++i) last = relay();
    print_rest(last);
    return 0;
  }
  if (argc == 5 && strcmp(argv[1], "hold") == 0) {  // credential target count: idle until stdin ends
    const int count = atoi(argv[4]);
    for (int i = 0; i < count; ++i) {
      open_tunnel(argv[2], argv[3], answer, sizeof answer);
      if (strncmp(answer, "HTTP/1.1 200", 12) != 0) return 1;
    }
    puts("open");
    fflush(stdout);
    while (read(0, answer, sizeof answer) > 0) {
    }
    return 0;
  }
  if (argc == 5 && strcmp(argv[1], "pour") == 0) {  // credential target seconds: bytes sent
    static char piece[1 << 18];
    const int fd = open_tunnel(argv[2], argv[3], answer, sizeof answer);
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    double seconds = 0;
    unsigned long long sent = 0;
    while (seconds < atof(argv[4])) {
      const ssize_t piece_sent = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
      if (piece_sent <= 0) return 1;
      sent += (unsigned long long)piece_sent;
      clock_gettime(CLOCK_MONOTONIC, &now);
      seconds = (double)(now.tv_sec - begin.tv_sec) + 1e-9 * (double)(now.tv_nsec - begin.tv_nsec);
    }
    printf("%.0f\n", (double)sent / seconds / 1e6);
    return 0;
  }
  if (argc == 3 && strcmp(argv[1], "socket") == 0) {  // of the file system: may it be connected to?
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, argv[2], sizeof name.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    puts(connect(fd, (struct sockaddr*)&name, sizeof name) == 0 ? "REACHED" : strerrorname_np(errno));
    return 0;
  }
  if (argc >= 3 && strcmp(argv[1], "reach") == 0) {  // address port, and so on
    for (int i = 2; i + 1 < argc; i += 2) try_tcp(argv[i], atoi(argv[i + 1]));
    return 0;
  }
  if (argc == 2 && strcmp(argv[1], "sockets") == 0) {
    try_datagram("udp", "192.0.2.1", AF_INET);
    try_datagram("udp6", "2001:db8::1", AF_INET6);
    try_socket("icmp", AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    try_socket("icmp6", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
    try_socket("raw", AF_INET, SOCK_RAW, IPPROTO_RAW);
    try_socket("raw-icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP);
    try_socket("packet", AF_PACKET, SOCK_RAW, 0);
    try_socket("sctp", AF_INET, SOCK_STREAM, IPPROTO_SCTP);
    try_socket("mptcp", AF_INET, SOCK_STREAM, 262);
    try_socket("vsock", AF_VSOCK, SOCK_STREAM, 0);
    return 0;
  }
  if (argc == 2 && strcmp(argv[1], "interfaces") == 0) {  // that are up
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct if_nameindex* all = if_nameindex();
    for (struct if_nameindex* each = all; each != NULL && each->if_index != 0; ++each) {
      struct ifreq request = {0};
      strncpy(request.ifr_name, each->if_name, sizeof request.ifr_name - 1);
      if (ioctl(fd, SIOCGIFFLAGS, &request) != 0 || (request.ifr_flags & IFF_UP) != 0) puts(each->if_name);
    }
    return 0;
  }
  return 9;
}

# Prints what a server sees of its surroundings, in a form that is the same on every machine.
# Arguments: what it must not reach.
import ctypes
import os
import pwd
import socket
import sys


def attempt(name, action):
    try:
        action()
        print(name, "REACHED")
    except OSError:
        print(name, "out of reach")


status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups"):
    print(name, status[name].strip())
print("processes", sorted(int(p) for p in os.listdir("/proc") if p.isdigit()))
print("user", pwd.getpwuid(os.getuid()).pw_name, pwd.getpwuid(os.getuid()).pw_uid == os.getuid())
print("descriptors", sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:3], len(os.listdir("/proc/self/fd")))
print("environment", sorted(set(os.environ) - {"LC_CTYPE"}))  # Python sets that one itself
print("interfaces", [name for _, name in socket.if_nameindex()])
print("abstract sockets", len([line for line in open("/proc/net/unix") if "@" in line]))
print("host name", socket.gethostname())
mounts = list({fields[4]: fields
               for fields in (line.split() for line in open("/proc/self/mountinfo"))}.values())  # the last one covers
for fields in sorted(mounts, key=lambda fields: fields[4]):
    if not fields[4].startswith(("/usr", "/bin", "/sbin", "/lib", "/etc", "/proc/")):
        kind = fields[fields.index("-") + 1]
        kind = kind if kind in ("proc", "tmpfs",
                                "devtmpfs") and not fields[4].startswith(("/opt", "/workspace", "/.box")) else "host"
        if fields[4].startswith("/dev/") and fields[4] != "/dev/shm":
            kind = "device"
        options = fields[5].split(",")
        print("mount", fields[4], kind, ",".join(o for o in ("ro", "rw", "nosuid", "nodev", "noexec") if o in options))
print("system read-only", all(set(("ro", "nosuid", "nodev")) <= set(f[5].split(",")) for f in mounts
                              if f[4].startswith(("/usr", "/bin", "/lib", "/etc"))))
for path in ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger"):
    print(path, "writable" if os.access(path, os.W_OK) else "not writable")
for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kallsyms"):
    print(path, "shows something" if os.path.exists(path) and open(path, "rb").read(1) else "shows nothing")
for path in ("/home", "/root", "/var", "/srv", "/sys", "/mnt", "/boot", "/dev/tty", "/dev/pts", "/dev/kmsg",
             "/etc/shadow", "/etc/machine-id"):
    print(path, "there" if os.path.lexists(path) else "not there")

canary_file, host_pid, tcp_port, abstract, shm_key = sys.argv[1:6]
attempt("file", lambda: open(canary_file))
attempt("process", lambda: os.kill(int(host_pid), 0))
attempt("loopback service", lambda: socket.create_connection(("127.0.0.1", int(tcp_port)), 2))
attempt("abstract socket", lambda: socket.socket(socket.AF_UNIX).connect("\0" + abstract))
attempt("control socket", lambda: socket.socket(socket.AF_UNIX).connect("/.boxrun/control.sock"))
for name in ("mem", "environ", "maps"):
    attempt("supervisor's " + name, lambda: open("/proc/1/" + name, "rb").read(1))
attempt("supervisor's descriptors", lambda: os.listdir("/proc/1/fd"))
for number in (9, 15, 19, 10):  # whoever may send them: the supervisor is there afterwards, which the test looks at
    try:
        os.kill(1, number)
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
# x86-64 numbers; aarch64 has 219 and 218.
keyctl, request_key = (250, 249) if os.uname().machine == "x86_64" else (219, 218)
key_name = ("mcpbox-canary-" + shm_key).encode()
found = libc.syscall(keyctl, 10, -4, b"user", key_name, 0) >= 0 or libc.syscall(request_key, b"user", key_name, None,
                                                                                0) >= 0
print("key ring", "REACHED" if found else "out of reach")
print("shared memory", "REACHED" if libc.shmget(int(shm_key), 0, 0) >= 0 else "out of reach")

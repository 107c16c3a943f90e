"""A machine whose file system has project quotas, for as long as a test file runs in it: a User-Mode Linux (Debian's
user-mode-linux) that has this machine's file system, read-only, and a disk of its own. Outside of it main() boots it
and passes on what it says; in it, where that file is process 1, main() runs the tests as root on the new disk."""
import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

KERNEL, DISK_MB, SECONDS = "/usr/bin/linux.uml", 512, 240
PASSED = "the tests in the machine passed"
# A quota's format is a module in Debian's kernel.
MODULES = "/usr/lib/uml/modules/{}/kernel/fs/quota/"
POWER_OFF, MS_NODEV, FINIT_MODULE = 0x4321FEDC, 4, 313


def boot(file):
    """What the machine printed."""
    with tempfile.TemporaryDirectory(prefix="mcpbox-machine-") as folder:
        disk = pathlib.Path(folder, "disk")
        with open(disk, "wb") as image:
            image.truncate(DISK_MB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", disk], check=True)
        own = [f"{name}={os.environ[name]}" for name in ("MCPBOX_BUILD_DIR", "PYTHONPATH") if name in os.environ]
        ran = subprocess.run(
            [KERNEL, "mem=1024M", f"ubd0={disk}", f"uml_dir={folder}", "root=/dev/root", "rootfstype=hostfs",
             "rootflags=/", "ro", "con=null", "ssl=null", "con0=null,fd:1", "quiet", "init=/usr/bin/python3",
             "TMPDIR=/mnt", *own, "--", "-B", str(pathlib.Path(file).resolve())],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
            env={**os.environ, "TMPDIR": folder}, check=False)
        return ran.stdout.decode(errors="replace")


def mount(what, where, kind, flags=0, options=""):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(what.encode(), where.encode(), kind.encode(), flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {where}")


def set_up():
    os.environ["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    for what, where in (("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run")):
        mount(what, where, what)
    libc = ctypes.CDLL(None, use_errno=True)
    for module in ("quota_tree", "quota_v2"):
        with open(MODULES.format(os.uname().release) + module + ".ko", "rb") as code:
            if libc.syscall(FINIT_MODULE, code.fileno(), b"", 0) != 0:
                raise OSError(ctypes.get_errno(), module)
    mount("/dev/ubda", "/mnt", "ext4", MS_NODEV, "prjquota")


def main(file):
    if os.getpid() != 1:
        said = boot(file)
        print(said, end="" if said.endswith("\n") else "\n")
        sys.exit(0 if PASSED in said else 1)
    try:
        set_up()
        ran = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2)  # the kernel adds arguments of its own
        if ran.result.wasSuccessful() and ran.result.testsRun > 0:
            print(PASSED, flush=True)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.sync()
        ctypes.CDLL(None).reboot(POWER_OFF)

"""What others read of a file, as it happens: an attacker needs no rights for that but on its own folder."""
import ctypes
import os
import select
import struct
import threading

CLOSE_NOWRITE = 0x10
LIBC = ctypes.CDLL(None, use_errno=True)


def on_each_reading(target, look):
    """Calls look() in a thread of its own whenever somebody has read what has the name of `target`."""
    events = LIBC.inotify_init1(os.O_CLOEXEC)
    LIBC.inotify_add_watch(events, os.fsencode(target.parent), CLOSE_NOWRITE)

    def watch():
        while True:
            buffer, offset = os.read(events, 65536), 0
            while offset < len(buffer):
                length = struct.unpack_from("iIII", buffer, offset)[3]
                name = buffer[offset + 16:offset + 16 + length].rstrip(b"\0").decode()
                offset += 16 + length
                if name == target.name:
                    look()
    threading.Thread(target=watch, daemon=True).start()


class Opening:
    """Asks us before others open a file, which for that moment stands still: for root. A context manager."""
    OPEN_PERM, OF_CHILDREN, CONTENT, CLOEXEC, ADD, ALLOW = 0x10000, 0x8000000, 4, 1, 1, 1

    def __init__(self, target):
        self.target, self.times, self.at, self.text = target, 0, None, b""

    def change(self, after, text):
        """Those who open it after so many times find this text, or with None no file."""
        self.at, self.text = after, text

    def __enter__(self):
        self.events = LIBC.fanotify_init(self.CONTENT | self.CLOEXEC, os.O_RDWR | os.O_CLOEXEC)
        marked = LIBC.fanotify_mark(self.events, self.ADD, ctypes.c_uint64(self.OPEN_PERM | self.OF_CHILDREN), -100,
                                    os.fsencode(self.target.parent))
        if self.events < 0 or marked != 0:
            raise OSError(ctypes.get_errno(), "ask to be asked before a file is opened")
        self.over, self.end = os.pipe()
        self.thread = threading.Thread(target=self.answer)
        self.thread.start()
        return self

    def answer(self):
        while self.over not in (ready := select.select([self.events, self.over], [], [])[0]):
            for event in struct.iter_unpack("IBBHQii", os.read(ready[0], 24 * 64)):
                file = event[5]
                if os.path.basename(os.readlink(f"/proc/self/fd/{file}")) == self.target.name:
                    if self.times == self.at and self.text is not None:
                        os.ftruncate(file, 0)
                        os.pwrite(file, self.text, 0)
                    self.times += 1
                    if self.times == self.at and self.text is None:
                        self.target.unlink()
                os.write(self.events, struct.pack("iI", file, self.ALLOW))
                os.close(file)

    def __exit__(self, *_):
        os.close(self.end)
        self.thread.join()
        os.close(self.events)  # whoever waits still may go on
        os.close(self.over)


def exchange(one, other):
    """Both names are there all the time."""
    here, at_once = -100, 2
    if LIBC.renameat2(here, os.fsencode(one), here, os.fsencode(other), at_once) != 0:
        raise OSError(ctypes.get_errno(), f"exchange {one} and {other}")

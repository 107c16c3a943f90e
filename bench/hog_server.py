"""A server of bench/neighbours: it works for who asks it, and a call of its tool `hog` turns it into one.

  hog_server.py END [KIND]

It is run from `python3 -c`, and ends by itself at END (seconds of the wall clock), with all that it made, whatever
becomes of the daemon. A hog hears neither SIGTERM nor the end of its input.
"""
import json
import os
import shutil
import signal
import sys
import threading
import time

END = float(sys.argv[1])
HOME = os.path.expanduser("~")
HEAP = os.path.join(HOME, "heap")


def before_the_end():
    return time.time() < END


def rest():
    while before_the_end():
        time.sleep(0.1)
    os._exit(0)


def forks():
    """Each fork forks again; where there is no room for more of them they try on."""
    while before_the_end():
        try:
            if os.fork() == 0:
                continue
        except OSError:
            pass
    os._exit(0)


def large():
    held = []
    for _ in range(600):
        held.append(bytearray(b"x") * (1 << 20))
    rest()


def small():
    for _ in range(30):
        if os.fork() == 0:
            held = [bytearray(b"x") * (1 << 20)]
            while len(held) < 20:
                held.append(bytearray(b"x") * (1 << 20))
                time.sleep(0.002)
            rest()
    rest()


def disk():
    """No name leads to them, so that it can be started again."""
    os.makedirs(HEAP, exist_ok=True)
    piece, held = os.urandom(1 << 20), []
    for _ in range(10):
        held.append(open(f"{HEAP}/file", "wb", buffering=0))
        os.unlink(f"{HEAP}/file")
        for _ in range(60):
            held[-1].write(piece)
    rest()


def inodes():
    for folder in range(60):
        os.makedirs(f"{HEAP}/{folder}", exist_ok=True)
        for number in range(1000):
            os.close(os.open(f"{HEAP}/{folder}/{number}", os.O_CREAT | os.O_WRONLY))
    rest()


def shm():
    """Nobody maps it. /dev/shm is full with 64 MiB; the rest goes to /tmp."""
    piece = b"x" * (1 << 20)
    for place in "/dev/shm", "/tmp":
        try:
            with open(f"{place}/heap", "wb", buffering=0) as file:
                for _ in range(100):
                    file.write(piece)
        except OSError:
            pass
    rest()


def spin():
    for _ in range(2 * (os.cpu_count() or 1) - 1):
        if os.fork() == 0:
            break
    while before_the_end():
        for _ in range(100_000):
            pass
    os._exit(0)


def turn(kind):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    {"forks": forks, "large": large, "small": small, "disk": disk, "inodes": inodes, "shm": shm, "spin": spin}[kind]()


def work(text, folder):
    """What a modest tool does: a thread, some memory, a line in a file."""
    done = []
    thread = threading.Thread(target=lambda: done.append(bytearray(b"x") * (1 << 20)))
    thread.start()
    thread.join()
    with open(os.path.join(folder, "notes"), "a+") as file:
        file.write(text + "\n")
        file.seek(file.tell() - len(text) - 1)
        return file.read().strip() if done else ""


def main():
    shutil.rmtree(HEAP, ignore_errors=True)  # of an earlier start
    for line in sys.stdin:
        message = json.loads(line)
        method, result = message.get("method"), {}
        if "id" not in message:
            continue
        if method == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                      "serverInfo": {"name": "hog", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("work", "keep", "hog")]}
        elif method == "tools/call" and message["params"]["name"] == "hog":
            turn(sys.argv[2])
        elif method == "tools/call":
            folder = HOME if message["params"]["name"] == "keep" else "/tmp"
            text = work(message["params"]["arguments"]["text"], folder)
            result = {"content": [{"type": "text", "text": text}]}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()

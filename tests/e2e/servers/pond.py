"""An MCP server without a library, so that it can misbehave: what it does is chosen by its tools and by MISBEHAVE."""
import json
import os
import subprocess
import sys
import time

OUT = sys.stdout.buffer
MISBEHAVE = os.environ.get("MISBEHAVE", "")
TOOLS = ["echo", "die", "exit", "hang", "who", "spawn", "never", "cancelled"]
CANCELLED = []  # the requests that the client gave up, in their order


def raw(data: bytes) -> None:
    OUT.write(data)
    OUT.flush()


def send(message: dict) -> None:
    raw(json.dumps(message).encode() + b"\n")


def noise() -> None:
    if MISBEHAVE != "noise":
        return
    raw(b"*** welcome to pond, banner on stdout ***\n")
    raw(b'{"level":"info","message":"a log line in JSON"}\n')
    raw(b"[1, 2, 3]\n\n   \n")
    raw(b"broken \xff\xfe utf-8 \xc3\n")
    raw(b'{"jsonrpc":"2.0","id":\n')
    raw(b"\x1b[31mred\x1b[0m\r\n")
    raw(b"y" * (3 << 20) + b"\n")
    raw(b"x" * (20 << 20) + b"\n")


def text(value: str) -> dict:
    return {"content": [{"type": "text", "text": value}]}


def call(name: str, arguments: dict) -> dict:
    if name == "echo":
        return text(arguments.get("message", ""))
    if name == "die":
        print("about to be killed", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 9)
    if name == "exit":
        sys.stderr.write("leaving with %d\n" % arguments["code"])
        sys.stderr.flush()
        os._exit(arguments["code"])
    if name == "hang":
        time.sleep(3600)
    if name == "spawn":  # a helper that outlives its parent and holds its pipes
        helper = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        return text(str(helper.pid))
    if name == "cancelled":
        return text(json.dumps(CANCELLED))
    return text(json.dumps({"pid": os.getpid(), "uid": os.getuid(), "cwd": os.getcwd()}))


def main() -> None:
    if MISBEHAVE == "crash":
        raise RuntimeError("the pond is empty")
    if MISBEHAVE == "exit3":
        sys.exit(3)
    noise()
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            CANCELLED.append(message["params"]["requestId"])
        if "id" not in message or "method" not in message:
            continue
        method, params = message["method"], message.get("params", {})
        if method == "initialize":
            result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                      "serverInfo": {"name": "pond", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}
        elif method == "tools/call" and params["name"] == "never":
            continue  # no answer, and unlike "hang" it goes on reading
        elif method == "tools/call":
            noise()
            result = call(params["name"], params.get("arguments", {}))
        else:
            result = {}
        send({"jsonrpc": "2.0", "id": message["id"], "result": result})


main()

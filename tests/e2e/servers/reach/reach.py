"""An MCP server with one tool: run a command in the sandbox, so that real programs can be seen asking for hosts."""
import json
import os
import subprocess
import sys

TOOL = {"name": "sh", "inputSchema": {"type": "object", "properties": {"command": {"type": "string"}}}}


def call(arguments: dict) -> dict:
    ended = subprocess.run(arguments["command"], shell=True, capture_output=True, text=True, timeout=60,
                           cwd=os.environ["TMPDIR"], stdin=subprocess.DEVNULL)
    said = f"exit code {ended.returncode}\n{ended.stdout[-6000:]}{ended.stderr[-6000:]}"
    return {"content": [{"type": "text", "text": said}]}


def main() -> None:
    # What a careless server logs: the secret in it must not be seen.
    print("my proxy is", os.environ.get("HTTPS_PROXY"), file=sys.stderr, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        method, params = message["method"], message.get("params", {})
        result = {}
        if method == "initialize":
            result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                      "serverInfo": {"name": "reach", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": [TOOL]}
        elif method == "tools/call":
            result = call(params["arguments"])
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()

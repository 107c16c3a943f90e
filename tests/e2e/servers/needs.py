"""An MCP server without a library that tells how one of its dependencies does: proof that it was installed."""
import importlib
import json
import os
import sys

names = os.environ.get("NEEDS", "cowsay").split(",")
found = [importlib.import_module(name).__name__ for name in names]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, result = message["method"], {}
    if method == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "needs", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": "needs", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": ",".join(found)}]}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
    sys.stdout.flush()

"""A server whose one tool runs the Python that it is given: what a hostile server may think of. It runs from
`python3 -c` too."""
import io
import json
import sys
import traceback

kept = {"__name__": "evil"}
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "exec", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": "py", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        out, sys.stdout = sys.stdout, io.StringIO()
        try:
            exec(message["params"]["arguments"]["code"], kept)
            text = sys.stdout.getvalue()
        except BaseException:
            text = sys.stdout.getvalue() + traceback.format_exc()[-800:]
        sys.stdout = out
        result = {"content": [{"type": "text", "text": text}]}
    elif "id" in message:
        result = {}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)

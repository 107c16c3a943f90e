"""An MCP server of a few lines, with the official Python SDK."""
import os
import platform

from mcp.server.fastmcp import FastMCP

server = FastMCP("greeter")


@server.tool()
def greet(name: str) -> str:
    """Greets somebody."""
    return f"Hello, {name}!"


@server.tool()
def where_am_i() -> dict:
    """Says what the server sees of the machine that it runs on."""
    return {"python": platform.python_version(), "uid": os.getuid(), "cwd": os.getcwd(),
            "files": sorted(os.listdir("."))}


if __name__ == "__main__":
    server.run()

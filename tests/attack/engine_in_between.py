"""A socket that passes all on to the real engine, and looks at each request before."""
import re
import socket
import threading


class EngineInBetween:
    """`look(head, body)` is called with each request as bytes; what it returns, if anything, is the answer to the
    client, and the engine hears nothing of it."""

    def __init__(self, path, real, look):
        self.real, self.look = real, look
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen(64)
        self.address = f"unix://{path}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.real)
            down = threading.Thread(target=self.pump, args=(engine, client), daemon=True)
            down.start()
            try:
                while request := self.request(client):
                    if answer := self.look(*request):
                        client.sendall(answer)
                        return
                    engine.sendall(b"\r\n\r\n".join(request))
                    if re.search(rb"(?i)\r\ntransfer-encoding:", request[0]):
                        self.pump(client, engine)
                engine.shutdown(socket.SHUT_WR)
            except OSError:
                return
            down.join()

    @staticmethod
    def request(client):
        """Head and body of the next one; of a chunked body what came along. None at the end."""
        text = b""
        while piece := client.recv(65536):
            text += piece
            head, end, body = text.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if end and len(body) >= int(length.group(1) if length else 0):
                return head, body
        return None

    @staticmethod
    def pump(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listening.close()

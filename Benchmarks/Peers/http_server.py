"""A server under measurement: a process that answers HTTP on a free port while a block runs."""
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time


class HTTPServer:
    """A server that runs while the block does. Its program takes `--host` and `--port`, and answers `GET /health`."""

    def __init__(self, *command):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [*map(str, command), "--host", "127.0.0.1", "--port", str(self.port)]

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        begin = time.perf_counter()
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=self.log)
        while not self.is_healthy():
            if self.process.poll() is not None:
                self.log.seek(0)
                raise RuntimeError(f"the server died:\n{self.log.read()[-2000:]}")
            time.sleep(0.005)
        self.load_seconds = time.perf_counter() - begin
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def is_healthy(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def cpu_seconds(self):
        """CPU time that the server has used."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def post(self, path, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {text[:500]}")
        return json.loads(text)

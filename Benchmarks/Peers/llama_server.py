"""llama-server under the requests that scripts/bench makes: one token, a long prompt, and clients side by side."""
import http.client
import json
import random
import socket
import subprocess
import tempfile
import threading
import time

WORDS = (
    "the quick brown fox jumps over a lazy dog while seven small birds watch from an old oak tree near the quiet river "
    "in summer").split()


def words(seed, count=60):
    """A prompt of some words, different for every seed, so that no two share a prefix."""
    chooser = random.Random(seed)
    return " ".join(chooser.choice(WORDS) for _ in range(count))


class Server:
    """A server that runs while the block does."""

    def __init__(self, program, model, threads, slots=8):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.command = [
            str(program), "-m", str(model), "-t", str(threads), "-tb", str(threads), "-np", str(slots), "-c", "8192",
            "--host", "127.0.0.1", "--port", str(self.port)]

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

    def post(self, path, **body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {text[:500]}")
        return json.loads(text)

    def complete(self, prompt, tokens):
        return self.post(
            "/completion", prompt=prompt, n_predict=tokens, temperature=0, ignore_eos=True, cache_prompt=False)

    def first_token(self):
        """Seconds from a request to its only token."""
        begin = time.perf_counter()
        self.complete("The capital of France is", 1)
        return time.perf_counter() - begin

    def decode_after_prompt(self, length, tokens):
        """Tokens a second after a prompt of `length` tokens."""
        chooser = random.Random(length)
        prompt = [chooser.randrange(5, 40000) for _ in range(length)]
        return self.complete(prompt, tokens)["timings"]["predicted_per_second"]

    def load(self, clients, requests, tokens):
        """Tokens a second in total while some clients each wait for one answer after another."""
        seeds = iter(range(requests))
        lock = threading.Lock()
        produced = []

        def work():
            while True:
                with lock:
                    seed = next(seeds, None)
                if seed is None:
                    return
                produced.append(self.complete(words(seed), tokens)["tokens_predicted"])

        threads = [threading.Thread(target=work) for _ in range(clients)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(produced) / (time.perf_counter() - begin)

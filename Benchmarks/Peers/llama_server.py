"""llama-server under the requests that scripts/bench makes: one token, a long prompt, and clients side by side."""
import random
import threading
import time

from http_server import HTTPServer
from serving import words


class Server(HTTPServer):
    """A llama-server that runs while the block does."""

    def __init__(self, program, model, threads, slots=8):
        super().__init__(program, "-m", model, "-t", threads, "-tb", threads, "-np", slots, "-c", 8192)

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

"""A server's OpenAI API under load: clients that stream one completion after another, each over a connection of its own.

While the load lasts the client only notes when which bytes came; it reads them afterwards, so that it takes as little as
possible of the processors that it shares with the server.
"""
import asyncio
import bisect
import json
import random
import statistics
import time

WORDS = (
    "the quick brown fox jumps over a lazy dog while seven small birds watch from an old oak tree near the quiet river "
    "in summer").split()


def words(seed, count=60):
    """A prompt of some words, different for every seed, so that no two share a prefix."""
    chooser = random.Random(seed)
    return " ".join(chooser.choice(WORDS) for _ in range(count))


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[round(percent / 100 * (len(ordered) - 1))]


def fields(seed, tokens):
    """The body of a request: every answer has the same length, and nothing comes from a cache."""
    return dict(
        model="bench", prompt=words(seed), max_tokens=tokens, temperature=0, ignore_eos=True, cache_prompt=False)


class Exchange(asyncio.Protocol):
    """One request, and what came back: when, and which bytes."""

    def __init__(self, request, done):
        self.request, self.done = request, done
        self.times, self.parts = [], []

    def connection_made(self, transport):
        self.transport = transport
        self.begin = time.perf_counter()
        transport.write(self.request)

    def data_received(self, data):
        self.times.append(time.perf_counter())
        self.parts.append(data)
        # The last chunk is empty
        if data.endswith(b"0\r\n\r\n"):
            self.transport.close()

    def connection_lost(self, error):
        self.end = time.perf_counter()
        if not self.done.done():
            self.done.set_result(None)

    def frames(self):
        """The events of the stream, each with the time at which its end was there."""
        ends, total = [], 0
        for part in self.parts:
            total += len(part)
            ends.append(total)
        data = b"".join(self.parts)
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or b"chunked" not in head.lower():
            raise RuntimeError(f"no stream came: {data[:800]!r}")
        position, text, places = len(head) + 4, b"", []  # places: (end in text, end in data)
        while True:
            line = data.index(b"\r\n", position)
            size = int(data[position:line].split(b";")[0], 16)
            if size == 0:
                break
            text += data[line + 2:line + 2 + size]
            position = line + 2 + size + 2
            places.append((len(text), line + 2 + size))
        start = 0
        while (end := text.find(b"\n\n", start)) >= 0:
            frame, start = text[start:end], end + 2
            place = places[bisect.bisect_left(places, (start, 0))][1]
            yield self.times[bisect.bisect_left(ends, place)], frame


class Answer:
    """What an exchange brought, in tokens and seconds."""

    def __init__(self, exchange, tokens):
        self.text, self.count, stamps = "", None, []
        for moment, frame in exchange.frames():
            if not frame.startswith(b"data: {"):
                continue
            event = json.loads(frame[6:])
            if "error" in event:
                raise RuntimeError(f"the stream failed: {event}")
            if event.get("usage"):
                self.count = event["usage"]["completion_tokens"]
                self.prompt_count = event["usage"]["prompt_tokens"]
            if event.get("choices") and event["choices"][0]["text"]:
                self.text += event["choices"][0]["text"]
                stamps.append(moment)
        if self.count != tokens:
            raise RuntimeError(f"{self.count} tokens came instead of {tokens}")
        self.first = stamps[0] - exchange.begin
        self.gap = (stamps[-1] - stamps[0]) / (tokens - 1)


async def exchange(loop, port, seed, tokens):
    body = json.dumps(dict(fields(seed, tokens), stream=True, stream_options={"include_usage": True})).encode()
    request = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode() + body
    done = loop.create_future()
    _, one = await loop.create_connection(lambda: Exchange(request, done), "127.0.0.1", port)
    await done
    return one


async def exchanges(port, seeds, clients, tokens):
    """What came back for each seed, while so many clients wait for one answer after another."""
    loop = asyncio.get_running_loop()
    rest, all = iter(seeds), {}

    async def client():
        for seed in rest:
            all[seed] = await exchange(loop, port, seed, tokens)

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return all, time.perf_counter() - begin


def load(server, clients, tokens=64, first_seed=0, checks=False):
    """Rates and latencies of a server under three requests of each client.

    With `checks`, every prompt is sent once more alone, and must get the same answer.
    """
    seeds = range(first_seed, first_seed + 3 * clients)
    server.post("/v1/completions", **fields(first_seed - 1, 8))
    cpu, own = server.cpu_seconds(), time.process_time()
    raw, seconds = asyncio.run(exchanges(server.port, seeds, clients, tokens))
    cpu, own = server.cpu_seconds() - cpu, time.process_time() - own
    answers = {seed: Answer(one, tokens) for seed, one in raw.items()}
    if checks:
        for seed, answer in answers.items():
            alone = server.post("/v1/completions", **fields(seed, tokens))["choices"][0]["text"]
            if alone != answer.text:
                raise RuntimeError(f"prompt {seed} got another answer alone:\n{alone!r}\n{answer.text!r}")
    first = [answer.first for answer in answers.values()]
    return {
        "tokens_per_second": len(answers) * tokens / seconds, "seconds": seconds,
        "first_token_p50": percentile(first, 50), "first_token_p95": percentile(first, 95),
        "gap": statistics.median(answer.gap for answer in answers.values()),
        "prompt_tokens": statistics.median(answer.prompt_count for answer in answers.values()),
        "server_cpu_seconds": cpu, "client_cpu_seconds": own, "checked": checks,
        "server_peak_mb": peak_mb(server.process.pid),
    }


def peak_mb(pid):
    """The most memory that a process ever had resident."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024 / 1e6

"""Drives the Responses API, parsing, tools in streams, filling of gaps and refusals with OpenAI's own client.

Arguments: the base URL, and the names of a model, of one that fills gaps, and of one that is slow and lets one request
wait. Prints the name of each check that held; a check that does not hold raises.
"""

import json
import sys
import threading
import time
import urllib.request
from typing import List, Literal

import openai
import pydantic

from checks import connect, refused, run

base_url, model, coder, slow = sys.argv[1:5]
client = connect(base_url)
weather = {
    "type": "object", "required": ["city"], "additionalProperties": False,
    "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
}
call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


class Trip(pydantic.BaseModel):
    city: Literal["Rome", "Oslo"]
    by: Literal["rail", "road"]
    stops: List[Literal["a", "b"]]
    booked: bool


def respond(**options):
    return client.responses.create(
        **{"model": model, "input": "Say something.", "max_output_tokens": 12, "temperature": 0, **options})


def response():
    answer = respond(instructions="Be brief.", metadata={"trip": "1"}, user="ada")
    assert answer.object == "response" and answer.id.startswith("resp_") and answer.model == model, answer
    assert answer.status in ("completed", "incomplete") and answer.error is None
    assert answer.output[0].type == "message" and answer.output[0].role == "assistant"
    assert answer.output_text == answer.output[0].content[0].text
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.instructions == "Be brief." and answer.metadata == {"trip": "1"} and answer.tools == []
    assert respond(instructions="Be brief.").output_text == answer.output_text
    chat = client.chat.completions.create(
        model=model, max_completion_tokens=12, temperature=0,
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say something."}])
    assert chat.choices[0].message.content == answer.output_text, (chat, answer)
    assert chat.usage.prompt_tokens == answer.usage.input_tokens
    again = respond(input=[{"role": "user", "content": [{"type": "input_text", "text": "Say something."}]}])
    assert again.output_text == respond().output_text


def response_stream():
    whole = respond()
    text, kinds, numbers = "", [], []
    for event in respond(stream=True):
        kinds.append(event.type)
        numbers.append(event.sequence_number)
        if event.type == "response.output_text.delta":
            text += event.delta
    assert text == whole.output_text and numbers == list(range(len(numbers)))
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"], kinds
    assert kinds[-4:-1] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done"], kinds
    assert kinds[-1] == "response." + whole.status and event.response.usage == whole.usage, event
    with client.responses.stream(
            model=model, input="Yes?", extra_body={"guided_choice": ["yes"]}, temperature=0) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.status == "completed" and final.output_text == "yes" == snapshots[-1], final


def response_tools():
    described = [{"type": "function", "name": "weather", "description": "The weather.", "parameters": weather}]
    answer = respond(
        tools=described, tool_choice={"type": "function", "name": "weather"}, temperature=1, max_output_tokens=300)
    (made,) = answer.output
    assert made.type == "function_call" and made.name == "weather" and made.call_id.startswith("call_"), made
    assert json.loads(made.arguments)["city"] in ("Rome", "Oslo")
    forced = {"guided_choice": ["I look. " + call]}
    deltas, done, final = "", [], None
    for event in respond(tools=described, stream=True, extra_body=forced, max_output_tokens=300):
        if event.type == "response.function_call_arguments.delta":
            deltas += event.delta
        elif event.type == "response.function_call_arguments.done":
            done.append(event.arguments)
        elif event.type == "response.completed":
            final = event.response
    assert json.loads(deltas) == {"city": "Rome"} and done == [deltas], (deltas, done)
    assert [item.type for item in final.output] == ["message", "function_call"] and "I look." in final.output_text
    # What was answered goes back as it came
    items = [{"role": "user", "content": "Rome?"}] + [item.model_dump(exclude_none=True) for item in final.output]
    items.append({"type": "function_call_output", "call_id": final.output[1].call_id, "output": "21 degrees"})
    assert respond(input=items, tools=described).status in ("completed", "incomplete")
    assert all(item.type == "message" for item in respond(tools=described, tool_choice="none").output)


def response_forms():
    for seed in range(3):
        options = dict(model=model, temperature=1, extra_body={"seed": seed})
        trip = client.responses.parse(input="A trip", text_format=Trip, max_output_tokens=400, **options).output_parsed
        assert isinstance(trip, Trip), trip
        with client.responses.stream(input="A trip", text_format=Trip, max_output_tokens=400, **options) as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output_parsed == trip
        parsed = client.chat.completions.parse(
            messages=[{"role": "user", "content": "A trip"}], response_format=Trip, max_completion_tokens=400, **options)
        assert isinstance(parsed.choices[0].message.parsed, Trip), parsed
    form = {"format": {"type": "json_object"}}
    assert respond(text=form, temperature=1, max_output_tokens=60).output_text.lstrip().startswith("{")


def response_logprobs():
    answer = respond(include=["message.output_text.logprobs"], top_logprobs=2)
    scores = answer.output[0].content[0].logprobs
    assert scores and all(len(score.top_logprobs) == 2 and score.logprob <= 0 for score in scores)
    assert b"".join(bytes(score.bytes) for score in scores).decode(errors="replace") == answer.output_text
    assert respond().output[0].content[0].logprobs == []


def chat_stream_with_tools():
    described = [{"type": "function", "function": {"name": "weather", "parameters": weather}}]
    options = dict(
        model=model, messages=[{"role": "user", "content": "Rome and Rome?"}], tools=described, temperature=0,
        extra_body={"guided_choice": ["I look. " + call + call]})
    text, calls, reasons = "", {}, []
    for chunk in client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **options):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for delta in choice.delta.tool_calls or []:
                made = calls.setdefault(delta.index, {"id": delta.id, "name": delta.function.name, "arguments": ""})
                made["arguments"] += delta.function.arguments
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert text.strip() == "I look." and reasons == ["tool_calls"] and chunk.usage.completion_tokens > 20, (text, chunk)
    assert [(c["name"], json.loads(c["arguments"])) for c in calls.values()] == [("weather", {"city": "Rome"})] * 2
    assert len({made["id"] for made in calls.values()}) == 2
    one = client.chat.completions.create(parallel_tool_calls=False, **options).choices[0]
    assert len(one.message.tool_calls) == 1 and one.finish_reason == "tool_calls", one


def best_of():
    options = dict(model=model, prompt="abc", max_tokens=6, temperature=1, seed=3)
    every = client.completions.create(n=5, logprobs=0, **options)
    means = [sum(c.logprobs.token_logprobs) / max(1, len(c.logprobs.tokens)) for c in every.choices]
    ranked = [c.text for _, c in sorted(zip(means, every.choices), key=lambda pair: -pair[0])]
    best = client.completions.create(n=2, best_of=5, **options)
    assert [c.text for c in best.choices] == ranked[:2] and [c.index for c in best.choices] == [0, 1], (best, ranked)
    error = refused(openai.BadRequestError, lambda: client.completions.create(best_of=2, stream=True, **options))
    assert error.param == "best_of", error


def gaps():
    filled = client.completions.create(model=coder, prompt="def ", suffix="()", max_tokens=9, temperature=0)
    assert filled.choices[0].text == "xy" and filled.choices[0].finish_reason == "stop", filled
    assert filled.usage.prompt_tokens == len("def ()") + 3
    error = refused(
        openai.BadRequestError, lambda: client.completions.create(model=model, prompt="def ", suffix="()"))
    assert error.param == "suffix" and "<|fim_prefix|>" in error.message, error


def errors():
    for option, value in [
            ("store", True), ("previous_response_id", "resp_1"), ("background", True), ("conversation", "conv_1"),
            ("truncation", "auto"), ("max_tool_calls", 2), ("prompt", {"id": "p"})]:
        error = refused(openai.BadRequestError, lambda: respond(**{option: value}))
        assert error.param == option and error.code == "unsupported_parameter" and ";" in error.message, error
    error = refused(openai.BadRequestError, lambda: respond(extra_body={"inputs": 1}))
    assert error.param == "inputs" and error.code == "unknown_parameter" and "'input'" in error.message, error
    for stream in (False, True):
        error = refused(openai.BadRequestError, lambda: respond(input="x" * 3000, stream=stream))
        assert error.code == "context_length_exceeded" and error.param == "input" and "more than" in error.message
    error = refused(openai.NotFoundError, lambda: respond(model=model + "x"))
    assert error.param == "model" and error.code == "model_not_found", error
    refused(openai.NotFoundError, lambda: client.responses.retrieve("resp_1"))


def rate_limit():
    """One request runs, one waits, and there is no room for a third."""
    running = client.completions.create(model=slow, prompt="a", max_tokens=20000, stream=True)
    next(iter(running))
    waiting = threading.Thread(
        target=lambda: client.completions.create(model=slow, prompt="b" * 100, max_tokens=1, temperature=0))
    waiting.start()
    metrics, deadline = base_url.removesuffix("/v1") + "/metrics", time.time() + 20
    while f'moru_requests_waiting{{model="{slow}"}} 1' not in urllib.request.urlopen(metrics).read().decode():
        assert time.time() < deadline, "no request waits"
        time.sleep(0.02)
    refusals = [
        refused(openai.RateLimitError, lambda: client.completions.create(model=slow, prompt="c" * 100, max_tokens=1)),
        refused(openai.RateLimitError, lambda: respond(model=slow, input="c" * 100)),
        refused(openai.RateLimitError, lambda: respond(model=slow, input="c" * 100, stream=True)),
    ]
    for refusal in refusals:
        assert refusal.status_code == 429 and refusal.code == "overloaded", refusal
        assert refusal.type == "rate_limit_error" and int(refusal.response.headers["retry-after"]) >= 1, refusal
    running.close()
    waiting.join(timeout=30)
    assert not waiting.is_alive()


run(
    response, response_stream, response_tools, response_forms, response_logprobs, chat_stream_with_tools, best_of, gaps,
    errors, rate_limit,
)

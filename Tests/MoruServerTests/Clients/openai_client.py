"""Drives a server with OpenAI's own client. Arguments: the base URL, the model's name, an adapter's name.

Prints the name of each check that held; a check that does not hold raises.
"""

import asyncio
import json
import re
import sys

import openai

from checks import connect, refused, run

base_url, model, adapter = sys.argv[1:4]
client = connect(base_url)
messages = [{"role": "user", "content": "Say something."}]


def chat(**options):
    return client.chat.completions.create(**{"model": model, "messages": messages, "max_completion_tokens": 12, **options})


def models():
    names = [m.id for m in client.models.list()]
    assert names == [model, adapter], names
    one = client.models.retrieve(adapter)
    assert one.object == "model" and one.owned_by == "moru" and one.parent == model, one


def chat_completion():
    answer = chat(temperature=0)
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert answer.model == model and answer.system_fingerprint.startswith("fp_")
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length"), choice
    assert choice.logprobs is None
    assert answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > len("Say something.")
    assert chat(temperature=0).choices[0].message.content == choice.message.content


def chat_stream():
    whole = chat(temperature=0)
    text, reasons, usages, roles = "", [], [], []
    for chunk in chat(temperature=0, stream=True, stream_options={"include_usage": True}):
        assert chunk.object == "chat.completion.chunk"
        if chunk.usage:
            usages.append(chunk.usage)
            assert chunk.choices == []
        for choice in chunk.choices:
            roles.append(choice.delta.role)
            text += choice.delta.content or ""
            if choice.finish_reason:
                reasons.append(choice.finish_reason)
    assert text == whole.choices[0].message.content, (text, whole)
    assert reasons == [whole.choices[0].finish_reason]
    assert usages == [whole.usage], (usages, whole.usage)
    assert roles[0] == "assistant" and set(roles[1:]) <= {None}


def chat_logprobs():
    choice = chat(temperature=0, logprobs=True, top_logprobs=2).choices[0]
    assert choice.logprobs.content
    for token in choice.logprobs.content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 2
        # Greedy: the token is the likeliest.
        assert token.top_logprobs[0].token == token.token
        assert abs(token.top_logprobs[0].logprob - token.logprob) < 1e-4
    held = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
    assert held.decode(errors="replace") == choice.message.content
    streamed = []
    for chunk in chat(temperature=0, logprobs=True, top_logprobs=2, stream=True):
        for choice_chunk in chunk.choices:
            if choice_chunk.logprobs:
                streamed += choice_chunk.logprobs.content
    assert streamed == choice.logprobs.content


def structured():
    """The model is random: every form is kept to for no other reason than the grammar."""
    schema = {
        "type": "object", "additionalProperties": False, "required": ["name", "level"],
        "properties": {
            "name": {"type": "string", "maxLength": 5}, "level": {"enum": ["low", "high"]},
            "count": {"type": "integer", "minimum": 10, "maximum": 99},
        },
    }
    form = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, "strict": True}}
    for seed in range(6):
        options = dict(temperature=1.0, seed=seed, max_completion_tokens=200)
        answer = chat(response_format=form, **options).choices[0]
        assert answer.finish_reason == "stop", answer
        thing = json.loads(answer.message.content)
        assert set(thing) <= set(schema["properties"]) and thing["level"] in ("low", "high"), thing
        assert len(thing["name"]) <= 5 and 10 <= thing.get("count", 10) <= 99, thing
        streamed = "".join(
            chunk.choices[0].delta.content or "" for chunk in chat(response_format=form, stream=True, **options))
        assert streamed == answer.message.content
        text = chat(extra_body={"guided_regex": "[a-c]{3}-\\d{2}"}, **options).choices[0].message.content
        assert re.fullmatch(r"[a-c]{3}-[0-9]{2}", text), text
        choice = {"structured_outputs": {"choice": ["yes", "no"]}}
        assert chat(extra_body=choice, **options).choices[0].message.content in ("yes", "no")
        grammar = 'root ::= "<" [0-9]+ ">"'
        text = client.completions.create(
            model=model, prompt="x", max_tokens=300, seed=seed, extra_body={"guided_grammar": grammar}).choices[0].text
        assert re.match(r"<[0-9]+", text), text
    objects = [
        chat(response_format={"type": "json_object"}, max_completion_tokens=40, temperature=1, seed=seed).choices[0]
        for seed in range(8)
    ]
    assert all(choice.message.content.lstrip().startswith("{") for choice in objects), objects
    complete = [json.loads(choice.message.content) for choice in objects if choice.finish_reason == "stop"]
    assert complete and all(isinstance(thing, dict) for thing in complete), objects


def tools():
    parameters = {
        "type": "object", "required": ["city"], "additionalProperties": False,
        "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    }
    described = [
        {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": parameters}},
        {"type": "function", "function": {"name": "now"}},
    ]
    options = dict(tools=described, temperature=1.0, max_completion_tokens=300)
    named = {"type": "function", "function": {"name": "weather"}}
    for seed in range(4):
        answer = chat(tool_choice=named, seed=seed, **options).choices[0]
        assert answer.finish_reason == "tool_calls" and answer.message.content is None, answer
        (call,) = answer.message.tool_calls
        assert call.type == "function" and call.id.startswith("call_") and call.function.name == "weather", call
        arguments = json.loads(call.function.arguments)
        assert arguments["city"] in ("Rome", "Oslo") and set(arguments) <= {"city", "days"}, arguments
        reasons, calls = [], []
        for chunk in chat(tool_choice=named, seed=seed, stream=True, **options):
            calls += chunk.choices[0].delta.tool_calls or []
            reasons += [chunk.choices[0].finish_reason] if chunk.choices[0].finish_reason else []
        assert reasons == ["tool_calls"] and [c.function.arguments for c in calls] == [call.function.arguments], calls
    required = chat(tool_choice="required", seed=1, **options).choices[0].message.tool_calls[0]
    assert required.function.name in ("weather", "now")
    conversation = messages + [
        {"role": "assistant", "content": None, "tool_calls": [required.model_dump()]},
        {"role": "tool", "tool_call_id": required.id, "content": "21 degrees"},
    ]
    answer = chat(messages=conversation, tools=described, max_completion_tokens=8).choices[0]
    assert answer.finish_reason in ("stop", "length", "tool_calls"), answer
    assert chat(tool_choice="none", tools=described).choices[0].message.tool_calls is None


def chat_choices():
    answer = chat(temperature=1.5, seed=3, n=3)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert len({c.message.content for c in answer.choices}) > 1
    again = chat(temperature=1.5, seed=3, n=3)
    assert [c.message.content for c in answer.choices] == [c.message.content for c in again.choices]


def chat_echo():
    plain = chat(temperature=0).choices[0].message.content
    echoed = chat(temperature=0, extra_body={"echo": True}).choices[0].message.content
    assert echoed == "Say something." + plain


def completion_echo_logprobs():
    prompt = "Über 東京: a"
    answer = client.completions.create(
        model=model, prompt=prompt, max_tokens=6, temperature=0, echo=True, logprobs=2)
    choice = answer.choices[0]
    assert choice.text.startswith(prompt) and answer.object == "text_completion"
    scores = choice.logprobs
    count = answer.usage.total_tokens
    assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs) == len(scores.text_offset) == count
    assert scores.token_logprobs[0] is None and scores.top_logprobs[0] is None
    assert all(p <= 0 for p in scores.token_logprobs[1:])
    for token, logprob, top, offset in zip(scores.tokens, scores.token_logprobs, scores.top_logprobs, scores.text_offset):
        if not token.startswith("bytes:") and not token.startswith("<|"):
            assert choice.text[offset:].startswith(token), (token, offset, choice.text)
        if logprob is not None:
            assert 2 <= len(top) <= 3 and abs(top[token] - logprob) < 1e-5, (token, top)
    streamed_text, streamed_tokens, streamed_offsets = "", [], []
    for chunk in client.completions.create(
        model=model, prompt=prompt, max_tokens=6, temperature=0, echo=True, logprobs=2, stream=True):
        for piece in chunk.choices:
            streamed_text += piece.text
            if piece.logprobs:
                streamed_tokens += piece.logprobs.tokens
                streamed_offsets += piece.logprobs.text_offset
    assert streamed_text == choice.text
    assert streamed_tokens == scores.tokens and streamed_offsets == scores.text_offset


def completion_scoring():
    options = {"model": model, "prompt": "to be or not", "temperature": 0, "echo": True, "logprobs": 0}
    scored = client.completions.create(max_tokens=0, **options)
    longer = client.completions.create(max_tokens=4, **options)
    choice = scored.choices[0]
    assert choice.text == "to be or not" and choice.finish_reason == "length", choice
    assert scored.usage.completion_tokens == 0
    count = scored.usage.prompt_tokens
    assert len(choice.logprobs.tokens) == count
    assert choice.logprobs.token_logprobs == longer.choices[0].logprobs.token_logprobs[:count]


def completion_prompts():
    one = client.completions.create(model=model, prompt="abc", max_tokens=5, temperature=0).choices[0].text
    ids = client.completions.create(model=model, prompt=[97, 98, 99], max_tokens=5, temperature=0).choices[0].text
    both = client.completions.create(model=model, prompt=["abc", "xyz"], max_tokens=5, temperature=0)
    arrays = client.completions.create(model=model, prompt=[[97, 98, 99], [120, 121, 122]], max_tokens=5, temperature=0)
    assert ids == one
    assert [c.index for c in both.choices] == [0, 1] and both.choices[0].text == one
    assert [c.text for c in arrays.choices] == [c.text for c in both.choices]
    assert both.usage.prompt_tokens == 6


def seeds():
    def sample(seed):
        return client.completions.create(model=model, prompt="abc", max_tokens=16, temperature=1, seed=seed).choices[0].text

    assert sample(7) == sample(7)
    assert len({sample(seed) for seed in range(5)}) > 1


def adapter_answers_differ():
    base = client.completions.create(model=model, prompt="abc", max_tokens=8, temperature=0, logprobs=0)
    other = client.completions.create(model=adapter, prompt="abc", max_tokens=8, temperature=0, logprobs=0)
    assert base.choices[0].logprobs.token_logprobs != other.choices[0].logprobs.token_logprobs
    assert base.system_fingerprint != other.system_fingerprint


def stop_strings():
    def complete(**options):
        return client.completions.create(
            model=model, prompt="abc", max_tokens=40, temperature=1, seed=5, logprobs=0, **options).choices[0]

    whole = complete()
    mark = next(c for c in whole.text[1:] if c.isascii() and c not in whole.text[0])
    for stop in (mark, ["never said", mark]):
        cut = complete(stop=stop)
        assert cut.text == whole.text[: whole.text.index(mark)], (cut, whole)
        assert cut.finish_reason == "stop"
        assert cut.logprobs.tokens == whole.logprobs.tokens[: len(cut.logprobs.tokens)]
        assert all(offset < len(cut.text) for offset in cut.logprobs.text_offset)


def errors():
    error = refused(openai.BadRequestError, lambda: chat(temperature=9))
    assert error.param == "temperature" and error.code == "invalid_value" and error.type == "invalid_request_error"
    error = refused(openai.BadRequestError, lambda: chat(extra_body={"temperture": 1}))
    assert error.param == "temperture" and error.code == "unknown_parameter"
    error = refused(openai.BadRequestError, lambda: chat(functions=[{"name": "f"}]))
    assert error.param == "functions" and error.code == "unsupported_parameter"
    schema = {"type": "array", "uniqueItems": True}
    form = {"type": "json_schema", "json_schema": {"name": "list", "schema": schema}}
    error = refused(openai.BadRequestError, lambda: chat(response_format=form))
    assert error.param == "response_format" and "uniqueItems" in error.message, error
    error = refused(openai.BadRequestError, lambda: chat(logit_bias={"5000000": 1}))
    assert error.param == "logit_bias", error
    for stream in (False, True):
        error = refused(
            openai.BadRequestError, lambda: chat(messages=[{"role": "user", "content": "x" * 3000}], stream=stream))
        assert error.code == "context_length_exceeded" and error.param == "messages", error
    error = refused(openai.BadRequestError, lambda: client.completions.create(model=model, prompt=[5, 5000000]))
    assert error.param == "prompt", error
    error = refused(openai.NotFoundError, lambda: chat(model=model + "x"))
    assert error.param == "model" and error.code == "model_not_found" and f"Did you mean '{model}'?" in error.message
    refused(openai.NotFoundError, lambda: client.models.retrieve("none"))
    error = refused(openai.BadRequestError, lambda: client.embeddings.create(model=model, input="x"))
    assert error.param == "model" and error.code == "model_not_suitable", error


def concurrent():
    def ask(client, seed):
        return client.chat.completions.create(
            model=model, messages=messages, max_completion_tokens=16, temperature=1, seed=seed)

    alone = [ask(client, seed).choices[0].message.content for seed in range(10)]

    async def together():
        async with connect(base_url, openai.AsyncOpenAI) as many:
            return await asyncio.gather(*(ask(many, seed) for seed in range(10)))

    answers = [answer.choices[0].message.content for answer in asyncio.run(together())]
    assert answers == alone


def abandoned_stream():
    stream = chat(stream=True, max_completion_tokens=200)
    next(iter(stream))
    stream.close()
    chat(temperature=0)


run(
    models, chat_completion, chat_stream, chat_logprobs, structured, tools, chat_choices, chat_echo,
    completion_echo_logprobs, completion_scoring, completion_prompts, seeds, adapter_answers_differ, stop_strings,
    errors, concurrent, abandoned_stream,
)

"""Asks a server for vectors and labels with OpenAI's own client, and for scores as clients of rerankers do.

Arguments: the base URL, and the names of models: an embedder, a classifier of one label, and a cross-encoder. Prints
the name of each check that held; a check that does not hold raises.
"""

import asyncio
import base64
import math
import struct
import sys

import openai

from checks import connect, refused, run

base_url, embedder, classifier, scorer = sys.argv[1:5]
client = connect(base_url)
texts = ["the harbour was quiet", "a ferry came in at seven", "x"]


def embed(**options):
    return client.embeddings.create(**{"model": embedder, "input": texts, **options})


def embeddings():
    """The client asks for Base64 unless told otherwise, and decodes it."""
    answer = embed(user="somebody")
    assert answer.object == "list" and answer.model == embedder
    assert [e.index for e in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(len(t) for t in texts), answer.usage
    for element in answer.data:
        assert abs(math.hypot(*element.embedding) - 1) < 1e-5
    floats = embed(encoding_format="float")
    for a, b in zip(answer.data, floats.data):
        # Decimals are the shortest that give the same f32
        assert list(a.embedding) == [struct.unpack("f", struct.pack("f", x))[0] for x in b.embedding]
    raw = client.post("/embeddings", cast_to=object, body={
        "model": embedder, "input": texts[0], "encoding_format": "base64"})
    held = base64.b64decode(raw["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(held) // 4}f", held)) == list(answer.data[0].embedding)


def embedding_inputs():
    whole = [list(e.embedding) for e in embed().data]
    assert list(embed(input=texts[1]).data[0].embedding) == whole[1]
    assert [list(e.embedding) for e in embed(input=[list(t.encode()) for t in texts]).data] == whole
    assert list(embed(input=list(texts[2].encode())).data[0].embedding) == whole[2]


def embedding_dimensions():
    whole = embed(input="ferry").data[0].embedding
    cut = embed(input="ferry", dimensions=8).data[0].embedding
    length = math.hypot(*whole[:8])
    assert len(cut) == 8 and all(abs(a - b / length) < 1e-6 for a, b in zip(cut, whole)), (cut, whole)
    assert list(embed(input="ferry", dimensions=len(whole)).data[0].embedding) == list(whole)


def moderations():
    answer = client.moderations.create(model=classifier, input=texts)
    assert answer.id.startswith("modr-") and answer.model == classifier and len(answer.results) == len(texts)
    for result in answer.results:
        held = {name: value for name, value in result.categories.model_dump().items() if value is not None}
        scores = result.category_scores.model_extra
        assert set(held) == set(scores) == {"bad", "worse"}, result
        assert result.flagged == any(held.values()) and all(0 <= score <= 1 for score in scores.values())
    one = client.moderations.create(model=classifier, input=[{"type": "text", "text": texts[0]}])
    assert one.results == answer.results[:1]


def ranks():
    query = "when does it come in"
    scores = client.post("/score", cast_to=object, body={"model": scorer, "text_1": query, "text_2": texts})["data"]
    ranked = client.post("/rerank", cast_to=object, body={"model": scorer, "query": query, "documents": texts})
    assert {r["index"]: r["relevance_score"] for r in ranked["results"]} == {s["index"]: s["score"] for s in scores}
    best = [r["relevance_score"] for r in ranked["results"]]
    assert best == sorted(best, reverse=True)
    assert all(r["document"]["text"] == texts[r["index"]] for r in ranked["results"])


def errors():
    error = refused(openai.BadRequestError, lambda: embed(dimensions=7))
    assert error.param == "dimensions" and error.code == "unsupported_value", error
    error = refused(openai.BadRequestError, lambda: embed(input=["a", "b" * 600]))
    assert error.param == "input[1]" and error.code == "context_length_exceeded" and "88 more" in error.message, error
    error = refused(openai.BadRequestError, lambda: embed(extra_body={"dimension": 8}))
    assert error.param == "dimension" and error.code == "unknown_parameter"
    error = refused(openai.BadRequestError, lambda: embed(model=classifier))
    assert error.param == "model" and error.code == "model_not_suitable"
    error = refused(openai.BadRequestError, lambda: client.moderations.create(model=embedder, input="x"))
    assert error.code == "model_not_suitable"
    refused(openai.NotFoundError, lambda: embed(model="none"))


def concurrent():
    asked = [f"text {number} " + "and again " * (number % 7) for number in range(32)]
    alone = [list(embed(input=text).data[0].embedding) for text in asked]

    async def together():
        async with connect(base_url, openai.AsyncOpenAI) as many:
            return await asyncio.gather(*(many.embeddings.create(model=embedder, input=text) for text in asked))

    assert [list(answer.data[0].embedding) for answer in asyncio.run(together())] == alone


run(embeddings, embedding_inputs, embedding_dimensions, moderations, ranks, errors, concurrent)

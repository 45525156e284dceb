"""Drives the Open Inference Protocol with Triton's Python client, and with KServe's where it is installed.

Arguments: address, a model that generates, one that embeds. Prints a line for each check that held.
"""

import asyncio
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, generator, embedder = sys.argv[1:]
client = triton.InferenceServerClient(address)
texts = np.array([["ab"], ["zé"]], dtype=object)


def held(name):
    print(name)


def text_input(binary=True):
    tensor = triton.InferInput("text", list(texts.shape), "BYTES")
    tensor.set_data_from_numpy(texts, binary_data=binary)
    return tensor


def check_refused(message, request):
    try:
        request()
    except InferenceServerException as error:
        assert message in error.message(), error
    else:
        raise SystemExit(f"what should say {message} was not refused")


assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready(generator) and not client.is_model_ready("nothing")
held("health")

metadata = client.get_server_metadata()
assert metadata["name"] == "moru" and "binary_tensor_data" in metadata["extensions"], metadata
model = client.get_model_metadata(embedder, "1")
assert model["platform"] == "moru" and model["inputs"][0]["name"] == "text", model
held("metadata")

parameters = {"max_tokens": 6, "temperature": 1.0, "seed": 11, "stop": ["~"]}
answer = client.infer(generator, [text_input()], request_id="r1", parameters=parameters)
generated = answer.as_numpy("text")
assert generated.shape == (2,) and answer.get_response()["id"] == "r1", answer.get_response()
assert set(answer.as_numpy("finish_reason")) <= {b"length", b"stop"}
held("generate_binary")

wanted = [triton.InferRequestedOutput("text", binary_data=False)]
plain = client.infer(generator, [text_input(False)], outputs=wanted, parameters=parameters)
assert [text.encode() for text in plain.as_numpy("text")] == list(generated), plain.get_response()
assert plain.as_numpy("finish_reason") is None
held("generate_json")

vectors = client.infer(embedder, [text_input()]).as_numpy("embedding")
assert vectors.dtype == np.float32 and vectors.shape[0] == 2, vectors.shape
assert np.isfinite(vectors).all() and not np.array_equal(vectors[0], vectors[1])
wanted = [triton.InferRequestedOutput("embedding", binary_data=False)]
same = client.infer(embedder, [text_input(False)], outputs=wanted).as_numpy("embedding")
assert np.array_equal(vectors, same)
held("embed")

waiting = [client.async_infer(embedder, [text_input()]) for _ in range(8)]
assert all(np.array_equal(each.get_result().as_numpy("embedding"), vectors) for each in waiting)
held("async")

ids = triton.InferInput("input_ids", [1, 3], "INT64")
ids.set_data_from_numpy(np.array([[97, 98, 99]], dtype=np.int64))
assert client.infer(generator, [ids], parameters=parameters).as_numpy("text").shape == (1,)
held("token_ids")

check_refused("no model 'nothing'", lambda: client.infer("nothing", [text_input()]))
check_refused("'inputs'", lambda: client.infer(generator, []))
held("errors")

client.unload_model(embedder)
states = {model["name"]: model for model in client.get_model_repository_index()}
assert states[generator]["state"] == "READY" and states[embedder]["state"] == "UNAVAILABLE", states
assert states[embedder]["reason"] == "unloaded" and not client.is_model_ready(embedder)
client.load_model(embedder)
assert client.is_model_ready(embedder)
check_refused("no model 'nothing'", lambda: client.load_model("nothing"))
check_refused("parameters.config", lambda: client.load_model(embedder, config="{}"))
held("repository")

try:
    from kserve import InferenceRESTClient, InferInput, InferRequest
    from kserve.inference_client import RESTConfig
except ImportError:
    sys.exit()


async def kserve():
    url = f"http://{address}"
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(url) and await client.is_server_live(url)
    assert await client.is_model_ready(url, generator)
    for binary in [False, True]:
        tensor = InferInput("text", list(texts.shape), "BYTES")
        tensor.set_data_from_numpy(texts, binary_data=binary)
        request = InferRequest(generator, [tensor], request_id="k1", parameters=parameters)
        answer = await client.infer(url, request, model_name=generator)
        told = answer.get_output_by_name("text").data
        assert [text.encode() if isinstance(text, str) else text for text in told] == list(generated), told
        assert answer.id == "k1" and answer.model_name == generator
    await client.close()


asyncio.run(kserve())
held("kserve")

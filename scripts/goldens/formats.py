#!/usr/bin/env python3
"""Model files written and read by the reference packages, for the tests of Moru's formats.

    formats.py write DIR     writes reference.safetensors and reference.gguf, and reference.json with what is in them
    formats.py dump FILE     prints what the reference packages read from a file, as JSON
    formats.py values FILE   prints dequantised values of a GGUF file: the first, middle and last 8 of each tensor

Nothing is committed: the tests run this with the interpreter that MORU_TEST_PYTHON names.
Needs numpy, safetensors and gguf.
"""

import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
import safetensors
from gguf import GGMLQuantizationType as Type

SAFETENSORS_NAMES = {
    "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "F64": "float64", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn",
}


def bf16_bytes(values):
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()


def safetensors_content(random):
    floats = random.standard_normal((3, 5)).astype(np.float32)
    return {
        "layer.0.weight": ("F32", [3, 5], floats.tobytes()),
        "layer.0.bias": ("F16", [5], floats[0].astype(np.float16).tobytes()),
        "norm": ("BF16", [7], bf16_bytes(random.standard_normal(7))),
        "positions": ("I64", [2, 2], np.array([[0, 1], [-5, 2**40]], np.int64).tobytes()),
        "types": ("I32", [3], np.array([1, -2, 3], np.int32).tobytes()),
        "scalar": ("F32", [], np.float32(2.5).tobytes()),
        "empty": ("F32", [0, 4], b""),
        "quote\"d \\ name \u00e9\n": ("F32", [1], np.float32(-1).tobytes()),
        "double": ("F64", [2], np.array([1, 2], np.float64).tobytes()),
        "bytes": ("U8", [3], bytes([1, 2, 3])),
        "mask": ("BOOL", [3], bytes([1, 0, 1])),
        "int8": ("I8", [3], bytes([1, 2, 255])),
        "float8": ("F8_E4M3", [3], bytes([56, 48, 60])),
    }


def write_safetensors(path, content, metadata):
    buffers, tensors = [], {}
    for name, (dtype, shape, data) in content.items():
        if hasattr(safetensors, "TensorSpec"):
            buffers.append(np.frombuffer(data, np.uint8))
            tensors[name] = safetensors.TensorSpec(
                dtype=SAFETENSORS_NAMES[dtype], shape=shape, data_ptr=buffers[-1].ctypes.data, data_len=len(data)
            )
        else:  # before 0.8
            tensors[name] = {"dtype": SAFETENSORS_NAMES[dtype], "shape": shape, "data": data}
    Path(path).write_bytes(safetensors.serialize(tensors, metadata))


def describe(content):
    return {name: {"format": f, "shape": s, "hex": bytes(d).hex()} for name, (f, s, d) in content.items()}


GGUF_PLAIN = {
    "f32": (Type.F32, np.float32), "f16": (Type.F16, np.float16), "i32": (Type.I32, np.int32),
    "i64": (Type.I64, np.int64), "f64": (Type.F64, np.float64), "i8": (Type.I8, np.int8),
}
GGUF_BLOCKS = [
    Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K,
    Type.Q6_K, Type.IQ4_NL, Type.TQ1_0,
]


def write_gguf(path, random):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_uint8("test.uint8", 200)
    writer.add_int8("test.int8", -100)
    writer.add_uint16("test.uint16", 60000)
    writer.add_int16("test.int16", -30000)
    writer.add_uint32("test.uint32", 4000000000)
    writer.add_int32("test.int32", -2000000000)
    writer.add_uint64("test.uint64", 2**62)
    writer.add_int64("test.int64", -(2**62))
    writer.add_float32("test.float32", 1e-5)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "한국어 \u00e9 \U0001f600")
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.doubles", [0.5, -1.5])
    writer.add_array("test.bools", [True, False])
    writer.add_array("test.strings", ["", "a", "\u0120token", "\u2581한"])
    content = {}
    for name, (kind, dtype) in GGUF_PLAIN.items():
        array = (random.standard_normal((2, 3, 4)) * 20).astype(dtype)
        writer.add_tensor(name, array)
        content[name] = (kind.name, [2, 3, 4], array.tobytes())
    for kind in GGUF_BLOCKS:
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        data = random.integers(0, 256, (3, 2 * size), dtype=np.uint8)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        content[kind.name] = (kind.name, [3, 2 * elements], data.tobytes())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return content


def write(directory):
    random = np.random.default_rng(7)
    content = safetensors_content(random)
    # With dtypes that Moru writes and one metadata key, whose order is not in question, every byte is determined.
    readable = {n: t for n, t in content.items() if t[0] in ("F32", "F16", "BF16", "I64", "I32")}
    write_safetensors(directory / "reference.safetensors", content, {"format": "pt", "note": "a \"b\""})
    write_safetensors(directory / "canonical.safetensors", readable, {"format": "pt"})
    expected = {
        "safetensors": describe(content),
        "canonical": describe(readable),
        "gguf": describe(write_gguf(directory / "reference.gguf", random)),
    }
    (directory / "reference.json").write_text(json.dumps(expected))


def dump_safetensors(path):
    raw = Path(path).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    names = {v: k for k, v in SAFETENSORS_NAMES.items()}
    names.update({k: k for k in SAFETENSORS_NAMES})
    tensors = {
        name: (names[str(t["dtype"])], list(t["shape"]), bytes(t["data"])) for name, t in safetensors.deserialize(raw)
    }
    return {"metadata": header.get("__metadata__", {}), "tensors": describe(tensors)}


def dump_gguf(path):
    reader = gguf.GGUFReader(path)
    tensors = {
        t.name: (t.tensor_type.name, [int(n) for n in reversed(t.shape)], t.data.tobytes()) for t in reader.tensors
    }
    metadata = {
        key: {"types": [t.name for t in field.types], "value": field.contents()}
        for key, field in reader.fields.items()
        if not key.startswith("GGUF.")
    }
    return {"metadata": metadata, "tensors": describe(tensors), "version": int(reader.fields["GGUF.version"].parts[0][0])}


def values(path):
    result = {}
    for tensor in gguf.GGUFReader(path).tensors:
        flat = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(-1)
        middle = flat.size // 2
        picked = np.concatenate([flat[:8], flat[middle : middle + 8], flat[-8:]])
        result[tensor.name] = {
            "format": tensor.tensor_type.name,
            "shape": [int(n) for n in reversed(tensor.shape)],
            "values": [float(v) for v in picked],
        }
    return result


def main():
    command, target = sys.argv[1], Path(sys.argv[2])
    if command == "write":
        write(target)
    elif command == "dump":
        print(json.dumps(dump_gguf(target) if target.suffix == ".gguf" else dump_safetensors(target)))
    elif command == "values":
        print(json.dumps(values(target)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""The clients of Triton against a server of noisefloor: health, metadata, JSON and binary inference, errors.

    node dist/cli/main.js serve small=MODEL --control
    pip install 'tritonclient[http]' && python serving_triton.py localhost:8080 small
"""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, name = sys.argv[1], sys.argv[2]
client = triton.InferenceServerClient(address, concurrency=8)
checks = 0


def check(what, condition):
    global checks
    checks += 1
    if not condition:
        raise SystemExit(f"failed: {what}")
    print(f"ok: {what}")


def refused(what, call, words):
    try:
        call()
    except InferenceServerException as error:
        return check(f"{what}: {error.status()} {error.message()[:70]}", words in str(error))
    check(what, False)


check("live", client.is_server_live())
check("ready", client.is_server_ready())
check("model ready", client.is_model_ready(name) and client.is_model_ready(name, "1"))
check("another model is not", not client.is_model_ready("none"))
check("server metadata", "binary_tensor_data" in client.get_server_metadata()["extensions"])
metadata = client.get_model_metadata(name)
shape = metadata["inputs"][0]["shape"][1:]
labels = metadata["labels"]
check("model metadata", metadata["name"] == name and metadata["outputs"][0]["shape"] == [-1, len(labels)])

pixels = np.random.default_rng(0).integers(0, 256, [3, *shape], dtype=np.uint8)


def ask(binary_in, binary_out, data=pixels, datatype="UINT8", **more):
    tensor = triton.InferInput("input", data.shape, datatype)
    tensor.set_data_from_numpy(data, binary_data=binary_in)
    outputs = [triton.InferRequestedOutput(one, binary_data=binary_out) for one in ("logits", "steps")]
    return client.infer(name, [tensor], outputs=outputs, **more)


answers = [ask(i, o).as_numpy("logits") for i in (True, False) for o in (True, False)]
check("JSON and binary, both ways, agree", all((one == answers[0]).all() for one in answers) and answers[0].shape == (3, len(labels)))
check("a request with an id", ask(True, True, request_id="7").get_response()["id"] == "7")
early = ask(True, True, parameters={"time_steps": 8, "early_exit": 0.5})
check(f"early exit, steps {early.as_numpy('steps').tolist()}", early.as_numpy("steps").max() <= 8)
check("compressed", (ask(True, True, request_compression_algorithm="gzip").as_numpy("logits") == answers[0]).all())
check("compressed, deflate", (ask(True, True, request_compression_algorithm="deflate").as_numpy("logits") == answers[0]).all())
check("an answer asked for compressed", (ask(True, True, response_compression_algorithm="gzip").as_numpy("logits") == answers[0]).all())
check("with a timeout", ask(True, True, timeout=5_000_000).as_numpy("logits") is not None)

tensor = triton.InferInput("input", pixels.shape, "UINT8").set_data_from_numpy(pixels)
classes = client.infer(name, [tensor], outputs=[triton.InferRequestedOutput("logits", class_count=2)]).as_numpy("logits")
best = [line[0].decode().split(":") for line in classes]
check("classification", [int(one[1]) for one in best] == answers[0].argmax(1).tolist() and all(one[2] == labels[int(one[1])] for one in best))
defaults = client.infer(name, [tensor], parameters={"top_k": 1})
check("labels as bytes", [one[0].decode() for one in defaults.as_numpy("top_label")] == [one[2] for one in best])
several = [client.async_infer(name, [tensor], outputs=[triton.InferRequestedOutput("logits")]) for _ in range(32)]
check("32 at a time", all((one.get_result().as_numpy("logits") == answers[0]).all() for one in several))

refused("an unknown model", lambda: client.infer("none", [tensor]), "Unknown model")
refused("a wrong shape", lambda: ask(True, True, data=pixels[:, :, :1]), "inputs[0].shape")
refused("a wrong type", lambda: ask(True, True, data=pixels.astype(np.int32), datatype="INT32"), "FP32, UINT8")
refused("an unknown parameter", lambda: ask(True, True, parameters={"steps": 3}), "Unknown parameter")
refused("NaN", lambda: ask(True, True, data=np.full([1, *shape], np.nan, np.float32), datatype="FP32"), "NaN")

check("index", client.get_model_repository_index()[0]["state"] == "READY")
client.unload_model(name)
check("unloaded", not client.is_model_ready(name))
refused("inference on an unloaded model", lambda: client.infer(name, [tensor]), "not loaded")
client.load_model(name)
check("loaded again", client.is_model_ready(name) and (ask(True, True).as_numpy("logits") == answers[0]).all())
print(f"{checks} checks")

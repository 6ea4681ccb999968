"""Transfer a recording by an exported graph, without torch or this package (docs/export.md).

python examples/onnx_transfer.py violin.onnx song.wav out.wav
"""

import sys

import numpy as np
import onnxruntime
import soundfile

onnxruntime.set_default_logger_severity(3)  # errors: not what it leaves unoptimised
graph, song, out = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map
audio, rate = soundfile.read(song, dtype="float32", always_2d=True)
if rate != int(facts["sample_rate"]):
    sys.exit(f"error: {song} has {rate} Hz: resample it to {facts['sample_rate']} Hz.")
mono = audio.mean(1)
level = np.sqrt(np.mean(mono**2))
(made,) = session.run(None, {"audio": mono * np.float32(float(facts["rms"]) / level)})
made *= min(level / np.sqrt(np.mean(made**2)), 0.9 / np.abs(made).max())  # as loud, unless that would clip
soundfile.write(out, made, rate)

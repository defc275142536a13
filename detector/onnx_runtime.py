"""ONNX Runtime, loaded so that it reports to nobody.

Since 1.29 its builds for Linux keep an identifier of the device in the user's cache, and tell its
maker which graphs are run. What forbids that is read from the environment once, while it is loaded;
its function ``disable_telemetry_events`` comes too late. Where somebody has loaded it before, as in
a notebook, it is theirs to say.
"""

import os

_FORBID = "ORT_DISABLE_TELEMETRY"

_before = os.environ.get(_FORBID)
os.environ[_FORBID] = "1"
try:
    import onnxruntime
finally:  # the environment is the caller's
    if _before is None:
        del os.environ[_FORBID]
    else:
        os.environ[_FORBID] = _before

__all__ = ["onnxruntime"]

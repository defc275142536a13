"""A trained victim: images in, labels out; saved and read back without unpickling."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from attacks.tools.artefacts import SUFFIX
from attacks.victims.network import VictimNetwork
from attacks.victims.settings import VictimProvenance
from sanitizer.files import write_atomically
from sanitizer.record import Record

#: Images that are classified at once.
BATCH = 500


@dataclass(frozen=True)
class _Header(Record):
    """What the file of a victim says beside its weights."""

    widths: tuple[int, int, int, int]  #: channels of the network's four stages
    classes: int
    provenance: VictimProvenance


@dataclass(frozen=True)
class Victim:
    """A classifier with its weights, in evaluation mode."""

    network: VictimNetwork
    classes: int
    provenance: VictimProvenance

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(n, h, w, 3) uint8 images -> (n, classes) float32."""
        self.network.eval()
        parts = []
        for start in range(0, len(images), BATCH):
            batch = as_tensor(images[start : start + BATCH], self.device)
            with torch.inference_mode(), mixed_precision(self.device):
                parts.append(self.network(batch).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), np.float32)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """(n, h, w, 3) uint8 images -> (n,) int64 labels, 0 to classes - 1."""
        return self.logits(images).argmax(axis=1).astype(np.int64)

    def save(self, path: Path) -> None:
        """Write weights, as float16, and provenance, atomically."""
        header = _Header(self.provenance.settings.widths, self.classes, self.provenance)
        state = {
            k: (v.half() if v.is_floating_point() else v).contiguous().cpu()
            for k, v in self.network.state_dict().items()
        }
        data = safetensors.torch.save(state, {"victim": json.dumps(header.to_json())})
        write_atomically(path, data)


def load(name: str) -> Victim:
    """A victim that ships, by name, or one from a file that :meth:`Victim.save` wrote.

    Raises:
        ValueError: there is none of that name, or the file is no victim.
    """
    path = Path(name) if name.endswith(SUFFIX) else _folder() / f"{name}{SUFFIX}"
    if not path.is_file():
        raise ValueError(
            f"no classifier {name!r}, known: {', '.join(bundled())}; or give a {SUFFIX} file"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = _Header.from_json(json.loads((file.metadata() or {}).get("victim", "{}")))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        network = VictimNetwork(header.widths, header.classes)
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{path} is no classifier: its weights are not those of the network in its header"
        ) from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no classifier: {str(error).splitlines()[0]}") from error
    return Victim(placed(network).eval(), header.classes, header.provenance)


def bundled() -> list[str]:
    """Names of the classifiers that ship."""
    return sorted(file.stem for file in _folder().glob(f"*{SUFFIX}"))


def as_tensor(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32, 0 to 255, channels last in memory."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)


def best_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def placed(network: VictimNetwork) -> VictimNetwork:
    """The network on the best device, its weights in the order that convolves fastest there."""
    network.to(best_device())
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def mixed_precision(device: torch.device) -> torch.autocast:
    """Convolutions in bfloat16 where the hardware has it; elsewhere that would be slower."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def _folder() -> Path:
    return Path(str(resources.files("attacks.victims"))) / "weights"

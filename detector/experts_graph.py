"""The network :class:`detector.experts.Experts` as an ONNX graph, which is scored without torch.

torch takes a second to load and a hundred megabytes, in every process that scores. The arithmetic
is the same, written for the speed of ONNX Runtime: what is the same for all images is folded into
the weights (batch norms, the normalisation of spectra, the scale of differences), and differences
of neighbours are subtractions of shifted images instead of convolutions, of which most weights
would be zero.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import onnx
from onnx import numpy_helper, parser

from detector.settings import BLOCK, FLATNESS, LARGE_DIFFERENCE, ExpertsSettings
from detector.weights import TensorForm
from sanitizer.dct import dct_matrix

Tensors = Mapping[str, np.ndarray]

#: What a batch norm keeps, and what it adds to a variance.
_NORM, _NORM_EPSILON = ("weight", "bias", "running_mean", "running_var"), 1e-5

_OPSET, _IR_VERSION = 18, 8

#: From images to logits, in ONNX's own notation; ``{n}`` images of ``{s}`` pixels a side. Names
#: with a capital are constants.
_GRAPH = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
experts (uint8[{n}, {s}, {s}, 3] images) => (float[{n}] logits) {{
  planes = Transpose<perm = [0, 3, 1, 2]> (images)
  pixels = Cast<to = 1> (planes)
  red, green, blue = Split<axis = 1> (pixels, EachColour)

  red_and_blue = Add (red, blue)
  quarter = Mul (red_and_blue, Quarter)
  half = Mul (green, Half)
  luma = Add (quarter, half)
  red_green = Sub (red, green)
  blue_green = Sub (blue, green)

  beyond = Pad<mode = "edge"> (pixels, LeftAndUp)
  left = Slice (beyond, Down1, Left0End, RowsColumns)
  up = Slice (beyond, Right1, Up0End, RowsColumns)
  to_left = Sub (pixels, left)
  to_up = Sub (pixels, up)
  across = Clip (to_left, Least, Largest)
  down = Clip (to_up, Least, Largest)
  framed = Pad<mode = "edge"> (luma, Frame)
  nw = Slice (framed, At00, End00, RowsColumns)
  n = Slice (framed, At01, End01, RowsColumns)
  ne = Slice (framed, At02, End02, RowsColumns)
  w = Slice (framed, At10, End10, RowsColumns)
  e = Slice (framed, At12, End12, RowsColumns)
  sw = Slice (framed, At20, End20, RowsColumns)
  s = Slice (framed, At21, End21, RowsColumns)
  se = Slice (framed, At22, End22, RowsColumns)
  twice = Add (luma, luma)
  w_e = Add (w, e)
  bend_across = Sub (w_e, twice)
  n_s = Add (n, s)
  bend_down = Sub (n_s, twice)
  nw_ne = Sub (nw, ne)
  se_sw = Sub (se, sw)
  diagonal = Add (nw_ne, se_sw)
  bends = Concat<axis = 1> (bend_across, bend_down, diagonal)
  of_luma = Clip (bends, Least, Largest)
  differences = Concat<axis = 1> (across, down, of_luma)

  step_across = Abs (across)
  step_down = Abs (down)
  largest_across = ReduceMax<keepdims = 1> (step_across, Colours)
  largest_down = ReduceMax<keepdims = 1> (step_down, Colours)
  steps = Concat<axis = 1> (largest_across, largest_down)
  each_step = Reshape (steps, ByStep)
  scaled = Div (each_step, Flatness)
  less = Sub (One, scaled)
  by_scale = Relu (less)
  flat = Reshape (by_scale, ByMap)

  levels = Sub (pixels, Middle)
  of_levels = Conv<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (levels, WLevels)
  of_bank = Conv<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (differences, WBank)
  of_flat = Conv<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (flat, WFlat, BFlat)
  of_pixels = Add (of_levels, of_bank)
  together = Add (of_pixels, of_flat)
  first = Relu (together)
  fine_linear = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (first, WFine, BFine)
  fine = Relu (fine_linear)
  smaller = MaxPool<kernel_shape = [2, 2], strides = [2, 2]> (fine)
  middle_linear = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (smaller, WMiddle, BMiddle)
  middle = Relu (middle_linear)
  coarse_linear = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (middle, WCoarse, BCoarse)
  coarse = Relu (coarse_linear)
  largest_fine = ReduceMax<keepdims = 0> (smaller, RowsColumns)
  largest = ReduceMax<keepdims = 0> (coarse, RowsColumns)
  mean = ReduceMean<keepdims = 0> (coarse, RowsColumns)
  squares = Mul (coarse, coarse)
  mean_square = ReduceMean<keepdims = 0> (squares, RowsColumns)
  above_zero = Add (mean_square, Tiny)
  root = Sqrt (above_zero)
  pooled = Concat<axis = 1> (largest_fine, largest, mean, root)
  local_linear = Gemm<transB = 1> (pooled, WLocal, BLocal)
  local = Relu (local_linear)

  dct_across = MatMul (pixels, MatrixT)
  dct = MatMul (Matrix, dct_across)
  magnitude = Abs (dct)
  beyond_one = Add (magnitude, One)
  log_magnitude = Log (beyond_one)
  plane = Reshape (log_magnitude, ByImage)
  plane_linear_1 = Gemm<transB = 1> (plane, WPlane1, BPlane1)
  plane_1 = Relu (plane_linear_1)
  plane_linear_2 = Gemm<transB = 1> (plane_1, WPlane2, BPlane2)
  of_plane = Relu (plane_linear_2)

  opponents = Concat<axis = 1> (luma, red_green, blue_green)
  block_rows = Reshape (opponents, ByBlockRow)
  block_dct_across = MatMul (block_rows, BlockMatrixT)
  strips = Reshape (block_dct_across, ByStrip)
  block_dct = MatMul (BlockMatrix, strips)
  block_magnitude = Abs (block_dct)
  block_beyond_one = Add (block_magnitude, One)
  block_log = Log (block_beyond_one)
  block_down = Reshape (block_log, ByBlockDown)
  mean_down = ReduceMean<keepdims = 0> (block_down, BlocksDown)
  largest_down_blocks = ReduceMax<keepdims = 0> (block_down, BlocksDown)
  least_down = ReduceMin<keepdims = 0> (block_down, BlocksDown)
  mean_block_across = Reshape (mean_down, ByBlockAcross)
  largest_block_across = Reshape (largest_down_blocks, ByBlockAcross)
  least_block_across = Reshape (least_down, ByBlockAcross)
  mean_block = ReduceMean<keepdims = 0> (mean_block_across, BlocksAcross)
  largest_block = ReduceMax<keepdims = 0> (largest_block_across, BlocksAcross)
  least_block = ReduceMin<keepdims = 0> (least_block_across, BlocksAcross)
  mean_flat = Reshape (mean_block, ByImage)
  largest_flat = Reshape (largest_block, ByImage)
  least_flat = Reshape (least_block, ByImage)
  over_blocks = Concat<axis = 1> (mean_flat, largest_flat, least_flat)
  block_linear_1 = Gemm<transB = 1> (over_blocks, WBlock1, BBlock1)
  block_1 = Relu (block_linear_1)
  block_linear_2 = Gemm<transB = 1> (block_1, WBlock2, BBlock2)
  of_blocks = Relu (block_linear_2)

  opinions = Concat<axis = 1> (local, of_plane, of_blocks)
  judge_linear = Gemm<transB = 1> (opinions, WJudge1, BJudge1)
  judged = Relu (judge_linear)
  verdict = Gemm<transB = 1> (judged, WJudge2, BJudge2)
  logits = Reshape (verdict, OneEach)
}}
"""


def forms(settings: ExpertsSettings, side: int) -> dict[str, TensorForm]:
    """The tensors that an experts network of (side, side) pixels keeps, by name."""
    a, b, c, d = settings.local
    of_plane, of_block = (3, side, side), (3, BLOCK, BLOCK)
    local, (plane, plane_units), (block, block_units) = (
        settings.local_units,
        settings.plane,
        settings.block,
    )
    shapes: dict[str, tuple[int, ...]] = {
        "local.of_bank.weight": (a, 12, 3, 3),
        "local.of_flat.weight": (a, 2 * len(FLATNESS), 3, 3),
        "local.of_flat.bias": (a,),
        "local.fine.0.weight": (b, a, 3, 3),
        **_norm("local.fine.1", b),
        "local.coarse.0.0.weight": (c, b, 3, 3),
        **_norm("local.coarse.0.1", c),
        "local.coarse.1.0.weight": (d, c, 3, 3),
        **_norm("local.coarse.1.1", d),
        **_linear("local.head.0", b + 3 * d, local),
        **dict.fromkeys(("spectral.centre", "spectral.spread"), of_plane),
        **dict.fromkeys(("spectral.block_centre", "spectral.block_spread"), of_block),
        "spectral.plane.0.weight": (plane, 3 * side**2),
        **_norm("spectral.plane.1", plane),
        **_linear("spectral.plane.4", plane, plane_units),
        "spectral.block.0.weight": (block, 3 * 3 * BLOCK**2),
        **_norm("spectral.block.1", block),
        **_linear("spectral.block.4", block, block_units),
        **_linear("judge.0", local + plane_units + block_units, settings.hidden),
        **_linear("judge.3", settings.hidden, 1),
        **_linear("alone.0", local, 1),
        **_linear("alone.1", plane_units + block_units, 1),
    }
    counted = "num_batches_tracked"
    return {
        name: TensorForm("I64" if name.endswith(counted) else "F32", shape)
        for name, shape in shapes.items()
    }


def _norm(name: str, units: int) -> dict[str, tuple[int, ...]]:
    kept: dict[str, tuple[int, ...]] = {f"{name}.{each}": (units,) for each in _NORM}
    return kept | {f"{name}.num_batches_tracked": ()}


def _linear(name: str, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (units, inputs), f"{name}.bias": (units,)}


def graph(tensors: Tensors, side: int, images: int) -> bytes:
    """A network as an ONNX graph: (images, side, side, 3) uint8 to (images,) float32 logits.

    Args:
        tensors: the weights, of :func:`forms`.
        side: of the images in pixels, a multiple of 8.
        images: that are scored together.

    Raises:
        FloatingPointError: weights that are not finite, or become so where they are folded.
    """
    constants = _weights(tensors) | _shapes(side, images)
    broken = [name for name, value in constants.items() if not np.isfinite(value).all()]
    if broken:
        raise FloatingPointError(f"not finite: {', '.join(broken)}")
    text = _GRAPH.format(ir=_IR_VERSION, opset=_OPSET, n=images, s=side)
    model: onnx.ModelProto = parser.parse_model(text)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in constants.items()
    )
    return bytes(model.SerializeToString())


def _weights(tensors: Tensors) -> dict[str, np.ndarray]:
    """What was learnt, as the graph takes it, float32."""
    levels, differences = np.split(tensors["local.of_bank.weight"].astype(np.float64), [3], axis=1)
    folded = {
        "WLevels": levels / 127.5,
        "WBank": differences / LARGE_DIFFERENCE,
        "WFlat": tensors["local.of_flat.weight"],
        "BFlat": tensors["local.of_flat.bias"],
        **_convolution("Fine", tensors, "local.fine.0", "local.fine.1"),
        **_convolution("Middle", tensors, "local.coarse.0.0", "local.coarse.0.1"),
        **_convolution("Coarse", tensors, "local.coarse.1.0", "local.coarse.1.1"),
        **_as_it_is("Local", tensors, "local.head.0"),
        **_normalised("Plane1", tensors, "plane", "", copies=1),
        **_as_it_is("Plane2", tensors, "spectral.plane.4"),
        **_normalised("Block1", tensors, "block", "block_", copies=3),
        **_as_it_is("Block2", tensors, "spectral.block.4"),
        **_as_it_is("Judge1", tensors, "judge.0"),
        **_as_it_is("Judge2", tensors, "judge.3"),
    }
    with np.errstate(over="ignore"):
        return {name: np.asarray(value, np.float32) for name, value in folded.items()}


def _as_it_is(name: str, tensors: Tensors, layer: str) -> dict[str, np.ndarray]:
    return {f"W{name}": tensors[f"{layer}.weight"], f"B{name}": tensors[f"{layer}.bias"]}


def _convolution(name: str, tensors: Tensors, layer: str, norm: str) -> dict[str, np.ndarray]:
    """A convolution and the batch norm behind it."""
    scale, shift = _scale_and_shift(tensors, norm)
    return {f"W{name}": tensors[f"{layer}.weight"] * scale[:, None, None, None], f"B{name}": shift}


def _normalised(
    name: str, tensors: Tensors, part: str, prefix: str, copies: int
) -> dict[str, np.ndarray]:
    """The first layer over spectra: their normalisation, the layer, and the norm behind it."""
    scale, shift = _scale_and_shift(tensors, f"spectral.{part}.1")
    centre, spread = (
        np.tile(tensors[f"spectral.{prefix}{of}"].astype(np.float64).ravel(), copies)
        for of in ("centre", "spread")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = tensors[f"spectral.{part}.0.weight"] / spread * scale[:, None]
        return {f"W{name}": weight, f"B{name}": shift - weight @ centre}


def _scale_and_shift(tensors: Tensors, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """What a batch norm multiplies by and then adds, float64."""
    weight, bias, mean, variance = (tensors[f"{norm}.{each}"].astype(np.float64) for each in _NORM)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = weight / np.sqrt(variance + _NORM_EPSILON)
        return scale, bias - mean * scale


def _shapes(side: int, images: int) -> dict[str, np.ndarray]:
    """What depends on the size of the images alone."""
    matrix, block = (dct_matrix(n).astype(np.float32) for n in (side, BLOCK))
    blocks = side // BLOCK
    floats = {
        "One": 1,
        "Half": 0.5,
        "Quarter": 0.25,
        "Middle": 127.5,
        "Tiny": 1e-6,
        "Least": -LARGE_DIFFERENCE,
        "Largest": LARGE_DIFFERENCE,
        "Flatness": np.reshape(FLATNESS, (1, 1, -1, 1, 1)),
    }
    integers: dict[str, list[int]] = {
        "EachColour": [1, 1, 1],
        "Colours": [1],
        "RowsColumns": [2, 3],
        "LeftAndUp": [0, 0, 1, 1, 0, 0, 0, 0],
        "Down1": [1, 0],
        "Left0End": [side + 1, side],
        "Right1": [0, 1],
        "Up0End": [side, side + 1],
        "Frame": [0, 0, 1, 1, 0, 0, 1, 1],
        "ByStep": [images, 2, 1, side, side],
        "ByMap": [images, 2 * len(FLATNESS), side, side],
        "ByImage": [images, -1],
        "ByBlockRow": [-1, BLOCK],
        "ByStrip": [-1, blocks, BLOCK, side],
        "ByBlockDown": [images, 3, blocks, BLOCK * side],
        "BlocksDown": [2],
        "ByBlockAcross": [images, 3, BLOCK, blocks, BLOCK],
        "BlocksAcross": [3],
        "OneEach": [images],
    }
    for row, column in product(range(3), range(3)):
        if (row, column) != (1, 1):
            integers[f"At{row}{column}"] = [row, column]
            integers[f"End{row}{column}"] = [row + side, column + side]
    return {
        **{name: np.asarray(value, np.float32) for name, value in floats.items()},
        **{name: np.asarray(value, np.int64) for name, value in integers.items()},
        **{"Matrix": matrix, "MatrixT": matrix.T, "BlockMatrix": block, "BlockMatrixT": block.T},
    }

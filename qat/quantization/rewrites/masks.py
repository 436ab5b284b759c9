"""Large negative numbers added to scores before a softmax: masks, whose size must not widen the scores' range."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, is_fixed
from qat.quantization.ir.operations import MASKED_BELOW, MISSING_BELOW
from qat.quantization.rewrites.builder import Match, constant_of, fixed_and_other, only_reader, scalar_of
from qat.quantization.rewrites.driver import rewrite

MASKED_BEFORE_SOFTMAX = -100.0  # as Swin hides: of scores that differ by so much, one has no probability

SMALLEST_FACTOR = 1e-2  # that leaves a hidden score hidden; a softmax divides by the root of its depth, say

MOVES = ("reshape", "strided_slice", "transpose", "tile")
ARITHMETIC = {"add": np.add, "sub": np.subtract, "mul": np.multiply}


@rewrite("cast")
def casts_through_moves(match: Match) -> Tensor | None:
    """real(move(integer(condition))) is real(move(condition))."""
    if match.inputs[0].dtype == "bool" or match.output.dtype not in ("float32", "int32", "int64"):
        return None
    path, tensor = [], match.inputs[0]
    while tensor.node.op in MOVES:
        path.append(tensor.node)
        tensor = tensor.node.inputs[0]
    if tensor.node.op != "cast" or tensor.node.inputs[0].dtype != "bool":
        return None
    y = tensor.node.inputs[0]
    for move in reversed(path):
        y = match.again(move, y, move.output.shape, "bool")
    return match.again(match.node, y, match.shape, match.output.dtype)


@rewrite("cast")
def condition_of_reals(match: Match) -> Tensor | None:
    """A real number is true where it is not 0; its code may be another."""
    x = match.inputs[0]
    if x.dtype != "float32" or match.output.dtype != "bool":
        return None
    return match.add("not_equal", x, 0.0, shape=match.shape, dtype="bool")


def _select_of_numbers(tensor: Tensor | None) -> Node | None:
    """The node that makes the tensor, where it chooses between two numbers."""
    node = tensor.node if tensor is not None else None
    if node is None or node.op != "select" or any(scalar_of(each) is None for each in node.inputs[1:]):
        return None
    return node


@rewrite(*MOVES)
def move_of_selection(match: Match) -> Tensor | None:
    """move(select(m, a, b)) with numbers a, b is select(move(m), a, b)."""
    chosen = _select_of_numbers(match.inputs[0])
    if chosen is None or chosen.inputs[0].shape != chosen.output.shape:
        return None
    moved = match.again(match.node, chosen.inputs[0], match.shape, "bool")
    return match.add("select", moved, *map(scalar_of, chosen.inputs[1:]), shape=match.shape)


@rewrite(*ARITHMETIC)
def through_selection(match: Match) -> Tensor | None:
    """f(select(m, a, b)) with numbers a, b and arithmetic f with another number is select(m, f(a), f(b))."""
    fixed, x = fixed_and_other(match.node)
    chosen = _select_of_numbers(x)
    if chosen is None or scalar_of(fixed) is None or fixed.shape not in ((), (1,)):
        return None
    pairs = [[scalar_of(fixed), scalar_of(tensor)] for tensor in chosen.inputs[1:]]
    values = [float(ARITHMETIC[match.node.op](*(pair if match.inputs[0] is fixed else pair[::-1]))) for pair in pairs]
    return match.add("select", chosen.inputs[0], *values, shape=match.shape)


@rewrite("add", "sub")
def additive_mask(match: Match) -> Tensor | None:
    """x + (0 or -1e9) keeps x or hides it; the hidden ones take no part in the range (see `placement`)."""
    sign = -1.0 if match.node.op == "sub" else 1.0
    for x, mask in (match.inputs, match.inputs[::-1])[: 1 if match.node.op == "sub" else 2]:
        kept = None if is_fixed(x) and is_fixed(mask) else _kept(match, mask, sign)
        if kept is not None:
            return match.add("masked", kept, x, shape=match.shape, adds=x.shape == match.shape)
    return None


@rewrite("add", "sub")
def sum_with_masked(match: Match) -> Tensor | None:
    """x + y, of which y is hidden in places, is hidden there: biases of places with a mask, as in T5."""
    for tensor in match.inputs[: 1 if match.node.op == "sub" else 2]:
        if tensor.node.op == "masked":
            kept, y = tensor.node.inputs
            pair = [y if each is tensor else each for each in match.inputs]
            if pair.count(y) == 1:
                attrs = tensor.node.attrs
                return match.add("masked", kept, match.add(match.node.op, *pair), shape=match.shape, **attrs)
    return None


@rewrite("mul")
def product_of_masked(match: Match) -> Tensor | None:
    """c y of scores y that are hidden in places, c > 0, is hidden there: a temperature after the mask."""
    fixed, masked = fixed_and_other(match.node)
    factor = scalar_of(fixed)
    if factor is None or factor < SMALLEST_FACTOR or masked.node.op != "masked" or masked.shape != match.shape:
        return None
    kept, y = masked.node.inputs
    return match.add("masked", kept, match.add("mul", y, factor), shape=match.shape, **masked.node.attrs)


@rewrite("select")
def selected_mask(match: Match) -> Tensor | None:
    """where(m, x, -1e9) keeps x or hides it, too, as does where(m, x, x - 1e9)."""
    condition, *chosen = match.inputs
    for x, number, kept in ((*chosen, True), (*chosen[::-1], False)):
        value = scalar_of(number) if is_fixed(number) else _distance(number, x)
        if value is not None and not is_fixed(x) and x.shape == match.shape and _hides(match, value, MISSING_BELOW):
            seen = condition if kept else _opposite(match, condition)
            return match.add("masked", seen, x, shape=match.shape, adds=not is_fixed(number))
    return None


@rewrite("reduce_min")
def minimum_of_hidden(match: Match) -> Tensor | None:
    """min(where(m, x, 1e9)) is -max(where(m, -x, -1e9))."""
    chosen = match.inputs[0].node
    if chosen.op != "select" or only_reader(match.graph, chosen.output) is None:
        return None
    for i, x in enumerate(chosen.inputs[1:], 1):
        far = scalar_of(chosen.inputs[3 - i])
        if far is not None and far >= -MISSING_BELOW and not is_fixed(x) and x.shape == chosen.output.shape:
            pair = [-far, -far]
            pair[i - 1] = match.add("mul", x, -1.0)
            y = match.add("select", chosen.inputs[0], *pair, shape=x.shape)
            y = match.add("reduce_max", y, shape=match.shape, **match.attrs)
            return match.add("mul", y, -1.0, shape=match.shape)
    return None


def _distance(tensor: Tensor, x: Tensor) -> float | None:
    """The number by which a tensor is larger than x everywhere, where it is computed from x so."""
    fixed, base = fixed_and_other(tensor.node)
    number = scalar_of(fixed) if base is x else None
    if number is None or tensor.node.op not in ("add", "sub") or tensor.node.inputs[0] is not x:
        return None
    return number if tensor.node.op == "add" else -number


def _hides(match: Match, value: float, below: float = MASKED_BELOW) -> bool:
    """Whether a score that is set to the value, or to which it is added, is hidden; `below`, from any reader."""
    return value <= below or (value <= MASKED_BELOW and _is_read_by_softmax(match))


def _is_read_by_softmax(match: Match) -> bool:
    reader = only_reader(match.graph, match.output)
    while reader is not None and (reader.op in (*MOVES, "add", "masked") or _is_scaling(reader)):
        reader = only_reader(match.graph, reader.output)
    return reader is not None and reader.op == "softmax"


def _is_scaling(node: Node) -> bool:
    factor = scalar_of(fixed_and_other(node)[0]) if node.op == "mul" else None
    return factor is not None and factor >= SMALLEST_FACTOR


def _opposite(match: Match, condition: Tensor) -> Tensor:
    node = match.graph.make("logical_not", f"{match.node.name}/kept", [condition], shape=condition.shape, dtype="bool")
    match.nodes.append(node)
    return node.output


def _kept(match: Match, mask: Tensor, sign: float) -> Tensor | None:
    """Where x is kept, if the tensor is nothing but zeros and large negative numbers."""
    value = constant_of(mask)
    if value is not None and value.dtype == np.float32 and value.size > 1 and np.any(value != 0):
        return _kept_by_constant(match, sign * value)
    if mask.node.op == "masked" and sign == 1.0:  # two masks, one on the other
        rest = _kept(match, mask.node.inputs[1], sign)
        return None if rest is None else match.add("logical_and", mask.node.inputs[0], rest, dtype="bool")
    if _select_of_numbers(mask) is None:
        return _kept_by_numbers(match, mask, sign)
    hit, other = (sign * scalar_of(tensor) for tensor in mask.node.inputs[1:])
    if hit == 0 and _hides(match, other):
        return mask.node.inputs[0]
    if other == 0 and _hides(match, hit):
        return _opposite(match, mask.node.inputs[0])
    return None


def _kept_by_constant(match: Match, value: np.ndarray) -> Tensor | None:
    """A milder number hides, too, before a softmax that sees a kept score in each row: of one that is hidden wholly the
    softmax would be another."""
    largest, in_each_row = float(np.max(value[value != 0])), bool(np.all(np.any(value == 0, axis=-1)))
    mild = largest <= MASKED_BEFORE_SOFTMAX and in_each_row and _is_read_by_softmax(match)
    if not mild and not _hides(match, largest):
        return None
    kept = match.graph.make_constant(value == 0, f"{match.node.name}/kept", match.node.layer)
    match.nodes.append(kept)
    return kept.output


def _kept_by_numbers(match: Match, mask: Tensor, sign: float) -> Tensor | None:
    """(1 - m) * -1e9 of m, 1 where a token stands: what models of text add to their scores. Integers m are any; of real
    ones, as an input of the model, those that are not 1 hide."""
    scale, offset, moves, tensor = sign, 0.0, [], mask
    while tensor.node.op in (*MOVES, *ARITHMETIC):
        node, x = tensor.node, tensor.node.inputs[0]
        if node.op in MOVES:
            moves.append(node)
        else:
            fixed, x = fixed_and_other(node)
            number = scalar_of(fixed)
            if number is None or fixed.shape not in ((), (1,)):
                break
            if node.op == "mul":
                scale *= number
            else:
                offset += -scale * number if node.op == "sub" and fixed is node.inputs[1] else scale * number
                scale *= -1.0 if node.op == "sub" and fixed is node.inputs[0] else 1.0
        tensor = x
    at_0, at_1 = offset, offset + scale
    if not (at_1 == 0 and _hides(match, at_0)) and not (at_0 == 0 and _hides(match, at_1)):
        return None
    y = _kept_where(match, tensor, at_1 == 0)
    for move in reversed(moves if y is not None else []):
        y = match.again(move, y, move.output.shape, "bool")
    return y


def _kept_where(match: Match, tensor: Tensor, keeps_1: bool) -> Tensor | None:
    """Where a tensor of 0 and 1, integers or real numbers, says that a score is kept: where it is 1, or where 0."""
    numbers = tensor.node.inputs[0] if tensor.node.op == "cast" else None
    if numbers is not None and numbers.dtype in ("int32", "int64"):
        zero = match.graph.make_constant(np.zeros((), numbers.dtype), f"{match.node.name}/zero", match.node.layer)
        match.nodes.append(zero)
        op = "not_equal" if keeps_1 else "equal"
        return match.add(op, numbers, zero.output, shape=numbers.shape, dtype="bool")
    if tensor.dtype != "float32" or is_fixed(tensor) or not _is_read_by_softmax(match):
        return None
    return match.add("equal", tensor, float(keeps_1), shape=tensor.shape, dtype="bool")

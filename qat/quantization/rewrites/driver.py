"""The driver of the rewrites: a rewrite says at which node it acts and what it puts there; every loop is here.

The words are those of MLIR's pattern driver (`OpRewritePattern`, `applyPatternsGreedily`): a root op, a function that
matches and builds the replacement, and a greedy run to a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper

from qat.quantization.ir.graph import Graph, Node, Tensor, is_fixed
from qat.quantization.rewrites.builder import Match

Pass = Callable[[Graph], bool]  # changes the graph; whether it did
Replacement = Tensor | list[Tensor] | None
MOST_PASSES = 10_000  # limit for one phase: each moves something forward, and a model has some hundred ops


class Rewrite:
    """`match -> replace`: one pass over the nodes with a root op.

    Attributes:
        ops: the root ops; none stands for all.
        replacement: of a `Match` the tensors that stand in for the outputs of its node, made by it or there already;
            `match.output` where the node was changed in place; None where it does not match.
    """

    def __init__(self, ops: Sequence[str], replacement: Callable[[Match], Replacement]) -> None:
        self.ops, self.replacement = ops, replacement
        update_wrapper(self, replacement)

    def __call__(self, graph: Graph) -> bool:
        """Replace each node that matches, and remove what nothing reads any more. Returns whether one did."""
        present: set[int] | None = None  # where something was replaced: who is left
        for node in list(graph.nodes):
            if (self.ops and node.op not in self.ops) or (present is not None and id(node) not in present):
                continue
            match, op = Match(graph, node), node.op
            replacement = self.replacement(match)
            if replacement is not None:
                outputs = [replacement] if isinstance(replacement, Tensor) else replacement
                graph.record(self.__name__, node, op, _ops_of(match.nodes) or [outputs[0].node.op])
                if outputs != node.outputs:
                    graph.substitute(node, match.nodes, outputs)
                present = set(map(id, graph.nodes))
        if present is not None:
            graph.prune()
        return present is not None


def rewrite(*ops: str) -> Callable[[Callable[[Match], Replacement]], Rewrite]:
    """Decorator: the function is a `Rewrite` at nodes with one of these ops."""
    return lambda replacement: Rewrite(ops, replacement)


def run_to_fixed_point(graph: Graph, phase: Sequence[Pass]) -> None:
    """Run the passes of a phase until none changes the graph. A pass runs only where none before it has more to do.

    Args:
        graph: the graph to rewrite; changed in place.
        phase: passes, functions of the graph to whether they changed it, the first before the second.

    Raises:
        RuntimeError: two passes undo each other.
    """
    for _ in range(MOST_PASSES):
        if not any(each(graph) for each in phase):
            return
    names = ", ".join(dict.fromkeys(done.rewrite for done in graph.rewritten[-MOST_PASSES // 10 :]))
    raise RuntimeError(f"rewrites undo each other and would never end: {names}. Put them into two phases")


def _ops_of(nodes: Sequence[Node]) -> list[str]:
    return list(dict.fromkeys(node.op for node in nodes if not is_fixed(node.output)))

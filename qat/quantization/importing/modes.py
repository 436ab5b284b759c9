"""The two modes of a model, inference and training, read into one graph.

The graph is that of inference: it is what the file holds. What training adds is found by tracing the model in training
mode too, and comparing the two: layers that compute something else (`in_training` nodes), losses and metrics (`tap`
nodes), variables that are updated, penalties on weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import func_graph as func_graph_lib

from qat.models.keras_types import KerasModel
from qat.quantization.importing.added_losses import ancestors_of, cutter_of
from qat.quantization.importing.assignments import assigned_at_inference, unchanged
from qat.quantization.importing.call_programs import CallCutter, calls, tensors_at
from qat.quantization.importing.call_signatures import Signatures, find_different
from qat.quantization.importing.fixed_calls import acting_on_fixed
from qat.quantization.importing.import_state import Variables
from qat.quantization.importing.importer import import_trace
from qat.quantization.importing.inlining import inline_layers
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_calls import Exchange, Key, LayerCall, Region, Trace
from qat.quantization.importing.layer_handlers import readers
from qat.quantization.importing.lookup_layers import cut_after
from qat.quantization.importing.output_keys import match_outputs
from qat.quantization.importing.trace import trace
from qat.quantization.importing.tracer import Tracer
from qat.quantization.importing.training_effects import Effects
from qat.quantization.ir.graph import Graph, Resized
from qat.quantization.ir.program import NotExtractableError

_COUNTS = (
    "it gives {} outputs in training and {} at inference; let it give the same in both, and take what the app needs"
)


def read(model: KerasModel) -> Graph:
    """`model` as a graph of its inference function, with what training adds to it.

    Raises:
        ModelError: the model's input sizes are not known, or it cannot be run symbolically.
    """
    version = version_of(model)
    table = readers(version)
    inferred = None
    if version.is_plain(model, table):
        with unchanged(model):
            inferred = trace(model, table)
    masked = inferred is not None and any(op.attrs.get("masked") for op in inferred.whole.values())
    if inferred is not None and not (masked or _discarded(inferred) or acting_on_fixed(inferred, inferred)):
        graph = _imported(inferred, model, _updated(model, inferred))
        _add_updates(graph, model, inferred)
    else:
        graph = _read_both(model, table)
    graph.keras = version.package
    graph.penalties = [*_penalties(model, graph), *graph.penalties]
    graph.lost_in_training += _other_normalizations(model)
    return graph


def _other_normalizations(model: KerasModel) -> list[str]:
    """BatchNormalization that normalises by more than the batch; it is trained by the batch."""
    norms = [each for each in model._flatten_layers() if hasattr(each, "moving_mean") and each.trainable]
    return [f"layer {norm.name!r}: renorm=True" for norm in norms if getattr(norm, "renorm", False)]


def _read_both(model: KerasModel, table: dict) -> Graph:
    with unchanged(model):
        trained = trace(model, table, training=True)
        training_modes = {call.key: call.in_training_mode for call in calls(trained.call)}
        inferred = trace(model, table, training_modes=training_modes)
        extra = training_modes.keys() - {call.key for call in calls(inferred.call)}
        discarded, fixed = _discarded(trained), acting_on_fixed(trained, inferred)
        if extra or discarded or fixed:
            trained = trace(model, table, training=True, written_out=frozenset(extra | discarded | fixed))
        if fixed:
            training_modes |= dict.fromkeys(fixed, False)
            inferred = trace(model, table, training_modes=training_modes)
        both = _Both(model, trained, inferred, discarded, fixed)
        regions = both.regions(inferred)
        if regions:
            inferred = trace(model, table, training_modes=training_modes, regions=regions)
    effects = both.effects
    effects.add_to(inferred)
    both.add_masks(inferred)
    graph = _imported(inferred, model, _updated(model, trained) | effects.assigned)
    lost = [*both.lost_in_training, *effects.lost_in_training, *_in_other_order(trained, discarded)]
    graph.lost_in_training += dict.fromkeys(lost)
    graph.resized, graph.training_nest = both.resized, both.training_nest
    _add_updates(graph, model, trained)
    graph.updates += effects.updates
    return graph


def _discarded(traced: Trace) -> set[Key]:
    """Calls of BatchNormalization whose outputs nothing reads, which move its statistics all the same: on a branch
    without an output, and once more in each TimeDistributed that holds a model, which Keras 2 runs again for its masks.
    """
    norms = {name for name, op in traced.whole.items() if op.op == "batch_norm"}
    unread = norms - ancestors_of(traced, [*traced.outputs, *(each for added in traced.added for each in added.values)])
    # what an unread one reads is read for that one alone
    unread -= ancestors_of(traced, [each for name in unread for each in traced.whole[name].inputs])
    operations = traced.graph.get_operations()
    leaves = (call for call in calls(traced.call) if unread and not call.children)
    return {call.key for call in leaves if any(op.name in unread for op in operations[call.start : call.end])}


def _in_other_order(traced: Trace, discarded: set[Key]) -> list[str]:
    """Normalizations with a discarded call before one that is read; in the QAT model it updates the statistics last."""
    first: dict[int, int] = {}  # by layer: where its first discarded call begins
    for call in calls(traced.call):
        if call.key in discarded:
            first[id(call.layer)] = min(call.start, first.get(id(call.layer), call.start))
    return [
        f"layer {call.key[0]!r}: the order in which its calls move its statistics (one whose result is discarded comes "
        "first in float, and last here)"
        for call in calls(traced.call)
        if call.key not in discarded and call.start > first.get(id(call.layer), call.start)
    ]


def _imported(traced: Trace, model: KerasModel, assigned: frozenset[int]) -> Graph:
    inferred = inline_layers(traced, model, assigned)
    graph = import_trace(inferred, model, assigned)
    graph.refused, graph.cut = assigned_at_inference(inferred, model), cut_after(model, graph)
    _add_masks(graph, model, traced)
    return graph


def _add_masks(graph: Graph, model: KerasModel, traced: Trace) -> None:
    """The masks of padded positions that Keras leaves out of the loss and the metrics of an output."""
    cutter = cutter_of(Variables(model, traced.graph), traced)
    for at, mask in enumerate(traced.masks):
        graph.masks.append(None)
        if mask is None:
            continue
        try:
            graph.masks[at] = cutter.cut([mask], traced.inputs).to_json()
        except NotExtractableError as reason:
            graph.lost_in_training.append(f"output {at}: the mask that its loss is weighted by ({reason})")


class _Both:
    """The trace in training mode, from which programs are cut."""

    def __init__(
        self, model: KerasModel, trained: Trace, inferred: Trace, discarded: set[Key], fixed: frozenset[Key]
    ) -> None:
        self.trained, self.discarded = trained, discarded
        self.training_nest, self.lost_in_training = match_outputs(trained, inferred)
        self.resized: Resized | None = None
        self.shared = {call.key for call in calls(inferred.call)} & {call.key for call in calls(trained.call)} - fixed
        self.signatures = Signatures(trained, self.shared)
        variables = Variables(model, trained.graph)
        self.call_cutter = CallCutter(trained, cutter_of(variables, trained))
        self.effects = Effects(self.call_cutter, variables, self.shared)

    def regions(self, inferred: Trace) -> dict[Key, Region]:
        """The layer calls that compute something else in training, and what becomes of them."""
        found: dict[Key, Region] = {}
        whole = self.effects.read_after_assignment
        signatures = Signatures(inferred, self.shared)
        pairs = list(find_different(signatures, self.signatures, inferred.call, self.trained.call))
        self.resized = _resized([(one, other) for one, other, _ in pairs], self.trained)
        different = [(other, None if other.key in whole else parts) for _, other, parts in pairs]
        at_inference = {call.key: call for call in calls(inferred.call)}
        known = {call.key for call, _ in different}
        different = [(call, parts) for call, parts in different if call.key not in self.discarded]
        for call, parts in [*different, *((call, None) for key, call in whole.items() if key not in known)]:
            try:
                count = len(at_inference.get(call.key, call).outputs)
                if count != len(call.outputs):
                    raise NotExtractableError(_COUNTS.format(len(call.outputs), count))
                self._look_at_order(call, at_inference)
                self._add_regions(found, call, parts, at_inference, signatures)
            except NotExtractableError as reason:
                self.lost_in_training.append(f"layer {call.key[0]!r}: what it computes in training ({reason})")
        return found

    def _look_at_order(self, call: LayerCall, at_inference: Mapping[Key, LayerCall]) -> None:
        """Refuse a call that reads what one assigns that comes before it in training alone."""
        earlier = [each.key for each in self.call_cutter.earlier if each.end <= call.start]
        if call.key in self.effects.read_after_assignment and any(
            at_inference[key].start > at_inference[call.key].start for key in earlier
        ):
            raise NotExtractableError("its calls come in another order at inference")

    def add_masks(self, inferred: Trace) -> None:
        """Tell the ops that drop in recurrent cells how the float model draws its masks."""
        for op in [op for op in inferred.whole.values() if "owner" in op.attrs]:
            programs = self._draws(op.attrs["owner"])
            one = f"{op.attrs.get('kind')}/{op.attrs.get('index')}"
            op.attrs["programs"] = programs if op.op == "lstm" else {one: programs[one]} if one in programs else {}

    def _draws(self, owner: str) -> dict[str, dict[str, Any]]:
        """The programs that draw a cell's masks, by kind and number; none of numbers that cannot be followed: it drops
        by others then."""
        drawn = {name: each for name, each in self.trained.drawn.items() if name.startswith(f"{owner}/")}
        try:
            return {
                name.removeprefix(f"{owner}/"): self.call_cutter.cutter.cut([each.numbers], [each.rows]).to_json()
                for name, each in drawn.items()
            }
        except NotExtractableError:
            return {}

    def _add_regions(
        self,
        found: dict[Key, Region],
        call: LayerCall,
        parts: list[int] | None,
        at_inference: Mapping[Key, LayerCall],
        inferred: Signatures,
    ) -> None:
        """`parts` are the places, among the layers that it calls, before which a call differs; None: all of it."""
        if not call.arguments or not call.outputs:
            raise NotExtractableError("it is not called on tensors")
        if parts is None:
            found.setdefault(call.key, Region()).outputs = self._exchange(call, call.outputs, [], frozenset())
            return
        children, other = self.signatures.children(call), at_inference[call.key]
        for at in parts:
            before = children[:at]
            if at == len(children):
                same = self._equal(call, call.outputs, inferred, other, other.outputs)
                if len(same) == len(call.outputs):
                    continue
                found.setdefault(call.key, Region()).outputs = self._exchange(call, call.outputs, before, same)
            else:
                child, its = children[at], at_inference[children[at].key]
                if len(child.arguments) != len(its.arguments):
                    raise NotExtractableError(f"it calls layer {child.key[0]!r} on more tensors in one mode")
                same = self._equal(call, child.arguments, inferred, other, its.arguments)
                if len(same) == len(child.arguments):
                    continue
                found.setdefault(child.key, Region()).arguments = self._exchange(call, child.arguments, before, same)

    def _equal(
        self, call: LayerCall, tensors: list[tf.Tensor], inferred: Signatures, other: LayerCall, theirs: list[tf.Tensor]
    ) -> frozenset[int]:
        """The places of the tensors that are computed in one way in both modes."""
        if not all(isinstance(each, tf.Tensor) for each in (*tensors, *theirs) if each is not None):
            raise NotExtractableError("it reads or gives ragged or sparse tensors")
        pairs = [*enumerate(zip(tensors, theirs, strict=True))]
        alone = frozenset(at for at, (a, _) in pairs if a is None)  # outputs of inference alone
        pairs = [(at, pair) for at, pair in pairs if at not in alone]
        return alone | {at for at, (a, b) in pairs if self.signatures.of(call, [a]) == inferred.of(other, [b])}

    def _exchange(
        self, call: LayerCall, tensors: list[tf.Tensor], before: list[LayerCall], same: frozenset[int]
    ) -> Exchange:
        """What makes these tensors of a layer call in training, from its arguments and what it has called `before`.

        Those at the places `same` stay, as those do that training has none of.
        """
        made_in_training = [at for at, tensor in enumerate(tensors) if tensor is not None]
        program, places = self.call_cutter.cut(call, before, [tensors[at] for at in made_in_training])

        def exchange(tracer: Tracer, now: LayerCall, current: list[tf.Tensor]) -> list[tf.Tensor]:
            found = tensors_at(places, now, tracer.root)
            made = list(current)
            for number, at in enumerate(made_in_training):
                if at in same:
                    continue
                key = repr((now.key, len(now.children), at))
                attrs = {"program": program, "output": number, "call": key, "path": f"{now.key[0]}#{key}"}
                made[at] = tracer.keep("in_training", [current[at], *found], current[at].shape, **attrs)
            return made

        return exchange


def _resized(pairs: list[tuple[LayerCall, LayerCall]], trained: Trace) -> Resized | None:
    """The first of the differing calls whose outputs have other sizes in training."""
    for one, other in sorted(pairs, key=lambda pair: (pair[1].end, pair[1].start)):
        for now, then in zip(one.outputs, other.outputs, strict=False):
            if then is not None and not now.shape.is_compatible_with(then.shape):
                sizes = tuple(then.shape), tuple(now.shape)
                return Resized(other.key[0], sizes, [tensor.shape for tensor in trained.outputs])
    return None


def _updated(model: KerasModel, traced: Trace) -> frozenset[int]:
    """Places of the variables that known layers update before a training step."""
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    return frozenset(
        places[id(u[name])] for u in traced.updates for name in ("kernel", "vector") if id(u[name]) in places
    )


def _add_updates(graph: Graph, model: KerasModel, traced: Trace) -> None:
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    seen = set()
    for update in traced.updates:
        kernel, vector = places[id(update["kernel"])], places[id(update["vector"])]
        if kernel not in seen:
            seen.add(kernel)
            graph.updates.append({"kernel": kernel, "vector": vector, "iterations": update["iterations"]})


def _penalties(model: KerasModel, graph: Graph) -> Iterator[dict[str, Any]]:
    """Losses on weights alone (regularizers, and callables given to `add_loss`), in the order of `model.losses`."""
    places = {id(variable): place for place, variable in enumerate(model.variables)}
    for layer, function, variable in version_of(model).penalties(model):
        traced = func_graph_lib.FuncGraph("penalty")
        with traced.as_default():
            value = function()
            value = None if value is None else tf.convert_to_tensor(value)
        if value is None:
            continue
        traced.variables = traced._watched_variables  # also those that the model does not list
        variables = Variables(model, traced)
        try:
            if getattr(value, "graph", traced) is not traced:
                raise NotExtractableError("it was computed outside of the model")
            empty = Trace(traced, [], [], [])
            program = cutter_of(variables, empty).cut([value], [])
            yield {"program": program.to_json(), "of": places.get(id(variable))}
        except NotExtractableError as reason:
            graph.lost_in_training.append(f"layer {layer!r}: a penalty on its weights ({reason})")

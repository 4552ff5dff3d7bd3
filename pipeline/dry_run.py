"""`polyvit run CONFIG --dry-run`: which components would run and why, which come from the cache, and what it costs.

TFX takes a component from its cache if it has run before with equal properties and the same input artifacts. The same
is compared here. A component that gets its input from one that would run would run too.
"""

import dataclasses
import os
import pathlib

from humanize import naturalsize

from model_code import words
from pipeline import checks, differences, fingerprints, layout, plan, run_record, terminal, unchanged
from pipeline.exit_codes import DONE


@dataclasses.dataclass(frozen=True)
class Node:
    """A component as it would be run. inputs: input name -> (component, output name) of what makes its artifacts.

    beam_args: the options of its Beam pipeline; [] if it has none.
    """
    id: str
    properties: dict[str, object]
    inputs: dict[str, list[tuple[str, str]]]
    beam_args: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Execution:
    """A successful execution of a component. inputs, outputs: name -> ids of artifacts; paths: of its outputs.

    is_there: whether all its outputs still are.
    """
    properties: dict[str, object]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    paths: list[str]
    is_there: bool = True


def decide(nodes: list[Node], history: dict[str, list[Execution]],
           beam_args_of: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
    """Component id -> why it would run; no reason if it comes from the cache.

    nodes: in the order in which they run. history: component id -> its successful executions, the newest first.
    beam_args_of: path of an output -> the options of Beam with which it was made, which ML Metadata does not keep.
    """
    reasons, outputs = {}, {}
    for node in nodes:
        past = history.get(node.id, [])
        producers = {producer for channels in node.inputs.values() for producer, _ in channels}
        after = [earlier for earlier, why in reasons.items() if why and earlier in producers]
        same_beam = [e for e in past
                     if all((beam_args_of or {}).get(path, node.beam_args) == node.beam_args for path in e.paths)]
        inputs = None if after else _artifacts(node, outputs)
        equal = [e for e in same_beam if e.properties == node.properties and e.inputs == inputs and e.is_there]
        if equal:
            reasons[node.id], outputs[node.id] = [], equal[0].outputs
        elif not past:
            reasons[node.id] = ['it has not run yet']
        else:
            own = differences.describe(node.id, past[0].properties, node.properties)
            if past[0] not in same_beam:
                own.append('it is to run on another Beam runner, or with other options')
            if after:
                own.append(f'after {_names(after)}')
            elif not past[0].is_there:
                own.append('what it had made is gone')
            reasons[node.id] = own or ['its inputs are others than last time']
    return reasons


def _artifacts(node: Node, outputs: dict[str, dict[str, list[int]]]) -> dict[str, list[int]]:
    """Input name -> the ids of the artifacts that the component would get. outputs: those of the earlier components."""
    found = {name: [i for producer, output in channels for i in outputs[producer].get(output, [])]
             for name, channels in node.inputs.items()}
    return {name: ids for name, ids in found.items() if ids}


def _names(components: list[str]) -> str:
    shown = [name.replace('_', ' ', 1) for name in components[:2]]
    more = len(components) - len(shown)
    return ', '.join(shown) + (f' and {more} more' if more else '')


def run(config, force: str = '') -> int:
    """Prints what a run would do now. Writes nothing. Raises ConfigError as a run does. Returns DONE.

    force: as for local_runner.run.
    """
    data = checks.check(config)
    key = fingerprints.run_key(config, data.fingerprints, force)
    print(f'polyvit run {config.name} --dry-run: nothing is written.', flush=True)
    earlier = unchanged.equal_run(config, key)
    if earlier:
        print(f'Nothing changed since the run of {earlier.started[:16].replace("T", " ")}: no component would be '
              'started.')
        print('\n'.join(lines({name: [] for name in earlier.components})))
        return DONE
    print('Loading TFX, to compare with what ML Metadata knows of earlier runs ...', flush=True)
    reasons = _reasons(config, data, force)
    print('\n'.join([*lines(reasons), '', *cost_lines(config, data, reasons)]))
    return DONE


def _reasons(config, data, force: str = '') -> dict[str, list[str]]:
    from pipeline import local_runner
    with terminal.quiet(pathlib.Path(os.devnull)):
        pipeline = local_runner.build(config, data, force)
        from pipeline import history
        nodes = history.nodes(pipeline)
        past = history.executions(config.run_root, pipeline.pipeline_info.pipeline_name,
                                  [node.id for node in nodes])
    beam_args_of = {path: record.beam_args[component] for record in run_record.records(config.run_root)
                    for name, node in record.components.items() if (component := name.split('_')[0]) in record.beam_args
                    for paths in node.outputs.values() for path in paths}
    return decide(nodes, past, beam_args_of)


def lines(reasons: dict[str, list[str]]) -> list[str]:
    """A line for each component, those that would run with the reasons, and how many they are."""
    columns = layout.columns()
    running = sum(map(bool, reasons.values()))
    rows = ['', f'{running} of {words.count(len(reasons), "component")} would run, {len(reasons) - running} come from '
            'the cache:']
    for node, why in reasons.items():
        component, _, task = node.partition('_')
        what = f'runs: {"; ".join(why)}' if why else 'cached'
        rows += layout.wrap(f'  {component:<16}{task:<16}  {what}', columns, min(36, (columns or 0) // 2))
    return rows


def cost_lines(config, data, reasons: dict[str, list[str]]) -> list[str]:
    """What those components cost, by the plan and by the time that they took when they last ran."""
    running = [node for node, why in reasons.items() if why]
    if not running:
        return []
    rows = []
    if 'CoTrainer' in running:
        made = plan.make_plan(config, data)
        seconds = 3600 * made.hours_cpu
        rows += [f'Training  {words.count(made.total_steps, "step")}; by the plan '
                 f'{words.duration(seconds) if seconds >= 1 else "under a second"} on the CPU',
                 f'Storage   {naturalsize(made.model_bytes)} for each of the model, its version and a copy; '
                 f'{naturalsize(made.checkpoint_bytes)} for each checkpoint']
    lanes = [node.partition('_')[2] for node in running if node.startswith('MediaExampleGen_')]
    if lanes:
        files = sum(sum(data.counts[name].values()) for name in lanes)
        rows.append(f'Ingest    {words.count(files, "file")} of {", ".join(lanes)}')
    known = run_record.seconds(config.run_root)
    took = [known[node] for node in running if node in known]
    if took:
        which = 'they' if len(took) == len(running) else f'{len(took)} of the {len(running)}'
        rows.append(f'Time      {words.duration(sum(took))} when {which} last ran')
    return [part for row in rows for part in layout.wrap(row, layout.columns(), 10)]

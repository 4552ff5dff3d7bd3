"""The report's part on cost: what each component took, and what the training would take elsewhere, by the plan."""

import json
import re
from collections.abc import Mapping, Sequence

from humanize import metric

from components.costs import Cost
from components.report import charts
from model_code import words
from model_code.flops import CORE_RATE, CPU_SHARE, STEP_SECONDS, Accelerators, cpu_seconds, training_flops
from model_code.serialization import from_json
from model_code.settings import ModelConfig
from model_code.tasks import Mixture


def components(known: Sequence[tuple[Cost, bool]], whole: bool = True) -> dict | None:
    """What cost.html shows of components.costs.known; None if nothing was measured. whole: components.costs.whole.

    Returns {'rows': [{'component', 'task', 'bar', 'seconds', 'cpu', 'cores', 'memory', 'earlier'}], the longest first,
    'text': what this run took in all, 'whole'}.
    """
    if not known:
        return None
    longest = max(cost.seconds for cost, _ in known) or 1.0
    rows = []
    for cost, earlier in known:
        name, _, task = re.sub('[_-]', ' ', cost.component, count=1).partition(' ')
        rows.append({
            'component': name, 'task': task, 'bar': charts.bar([100 * cost.seconds / longest]),
            'seconds': f'{cost.seconds:,.1f}', 'cpu': f'{cost.cpu_seconds:,.1f}',
            'cores': f'{cost.cpu_seconds / cost.seconds:.1f}' if cost.seconds >= 0.1 else '–',
            'memory': f'{cost.peak_bytes / 1e6:,.0f}', 'earlier': earlier})
    return {'rows': rows, 'text': _text([cost for cost, earlier in known if not earlier], len(known)), 'whole': whole}


def _text(ran: list[Cost], count: int) -> str:
    """What this run took in all. ran: what did not come from the cache. count: of all components."""
    text = ''
    if ran:
        peak = max(ran, key=lambda cost: cost.peak_bytes)
        text = (f'{words.count(len(ran), "component")} of this run took '
                f'{words.duration(sum(cost.seconds for cost in ran))}, and '
                f'{words.duration(sum(cost.cpu_seconds for cost in ran))} of processor time. '
                f'{_title(peak.component)} had the most memory, {peak.peak_bytes / 1e9:.1f} GB. ')
    cached = count - len(ran)
    return text + (f'{words.count(cached, "component")} came from the cache: the table has what an earlier run took. '
                   if cached else '')


def _title(component: str) -> str:
    """'Transform of digits', of the component Transform_digits."""
    return re.sub('[_-]', ' of ', component, count=1)


def trained_steps(history: dict, mixture: Mixture) -> dict[str, int]:
    """Task -> on how many steps it was trained; where the history does not have each step, rounded from its share."""
    recorded = [step['task'] for step in history.get('steps', [])]
    done = (history.get('exported') or {}).get('trained_steps') or history.get('total_steps') or 0
    if not recorded or not done:
        return {}
    return {task.name: round(done * sum(name in (task.name, 'all') for name in recorded) / len(recorded))
            for task in mixture.tasks}


def elsewhere(card: Mapping, history: dict, mixture: Mixture) -> list[dict]:
    """What the training took here, and takes elsewhere by the assumptions of `polyvit plan`; [] if too little is known.

    card: the model card, with model, tasks and trained. Returns [{'where', 'time', 'assumed'}].
    """
    steps, seconds = trained_steps(history, mixture), history.get('seconds')
    if not steps or not seconds or not (card.get('model') and card.get('tasks') and card.get('trained')):
        return []
    if (card.get('training') or {}).get('train_only'):  # how often an example was encoded is not in the history
        return []
    model = from_json(ModelConfig, json.dumps(card['model']))
    classes = {task['name']: len(task['classes']) for task in card['tasks']}
    flops = sum(training_flops(model, task, classes[task.name], steps[task.name]) for task in mixture.tasks)
    done = history['exported']['trained_steps'] if history.get('exported') else history['total_steps']
    return _places(flops, done, seconds, card['trained'])


def _places(flops: float, steps: int, seconds: float, trained: dict) -> list[dict]:
    """The rows of `elsewhere`. trained: that of the model card."""
    cores, assumed = words.count(trained['cores'], 'core'), Accelerators()
    here = ' and '.join(trained['accelerators']) or f'{cores} of {trained["processor"]}'
    rows = [{'where': 'This run', 'time': words.duration(seconds), 'assumed': (
        f'Measured on {here}, with what comes between the steps, such as evaluations. It is '
        f'{metric(flops, "FLOP")} by the plan, so {metric(flops / seconds, "FLOP/s")}.')}]
    if not trained['accelerators']:
        rows.append({
            'where': f'{cores} of a usual CPU',
            'time': words.duration(cpu_seconds(flops, steps, trained['cores'] * CORE_RATE)),
            'assumed': f'Each core multiplies matrices at {metric(CORE_RATE, "FLOP/s")}, of which training reaches '
                       f'{CPU_SHARE:.0%}, and each step takes {1000 * STEP_SECONDS:g} ms more.'})
    rows.append({
        'where': '1 accelerator', 'time': words.duration(flops / assumed.rate),
        'assumed': f'Its peak is {metric(assumed.flops, "FLOP/s")}, that of an NVIDIA A100 in bfloat16, of which '
                   f'training reaches {assumed.utilisation:.0%}. Small models reach less.'})
    return rows

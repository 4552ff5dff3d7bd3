"""`polyvit card --cyclonedx`: a version's model card as a bill of materials, CycloneDX 1.6 JSON (an ML-BOM).

Source: CycloneDX v1.6 JSON reference (cyclonedx.org/docs/1.6/json). It is written by hand, because CycloneDX's
library for Python has no model cards.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator

_NAMESPACE = uuid.UUID('6f3f5c1e-0a7b-5e0e-9d0b-6d3c5a1f2b47')  # of this file's serial numbers
_MODEL = 'model'


def bom(card: dict, libraries: dict[str, str], version: str) -> dict:
    """The bill of materials of one version: the model with its card, its data sets, and the libraries.

    card: of this release or of an older one, which says less. libraries: model_directory.read_libraries; without them
    those that the card names. version: the number of the version. The same version gives the same bytes.
    """
    data = {task['name']: f'data:{task["name"]}' for task in card.get('tasks', [])}
    installed = libraries or {name: found for name, found in card.get('versions', {}).items() if name != 'python'}
    packages = [_library(name, found) for name, found in sorted(installed.items())]
    identity = json.dumps([version, card, libraries], sort_keys=True)
    return {
        '$schema': 'http://cyclonedx.org/schema/bom-1.6.schema.json',
        'bomFormat': 'CycloneDX',
        'specVersion': '1.6',
        'serialNumber': f'urn:uuid:{uuid.uuid5(_NAMESPACE, hashlib.sha256(identity.encode()).hexdigest())}',
        'version': 1,
        'metadata': {
            **({'timestamp': card['trained']['ended']} if 'trained' in card else {}),
            'component': {
                'type': 'machine-learning-model', 'bom-ref': _MODEL, 'name': card.get('name') or 'polyvit',
                'version': version, 'modelCard': _model_card(card, list(data.values())),
                'properties': _properties(card)}},
        'components': [*(_data_set(task, ref, card) for task, ref in data.items()), *packages],
        'dependencies': [{'ref': _MODEL, 'dependsOn': [*data.values(), *(p['bom-ref'] for p in packages)]}],
    }


def _model_card(card: dict, data: list[str]) -> dict:
    tasks, forced = card.get('tasks', []), card.get('forced')
    limits = [card['limits']] if card.get('limits') else []
    if forced:
        limits += [f'The gate rejected the model; it was pushed by force: {forced["reason"]}', *forced['rejected_for']]
    return {
        'modelParameters': {
            'approach': {'type': 'supervised'},
            'task': 'classification',
            'architectureFamily': 'transformer',
            'modelArchitecture': 'PolyViT',
            'datasets': [{'ref': ref} for ref in data],
            'inputs': [{'format': name} for name in sorted({task['modality'] for task in tasks})],
            'outputs': [{'format': f'scores of the {len(task["classes"])} classes of {task["name"]}'}
                        for task in tasks]},
        'quantitativeAnalysis': {'performanceMetrics': list(_metrics(card))},
        'considerations': {
            **({'useCases': [card['intended_use']]} if card.get('intended_use') else {}),
            **({'technicalLimitations': limits} if limits else {})}}


def _metrics(card: dict) -> Iterator[dict]:
    """Each metric of each task, with its interval where there is one; those that are not finite are left out."""
    for task, values in card.get('metrics', {}).items():
        intervals = card.get('evaluation', {}).get(task, {}).get('metrics', {})
        for name, value in ({n: of['value'] for n, of in intervals.items()} | values).items():
            if value is None or name == 'example_count':  # which is a property of the data
                continue
            interval = intervals.get(name, {})
            bounds = {key: str(interval[end]) for key, end in (('lowerBound', 'low'), ('upperBound', 'high'))
                      if interval.get(end) is not None}
            yield {'type': name, 'value': str(value), 'slice': f'task {task}, eval split',
                   **({'confidenceInterval': bounds} if bounds else {})}


def _data_set(task: str, ref: str, card: dict) -> dict:
    data = card.get('data', {}).get(task, {})
    properties = {'media_fingerprint': card.get('media_fingerprints', {}).get(task), 'files': data.get('files'),
                  'rejected': data.get('rejected'), 'classes': data.get('classes')}
    properties |= {f'{what}:{split}': count for what in ('examples', 'groups')
                   for split, count in data.get(what, {}).items()}
    contents = {'contents': {'url': data['url']}} if _is_address(data.get('url', '')) else {}
    return {'type': 'data', 'bom-ref': ref, 'name': data.get('name') or task,
            'data': [{'type': 'dataset', 'name': task, **contents}],
            **({'licenses': [{'license': _license(data['license'])}]} if data.get('license') else {}),
            'properties': _named(properties)}


def _license(text: str) -> dict:
    return {'name': text, **({'url': text} if _is_address(text) else {})}


def _is_address(text: str) -> bool:
    """Whether the text is one address, which the schema wants to be a valid one."""
    return bool(re.fullmatch(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+", text))


def _library(name: str, version: str) -> dict:
    purl = f'pkg:pypi/{name}@{version.replace("+", "%2B")}'
    return {'type': 'library', 'bom-ref': purl, 'name': name, 'version': version, 'purl': purl}


def _properties(card: dict) -> list[dict]:
    """Where the model came from, as far as the card says it."""
    trained, training = card.get('trained', {}), card.get('training', {})
    return _named({
        **{name: card.get(name) for name in ('config_digest', 'code_version', 'model_digest', 'baseline_version',
                                             'data_baseline_version')},
        'parameters': card.get('parameters', {}).get('total'),
        'python': card.get('versions', {}).get('python'),
        'initial_checkpoint': training.get('initial_checkpoint'),
        'training_seconds': trained.get('seconds'),
        'training_processor': trained.get('processor'),
        'training_cores': trained.get('cores'),
        'training_accelerators': ', '.join(trained.get('accelerators', []))})


def _named(values: dict) -> list[dict]:
    """The values as CycloneDX's properties, without the empty ones."""
    return [{'name': f'polyvit:{name}', 'value': str(value)} for name, value in values.items()
            if value not in (None, '')]

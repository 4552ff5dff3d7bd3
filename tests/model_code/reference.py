"""The forward pass of PolyViT in numpy and float64, written a second time from docs/model.md.

Parameters are a dict: variables by their path in the model (`tokenizers/image/embedding/kernel`,
`encoder/blocks/3/...`). Shared blocks are numbered from 0 over all layers.
"""

import itertools

import numpy as np


def logits(parameters: dict[str, np.ndarray], inputs: np.ndarray, modality: str, task: str, *, patch, heads: int,
           layers: int, modality_layers: int = 0, pooling: str = 'token', hidden: int = 0) -> np.ndarray:
    """[batch, *input shape] -> [batch, classes]. hidden: the number of hidden layers of the head."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    x = tokens(p, inputs.astype(np.float64), f'tokenizers/{modality}', patch)
    for number in range(layers):
        path = f'modality_blocks/{modality}/{number}' if number < modality_layers else f'blocks/{number}'
        x = block(p, x, f'encoder/{path}', heads)
    x = norm(p, x, 'encoder/norm')
    x = x[:, 0] if pooling == 'token' else x.mean(axis=1)
    for number in range(hidden):
        x = np.maximum(dense(p, x, f'heads/{task}/hidden/{number}'), 0)
    return dense(p, x, f'heads/{task}/output_layer')


def tokens(p, inputs, name, patch):
    """Cuts out patch by patch in the order of the input's axes, puts the class token first, and adds the positions."""
    steps = [range(0, size, step) for size, step in zip(inputs.shape[1:-1], patch, strict=True)]
    kernel = p[f'{name}/embedding/kernel'].reshape(-1, p[f'{name}/embedding/bias'].size)
    rows = []
    for corner in itertools.product(*steps):
        cut = inputs[(slice(None), *(slice(start, start + step) for start, step in zip(corner, patch, strict=True)))]
        rows.append(cut.reshape(len(inputs), -1) @ kernel + p[f'{name}/embedding/bias'])
    first = np.repeat(p[f'{name}/class_token'][:, 0], len(inputs), axis=0)
    return np.stack([first, *rows], axis=1) + p[f'{name}/position_embedding']


def block(p, x, name, heads):
    x = x + attention(p, norm(p, x, f'{name}/norm_attention'), f'{name}/attention', heads)
    return x + dense(p, gelu(dense(p, norm(p, x, f'{name}/norm_mlp'), f'{name}/mlp_in')), f'{name}/mlp_out')


def attention(p, x, name, heads):
    query, key, value = (np.split(dense(p, x, f'{name}/{part}'), heads, axis=-1) for part in ('query', 'key', 'value'))
    mixed = []
    for q, k, v in zip(query, key, value, strict=True):
        weights = np.exp(np.einsum('nid,njd->nij', q, k) / np.sqrt(q.shape[-1]))
        mixed.append(np.einsum('nij,njd->nid', weights / weights.sum(-1, keepdims=True), v))
    return dense(p, np.concatenate(mixed, axis=-1), f'{name}/out')


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def norm(p, x, name):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + 1e-6) * p[f'{name}/gamma'] + p[f'{name}/beta']


def dense(p, x, name):
    return x @ p[f'{name}/kernel'] + p[f'{name}/bias']

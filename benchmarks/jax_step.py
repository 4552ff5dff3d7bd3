"""The train step that benchmarks/step.py compares ours with: the same ViT, loss, clipping and momentum SGD in JAX.

JAX compiles the whole step. `benchmarks/step.py --jax` runs this with an interpreter that has jax; it needs nothing of
this project. The argument is JSON with the model's sizes. Prints JSON with 'version', seconds ('forward', 'train',
'train_first') and 'train_flops', in FLOP/s.
"""

import functools
import json
import math
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

EPSILON = 1e-6


def dense(x, p):
    return x @ p['kernel'] + p['bias']


def norm(x, p):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + EPSILON) * p['scale'] + p['bias']


def attention(x, p, heads):
    batch, tokens, width = x.shape
    query, key, value = (dense(x, p[name]).reshape(batch, tokens, heads, width // heads)
                         for name in ('query', 'key', 'value'))
    scores = jnp.einsum('bqhd,bkhd->bhqk', query * (width // heads) ** -0.5, key)
    return dense(jnp.einsum('bhqk,bkhd->bqhd', jax.nn.softmax(scores), value).reshape(x.shape), p['out'])


def forward(p, inputs, heads):
    """[batch, patches, values of a patch] -> logits [batch, classes]."""
    x = dense(inputs, p['embedding'])
    x = jnp.concatenate([jnp.tile(p['class_token'], (x.shape[0], 1, 1)), x], axis=1) + p['positions']
    for block in p['blocks']:
        x = x + attention(norm(x, block['norm_1']), block, heads)
        x = x + dense(jax.nn.gelu(dense(norm(x, block['norm_2']), block['mlp_in'])), block['mlp_out'])
    return dense(norm(x, p['norm'])[:, 0], p['head'])


def patches(inputs, grid, patch):
    """[batch, *input shape] -> [batch, patches, values of a patch]."""
    split = [size for sizes in zip(grid, patch, strict=True) for size in sizes]
    axes = range(1, len(split) + 1)
    x = inputs.reshape(inputs.shape[0], *split, inputs.shape[-1]).transpose(0, *axes[::2], *axes[1::2], len(split) + 1)
    return x.reshape(inputs.shape[0], math.prod(grid), -1)


def make_parameters(sizes):
    rng = np.random.default_rng(0)

    def layer(inputs, outputs):
        return {'kernel': jnp.asarray(rng.normal(0, 0.02, (inputs, outputs)), jnp.float32), 'bias': jnp.zeros(outputs)}

    def scale():
        return {'scale': jnp.ones(width), 'bias': jnp.zeros(width)}

    width, mlp_width = sizes['width'], sizes['mlp_width']
    blocks = [{'norm_1': scale(), 'norm_2': scale(),
               **{name: layer(width, width) for name in ('query', 'key', 'value', 'out')},
               'mlp_in': layer(width, mlp_width), 'mlp_out': layer(mlp_width, width)} for _ in range(sizes['layers'])]
    return {'embedding': layer(math.prod(sizes['patch']) * sizes['channels'], width),
            'class_token': jnp.zeros((1, 1, width)), 'blocks': blocks, 'norm': scale(),
            'positions': jnp.asarray(rng.normal(0, 0.02, (1, math.prod(sizes['grid']) + 1, width)), jnp.float32),
            'head': layer(width, sizes['classes'])}


def main():
    sizes = json.loads(sys.argv[1])
    grid, patch = sizes['grid'], sizes['patch']
    shape = [a * b for a, b in zip(grid, patch, strict=True)] + [sizes['channels']]
    parameters = make_parameters(sizes)
    velocities = jax.tree.map(jnp.zeros_like, parameters)
    inputs = jnp.asarray(np.random.default_rng(1).normal(size=(sizes['batch'], *shape)), jnp.float32)
    labels = jnp.zeros(sizes['batch'], jnp.int32)

    def logits(p, x):
        return forward(p, patches(x, grid, patch), sizes['heads'])

    def loss(p, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(p, x)), y[:, None], axis=1).mean()

    def step(p, velocities, x, y):
        value, gradients = jax.value_and_grad(loss)(p, x, y)
        length = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradients)))
        factor = 1 / jnp.maximum(length, 1)
        velocities = jax.tree.map(lambda v, g: 0.9 * v + factor * g, velocities, gradients)
        return jax.tree.map(lambda a, v: a - 1e-3 * v, p, velocities), velocities, value

    compiled, compiled_step = jax.jit(logits), jax.jit(step, donate_argnums=(0, 1))

    def timed(function):
        start = time.perf_counter()
        result = jax.block_until_ready(function())
        return time.perf_counter() - start, result

    timed(lambda: compiled(parameters, inputs))
    seconds = statistics.median(timed(lambda: compiled(parameters, inputs))[0] for _ in range(sizes['times']))
    trained = []
    for _ in range(sizes['times'] + 1):
        call = functools.partial(compiled_step, parameters, velocities, inputs, labels)
        took, (parameters, velocities, _) = timed(call)
        trained.append(took)
    seconds_of_step = statistics.median(trained[1:])
    width, tokens = sizes['width'], math.prod(grid) + 1
    block = 2 * tokens * (4 * width * width + 2 * width * sizes['mlp_width']) + 4 * tokens * tokens * width
    embedding = 2 * math.prod(grid) * math.prod(patch) * sizes['channels'] * width
    flops = 3 * sizes['batch'] * (embedding + sizes['layers'] * block)
    print(json.dumps({'version': jax.__version__, 'forward': seconds, 'train': seconds_of_step,
                      'train_first': trained[0], 'train_flops': flops / seconds_of_step}))


main()

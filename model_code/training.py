"""The train step: forward, loss, gradients, clipping, update. One traced function per task (`multi_step_function`).

What a step draws at random is a function of (config.seed, step, replica). Gradients are summed over the replicas before
they are clipped, so a recipe does not depend on the number of devices (docs/model.md, "The step").
"""

import contextlib
import functools
from collections.abc import Callable, Collection

import tensorflow as tf
import tf_keras

from model_code import modalities, settings
from model_code.polyvit import CAPTIONS, PolyViT
from model_code.settings import TrainingConfig
from model_code.tasks import Task

# Variables with one of these words in their names have no weight decay, as is usual in recipes for transformers.
NOT_DECAYED = ('bias', 'norm', 'class_token', 'position_embedding', 'log_scale')

# tf.function as the steps use it. Without AutoGraph a step is traced several times faster (benchmarks/trace_step.py):
# it would rewrite all of tf_keras's optimiser and layers, and nothing here has a Python branch on a tensor.
traced = functools.partial(tf.function, autograph=False)


class Momentum(tf_keras.optimizers.Optimizer):
    """SGD with momentum as in the paper's code: velocity = 0.9 velocity + gradient; variable -= rate * velocity.

    tf_keras's SGD multiplies each gradient by the rate of its own step when it adds it to the velocity. Here the rate
    of the current step, and so of the current task, multiplies the whole velocity.
    """
    MOMENTUM = 0.9

    def __init__(self, learning_rate: float, weight_decay: float):
        super().__init__(name='momentum', weight_decay=weight_decay)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def build(self, var_list):
        super().build(var_list)
        if not getattr(self, '_built', False):
            self.velocities = [self.add_variable_from_reference(v, 'velocity') for v in var_list]
            self._built = True

    def update_step(self, gradient, variable):
        velocity = self.velocities[self._index_dict[self._var_key(variable)]]
        tf.raw_ops.ResourceApplyMomentum(var=variable.handle, accum=velocity.handle, grad=gradient,
                                         lr=tf.cast(self.learning_rate, variable.dtype), momentum=self.MOMENTUM)

    def get_config(self):
        return {'learning_rate': self._serialize_hyperparameter(self._learning_rate), 'weight_decay': self.weight_decay}


def make_optimizer(config: TrainingConfig) -> tf_keras.optimizers.Optimizer:
    """The optimiser that config.optimizer names. Each step sets its learning rate."""
    make = (Momentum if config.optimizer == 'momentum'
            else getattr(tf_keras.optimizers, settings.OPTIMIZERS[config.optimizer]))
    optimizer = make(learning_rate=config.learning_rate, weight_decay=config.weight_decay)
    if not config.weight_decay:
        optimizer.weight_decay = None  # with 0, every variable would be multiplied for nothing
    optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return optimizer


class LossScale(tf.Module):
    """Dynamic loss scaling for float16.

    A step whose gradients overflow changes no weight and halves the scale. `patience` good steps in a row double it.
    """

    def __init__(self, initial: float = 2.0 ** 15, patience: int = 2_000):
        super().__init__(name='loss_scale')
        self.patience = patience
        self.value = tf.Variable(initial, trainable=False, dtype=tf.float32, name='value')
        self.good_steps = tf.Variable(0, trainable=False, dtype=tf.int64, name='good_steps')

    def update(self, finite: tf.Tensor):
        """To be called after each step. finite: whether its gradients were, a bool scalar."""
        grown = finite & (self.good_steps + 1 >= self.patience)
        factor = tf.where(finite, tf.where(grown, 2.0, 1.0), 0.5)
        self.value.assign(tf.clip_by_value(self.value * factor, 2.0 ** -14, 2.0 ** 24))
        self.good_steps.assign(tf.where(finite & ~grown, self.good_steps + 1, 0))


@contextlib.contextmanager
def without_graph_optimizer():
    """A context: functions that are first called in it run as traced, without TensorFlow's graph optimiser.

    The optimiser does not make a step faster, but goes through the whole graph of a step again for each task. That
    would be most of the start-up time of a further task (benchmarks/many_tasks.py).
    """
    before = tf.config.optimizer.get_experimental_options()['disable_meta_optimizer']
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': before})


class TrainSteps:
    """Makes the train steps of one model and optimiser. What tasks of a modality have in common is traced once.

    Args:
      strategy, model, optimizer: made in the strategy's scope. The optimiser is built for all variables of the model.
      config: the recipe.
      loss_scale: given for float16 only.
      encoded: tasks whose batches have the frozen encoder's tokens in place of inputs (encoded_examples.py).
    """

    def __init__(self, strategy: tf.distribute.Strategy, model: PolyViT, optimizer, config: TrainingConfig,
                 loss_scale: LossScale | None = None, encoded: Collection[str] = ()):
        self._strategy, self._model, self._optimizer = strategy, model, optimizer
        self._config, self._loss_scale, self._encoded = config, loss_scale, encoded
        self._encoders, self._functions = {}, {}

    def single(self, task: Task) -> Callable:
        """The step of one task: a function (batch, number, rate) -> (loss, gradient norm), scalars. Not traced yet.

        batch: distributed (inputs, labels). number: of the step, int32. rate: the learning rate, float32.
        """
        groups = self._groups([task])

        def gradients_of(number, inputs, labels):
            loss, gradients = self._gradients(task, inputs, labels, self._seed(number))
            return loss, *self._reduced(gradients, groups)

        return self._step(gradients_of, groups)

    def accumulated(self, tasks: tuple[Task, ...]) -> Callable:
        """One step of all tasks. As `single`, but the batch is {task name: distributed batch}.

        The tasks' gradients, each times the task's learning-rate coefficient, are summed into one update. The loss is
        the mean over the tasks. The forward pass of a task waits for the gradients of the task before, so that the
        memory holds the activations of one task only.
        """
        groups = self._groups(tasks)

        def gradients_of(number, batches):
            sums, total = {}, 0.0
            for index, task in enumerate(tasks):
                seed = tf.random.experimental.stateless_fold_in(self._seed(number), index)
                with tf.control_dependencies([*sums.values()]):
                    inputs, labels = (tf.identity(x) for x in batches[task.name])
                    loss, gradients = self._gradients(task, inputs, labels, seed)
                    total += loss / len(tasks)
                    for variable, gradient in zip(self._model.task_variables(task.name), gradients, strict=True):
                        weighted, key = gradient * task.recipe.learning_rate_coefficient, variable.ref()
                        sums[key] = sums[key] + weighted if key in sums else weighted
            return total, *self._reduced([sums[v.ref()] for group in groups for v in group], groups)

        return self._step(gradients_of, groups, unpack=False)

    def shared_gradients(self, task: Task) -> Callable:
        """A function (batch, number) -> the gradients of a task's mean loss for the encoder's shared blocks.

        It gives them apart for the two halves of the batch, [half][variable]; their sum is that of the whole batch.
        There is one list, and no halves, of a replica that has one example, and of a task with captions: its loss is of
        all pairs of the batch, and not a sum over halves. Nothing is clipped or updated. The halves come one after the
        other, so that the memory holds the activations of one only.
        """
        variables, whole = self._model.encoder.shared_variables, task.recipe.objective == 'captions'

        def gradients_of(number, inputs, labels):
            parts, begin = [], 0
            count = inputs.shape[0]
            for size in filter(None, (count,) if whole else (count // 2, (count + 1) // 2)):
                with tf.control_dependencies(parts[-1] if parts else []):
                    some, their_labels = (tf.identity(x[begin:begin + size]) for x in (inputs, labels))
                _, gradients = self._gradients(task, some, their_labels, self._seed(number), variables)
                begin += size
                if self._strategy.num_replicas_in_sync > 1:
                    gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
                parts.append([g / self._loss_scale.value if self._loss_scale else g for g in gradients])
            return parts

        return lambda batch, number: self._strategy.run(gradients_of, args=(number, *batch))

    def _groups(self, tasks) -> list[list[tf.Variable]]:
        """The variables of the tasks, each once, in the groups that tasks share."""
        groups, seen = [], set()
        for task in tasks:
            for group in self._model.variable_groups(task.name):
                groups.append([v for v in group if v.ref() not in seen])
                seen |= {v.ref() for v in group}
        return [group for group in groups if group]

    def _seed(self, number):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.random.experimental.stateless_fold_in(tf.stack([self._config.seed, number]), replica)

    def _encode(self, modality: str, depth: float, share: float, training: bool) -> Callable:
        """The traced function (inputs, seed) -> tokens, shared by all tasks that compute tokens in the same way.

        training: not for a frozen encoder, which computes as it does when it is served, without what it draws at random
        in training.
        """
        key = modality, depth, share, training
        if key not in self._encoders:
            self._encoders[key] = traced(
                lambda inputs, seed: self._model.encode(modality, inputs, training, depth, seed, share),
                jit_compile=self._config.jit or None)
        return self._encoders[key]

    def _tokens(self, task: Task, inputs, seed) -> tf.Tensor:
        """The encoder's tokens of a batch; those that are the batch itself as they are."""
        if task.name in self._encoded:
            return inputs
        recipe, training = task.recipe, not self._model.is_frozen(task.name)
        return self._encode(task.modality, recipe.stochastic_depth, recipe.token_share, training)(inputs, seed)

    def _gradients(self, task: Task, inputs, labels, seed, variables=None):
        """A replica's share of the global batch's mean loss, and its (scaled) gradients for the variables.

        variables: those of the task if they are not given.
        """
        with tf.GradientTape() as tape:
            # No gradient goes through a frozen encoder, which is most of what a step costs.
            with tape.stop_recording() if self._model.is_frozen(task.name) else contextlib.nullcontext():
                tokens = self._tokens(task, inputs, seed)
            if task.recipe.objective == 'captions':
                encode = self._encode(modalities.CAPTION_MODALITY, task.recipe.stochastic_depth, 1.0, True)
                caption_tokens = encode(labels, tf.random.experimental.stateless_fold_in(seed, CAPTIONS))
                losses = self._model.caption_loss(task.name, tokens, caption_tokens, labels)
            else:
                losses = self._model.head_loss(task.name, tokens, labels)
            loss = tf.reduce_sum(losses) / task.recipe.batch_size
            scaled = loss * self._loss_scale.value if self._loss_scale else loss
        return loss, tape.gradient(scaled, variables or self._model.task_variables(task.name))

    def _reduced(self, gradients, groups):
        """(norm, factor, gradients): the gradients summed over the replicas, and their global norm.

        `factor`, when multiplied with the gradients, removes the loss scale and brings the norm to at most
        config.clip_norm.
        """
        if self._strategy.num_replicas_in_sync > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        squares = [self._shared(_sum_of_squares, variables)(group) for variables, group in _by_group(groups, gradients)]
        scale = self._loss_scale.value if self._loss_scale else 1.0
        norm, clip_norm = tf.sqrt(tf.add_n(squares)) / scale, self._config.clip_norm
        factor = (clip_norm / tf.maximum(norm, clip_norm) if clip_norm else tf.ones([])) / scale
        return norm, factor, gradients

    def _update(self, number, factor, gradients, groups):
        """Updates the variables in `groups` by their gradients, in the same order, times `factor`.

        The optimiser gets no other variables: even with a zero gradient, momentum and weight decay would move them.
        """
        for variables, group_gradients in _by_group(groups, gradients):
            def update(number, factor, gradients, variables=variables):
                # apply_gradients counts its calls in `iterations`, but a step makes several.
                self._optimizer.iterations.assign(tf.cast(number, tf.int64))
                self._optimizer.apply_gradients([(g * factor, v) for g, v in zip(gradients, variables, strict=True)],
                                                skip_gradients_aggregation=True)

            # A strategy that can have several replicas refuses an update in a traced function of its own.
            alone = isinstance(self._strategy, tf.distribute.OneDeviceStrategy)
            (self._shared(update, variables) if alone else update)(number, factor, group_gradients)

    def _shared(self, function: Callable, variables) -> Callable:
        """`function` for a group of variables, traced once for all tasks that share the group."""
        key = function.__name__, *(v.ref() for v in variables)
        if key not in self._functions:
            self._functions[key] = traced(function)
        return self._functions[key]

    def _step(self, gradients_of: Callable, groups, unpack: bool = True) -> Callable:
        strategy, scale = self._strategy, self._loss_scale

        def update(number, factor, gradients):
            self._update(number, factor, gradients, groups)

        def whole(number, *batch):
            loss, norm, factor, gradients = gradients_of(number, *batch)
            update(number, factor, gradients)
            return loss, norm

        def step(batch, number, rate):
            self._optimizer.learning_rate.assign(rate)
            arguments = (number, *batch) if unpack else (number, batch)
            if scale is None:
                loss, norm = strategy.run(whole, args=arguments)
                return strategy.reduce('SUM', loss, axis=None), strategy.reduce('MEAN', norm, axis=None)
            # All replicas decide together, between the two halves of the step, whether it counts.
            loss, norm, factor, gradients = strategy.run(gradients_of, args=arguments)
            norm = strategy.reduce('MEAN', norm, axis=None)
            finite = tf.math.is_finite(norm)
            tf.cond(finite, lambda: _done(strategy.run(update, args=(number, factor, gradients))), lambda: False)
            scale.update(finite)
            return strategy.reduce('SUM', loss, axis=None), norm

        return step


def _by_group(groups, values) -> list[tuple[list, list]]:
    """Each group of variables with its values. `values` has them one after another."""
    values = iter(values)
    return [(variables, [next(values) for _ in variables]) for variables in groups]


def _sum_of_squares(gradients):
    return 2 * tf.add_n([tf.nn.l2_loss(g) for g in gradients])


def _done(_) -> bool:
    return True


def multi_step_function(step: Callable, next_batch: Callable) -> Callable:
    """A function (first step, rates [k]) -> (losses [k], norms [k]): k steps of one task in one call, traced once.

    step: from TrainSteps. next_batch: a function () -> the next batch of the step, from distributed iterators.
    """
    @traced(input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([None], tf.float32)])
    def steps(first, rates):
        count = tf.size(rates)
        results = [tf.TensorArray(tf.float32, count, element_shape=[]) for _ in range(2)]

        def body(i, losses, norms):
            loss, norm = step(next_batch(), first + i, rates[i])
            return i + 1, losses.write(i, loss), norms.write(i, norm)

        _, losses, norms = tf.while_loop(lambda i, *_: i < count, body, (0, *results), parallel_iterations=1)
        return losses.stack(), norms.stack()

    # Traced at the first call. Calling the tf.function itself would warn, with many tasks, that too many are traced.
    concrete = functools.cache(steps.get_concrete_function)
    return lambda first, rates: concrete()(first, rates)

"""PolyViT: one tokenizer per modality, one encoder, one head per task."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from model_code import contrast, freezing, heads, input_pipeline, losses, modalities, tokenizers
from model_code.encoder import Encoder
from model_code.settings import ModelConfig
from model_code.tasks import Mixture, Task

# Folded into a step's seed for the draw of the kept patches. The encoder folds in the numbers of its blocks, from 0.
KEPT_PATCHES = -1
CAPTIONS = -2  # the same, for the seed of what the encoder draws for captions

_PROMPTS = 256  # that are encoded at once


def _ids(captions: tf.Tensor) -> tf.Tensor:
    """[batch, length, 256] one-hot bytes -> [batch, length] int32, equal for captions whose inputs are equal."""
    return tf.argmax(captions, axis=-1, output_type=tf.int32)


class PolyViT(tf.Module):
    """One transformer for all tasks of a mixture.

    It is a tf.Module of tf_keras layers, not a keras.Model: saving would trace a call that takes the task as an
    argument once more with task=None.

    Args:
      mixture: the tasks.
      classes: task name -> number of classes.
      config: sizes and inputs.
      groups: task name -> Task.group_ids of its vocabulary, for tasks with label groups.
      class_weights: task name -> the label kind's `class_weights`, for tasks whose loss in training is weighted.
      train_only: the tasks whose heads are trained, and with them the tokenizer and own blocks of a modality that no
        other task has; () trains everything (TrainingConfig.train_only).
      vocabularies: task name -> labels, in id order. The prompts of tasks with captions are made of them.
    """

    def __init__(self, mixture: Mixture, classes: dict[str, int], config: ModelConfig,
                 groups: dict[str, tuple[tuple[int, ...], ...]] | None = None,
                 class_weights: dict[str, np.ndarray] | None = None, train_only: Sequence[str] = (),
                 vocabularies: dict[str, list[str]] | None = None):
        super().__init__(name='polyvit')
        self.config = config
        self.tasks = {t.name: t for t in mixture.tasks}
        self.groups = {name: (groups or {}).get(name, ()) for name in self.tasks}
        self.class_weights = dict(class_weights or {})
        self.train_only = tuple(train_only)
        # A task that is not trained keeps the vectors of its classes.
        self._prompts = {t.name: [prompt.replace('{}', label) for label in (vocabularies or {}).get(t.name, ())
                                  for prompt in t.recipe.prompts]
                         for t in mixture.tasks if t.recipe.objective == 'captions' and not train_only}
        for task in mixture.tasks:
            if len(self.groups[task.name]) != len(task.data.label_groups):
                raise ValueError(f'Task {task.name} has the label groups {task.data.label_groups}, but groups has ids '
                                 f'of {len(self.groups[task.name])}.')
        self.tokenizers = {}
        for name in mixture.modalities:
            self.tokenizers[name] = modalities.get_modality(name).make_tokenizer(
                config.width, config.input(name), name=f'{name}_tokenizer')
        self.encoder = Encoder(config, mixture.modalities, name='encoder')
        self.heads = {t.name: heads.make_head(t, classes[t.name], config.width) for t in mixture.tasks}
        self._build()

    def _build(self):
        """Makes every variable now, so that optimiser slots and checkpoints cover them all."""
        token = tf.zeros([1, 1, self.config.width])  # one is enough: no variable here depends on the number
        for name, tokenizer in self.tokenizers.items():
            tokenizer(tf.zeros([1, *self.config.input(name).shape]))
            self.encoder(token, name)
        for head in self.heads.values():
            head(token)

    def encode(self, modality: str, inputs: tf.Tensor, training: bool = False, stochastic_depth: float = 0.0,
               seed: tf.Tensor | None = None, token_share: float = 1.0) -> tf.Tensor:
        """[batch, *input shape] -> the encoder's tokens [batch, tokens, width]. seed: as for `logits`.

        With training and a token_share under 1 the tokens are the class token and those of the kept patches.
        """
        dropping = training and token_share < 1
        if training and seed is None and (self.config.dropout or stochastic_depth or dropping):
            raise ValueError('Dropout, stochastic depth and token dropping draw random numbers in training; give a '
                             'seed.')
        if dropping:
            axes = modalities.get_modality(modality).kept_patches(self.config.input(modality), token_share)
            kept = tokenizers.draw_patches(axes, tf.shape(inputs)[0],
                                           tf.random.experimental.stateless_fold_in(seed, KEPT_PATCHES))
            tokens = self.tokenizers[modality](inputs, kept)
        else:
            tokens = self.tokenizers[modality](inputs)
        return self.encoder(tokens, modality, training=training, stochastic_depth=stochastic_depth, seed=seed)

    def _encode_for(self, task: Task, inputs, training: bool, seed) -> tf.Tensor:
        """`encode` with the task's recipe."""
        return self.encode(task.modality, inputs, training, task.recipe.stochastic_depth, seed, task.recipe.token_share)

    def embedding(self, modality: str, tokens: tf.Tensor) -> tf.Tensor:
        """The encoder's tokens [batch, tokens, width] -> the representation [batch, width] float32, without a head.

        It is pooled as in the head of the modality's first task: a class token that no head reads has learned nothing.
        """
        task = next(t for t in self.tasks.values() if t.modality == modality)
        return heads.pool(tokens, task.recipe.pooling)

    def logits(self, task: str, inputs: tf.Tensor, training: bool = False,
               seed: tf.Tensor | None = None) -> tf.Tensor:
        """[batch, *input shape] of the task's modality -> [batch, classes] float32.

        seed: [2] int32, which determines what dropout, stochastic depth and token dropping draw in training. Needed if
        config.dropout or the task's stochastic_depth is not 0, or its token_share not 1.
        """
        return self.heads[task](self._encode_for(self.tasks[task], inputs, training, seed))

    def head_loss(self, task: str, tokens: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The encoder's tokens [batch, tokens, width] -> the losses [batch] float32. labels: see losses.loss."""
        return losses.loss(self.tasks[task], self.heads[task](tokens), labels, self.groups[task],
                           self.class_weights.get(task))

    def caption_loss(self, task: str, tokens: tf.Tensor, caption_tokens: tf.Tensor, captions: tf.Tensor) -> tf.Tensor:
        """As `head_loss`, of a task with the objective 'captions': contrast.losses.

        tokens, caption_tokens: the encoder's, of the examples and of their captions. captions: [batch, *input shape].
        """
        head = self.heads[task]
        return contrast.losses(head.media_vectors(tokens), head.caption_vectors(caption_tokens), _ids(captions),
                               head.scale)

    def pair_vectors(self, task: str, inputs: tf.Tensor, captions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Examples and their captions, [batch, *input shape] -> what contrast.recall_at_1 takes."""
        head, modality = self.heads[task], self.tasks[task].modality
        return (head.media_vectors(self.encode(modality, inputs)),
                head.caption_vectors(self.encode(modalities.CAPTION_MODALITY, captions)), _ids(captions))

    def update_classes(self):
        """Computes the vectors of the classes of tasks with captions from the weights as they are.

        To be called before such a task's scores are used: training does not change them. That of a class is the mean
        of its prompts' vectors, as a unit vector. With train_only all stay as they are.
        """
        for name, prompts in self._prompts.items():
            if prompts:
                head, recipe = self.heads[name], self.tasks[name].recipe
                vectors = [head.caption_vectors(self.encode(modalities.CAPTION_MODALITY, input_pipeline.captions(
                    tf.constant(prompts[first:first + _PROMPTS]), self.config)))
                    for first in range(0, len(prompts), _PROMPTS)]
                by_class = tf.reshape(tf.concat(vectors, 0), [-1, len(recipe.prompts), self.config.width])
                head.class_vectors.assign(tf.math.l2_normalize(tf.reduce_mean(by_class, axis=1), axis=-1))

    def loss(self, task: str, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """[batch, *input shape] -> each example's loss in training, [batch] float32. labels: see losses.loss; captions
        of a task that learns from them."""
        chosen = self.tasks[task]
        tokens = self._encode_for(chosen, inputs, True, seed)
        if chosen.recipe.objective == 'captions':
            own_seed = None if seed is None else tf.random.experimental.stateless_fold_in(seed, CAPTIONS)
            caption_tokens = self.encode(modalities.CAPTION_MODALITY, labels, True, chosen.recipe.stochastic_depth,
                                         own_seed)
            return self.caption_loss(task, tokens, caption_tokens, labels)
        return self.head_loss(task, tokens, labels)

    def scores(self, task: str, inputs: tf.Tensor) -> tf.Tensor:
        """[batch, *input shape] -> [batch, classes] float32 in [0, 1], in vocabulary order (see losses.scores)."""
        return self.head_scores(task, self.encode(self.tasks[task].modality, inputs))

    def head_scores(self, task: str, tokens: tf.Tensor) -> tf.Tensor:
        """The encoder's tokens [batch, tokens, width] -> as `scores`."""
        return losses.scores(self.tasks[task], self.heads[task](tokens), self.groups[task])

    def is_frozen(self, task: str) -> bool:
        """Whether steps of this task train its head alone."""
        return freezing.is_frozen(self.tasks[task], self.tasks.values(), self.train_only)

    def variable_groups(self, task: str) -> list[list[tf.Variable]]:
        """The variables that a step of this task trains, each once, grouped by what shares them: the tokenizers of its
        modalities, the encoder's blocks and norm, its head."""
        head = self.heads[task].trainable_variables
        if self.is_frozen(task):
            return [head]
        groups, seen = [], set()
        for modality in self.tasks[task].modalities:
            encoder = (self.encoder.own_variables if self.train_only else self.encoder.path_variables)(modality)
            for group in (self.tokenizers[modality].trainable_variables, encoder):
                groups.append([variable for variable in group if variable.ref() not in seen])
                seen |= {variable.ref() for variable in group}
        return [group for group in (*groups, head) if group]

    def task_variables(self, task: str) -> list[tf.Variable]:
        """The variables that a step of this task trains."""
        return [variable for group in self.variable_groups(task) for variable in group]

    def trained_variables(self) -> list[tf.Variable]:
        """The variables that any step trains, each once."""
        if not self.train_only:
            return list(self.trainable_variables)
        return list({v.ref(): v for name in self.train_only for v in self.task_variables(name)}.values())

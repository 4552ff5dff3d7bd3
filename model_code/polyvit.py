"""PolyViT: a tokenizer for each modality, one encoder, a head for each task."""

import tensorflow as tf

from model_code import heads, modalities, tokenizers
from model_code.encoder import Encoder
from model_code.settings import ModelConfig
from model_code.tasks import Mixture


class PolyViT(tf.Module):
    """One transformer for all tasks of a mixture.

    A tf.Module over tf_keras layers: a keras.Model whose call takes the task as an argument is traced again with
    task=None when saved.

    Args:
      mixture: the tasks.
      classes: task name -> number of classes.
      config: sizes and inputs.
    """

    def __init__(self, mixture: Mixture, classes: dict[str, int], config: ModelConfig):
        super().__init__(name='polyvit')
        self.config = config
        self.modality_of = {t.name: t.modality for t in mixture.tasks}
        self.tokenizers = {}
        for name in mixture.modalities:
            tokenizer = tokenizers.TOKENIZERS[modalities.get_modality(name).tokenizer]
            self.tokenizers[name] = tokenizer(config.width, config.input(name), name=f'{name}_tokenizer')
        self.encoder = Encoder(config, name='encoder')
        self.heads = {t.name: heads.make_head(f'{t.name}_head', classes[t.name], t.zero_init_head)
                      for t in mixture.tasks}
        self._build()

    def _build(self):
        """Makes every variable now, so that optimiser slots and checkpoints know them all."""
        for name, tokenizer in self.tokenizers.items():
            shape = [1, *self.config.input(name).shape]
            self.encoder(tokenizer(tf.zeros(shape)))
        for head in self.heads.values():
            head.build([None, self.config.width])

    def embed(self, modality: str, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[batch, *input shape] -> the representation [batch, width]."""
        tokens = self.tokenizers[modality](inputs)
        return heads.pool(self.encoder(tokens, training=training), self.config.pooling)

    def logits(self, task: str, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[batch, *input shape] of the task's modality -> [batch, classes] float32."""
        return self.heads[task](self.embed(self.modality_of[task], inputs, training))

    def task_variables(self, task: str) -> list[tf.Variable]:
        """What a step of this task trains: its modality's tokenizer, the encoder and its head, nothing of the others."""
        return (self.tokenizers[self.modality_of[task]].trainable_variables + self.encoder.trainable_variables
                + self.heads[task].trainable_variables)

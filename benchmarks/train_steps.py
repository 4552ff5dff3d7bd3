"""What benchmarks of the train step share: a fresh model and the steps that train it."""

from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Task


def make(tasks: tuple[Task, ...], classes: int, model_config: ModelConfig, config: TrainingConfig):
    """(the model, a function of nothing -> TrainSteps that share no traced function with earlier ones). Every task has
    so many classes."""
    from model_code import polyvit, strategy, training
    placed = strategy.make_strategy(config)
    with placed.scope():
        model = polyvit.PolyViT(Mixture(tasks), {t.name: classes for t in tasks}, model_config)
        optimizer = training.make_optimizer(config)
        optimizer.build(list(model.trainable_variables))
    return model, lambda: training.TrainSteps(placed, model, optimizer, config)

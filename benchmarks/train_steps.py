"""What the benchmarks of the train step share: a new model, and the steps that train it."""

from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Task


def make(tasks: tuple[Task, ...], classes: int, model_config: ModelConfig, config: TrainingConfig):
    """A model with `classes` classes for every task, and a function without arguments that makes its TrainSteps.

    TrainSteps of different calls share no traced function.
    """
    from model_code import polyvit, training
    from model_code.strategy import make_strategy, precision
    strategy = make_strategy(config)
    with strategy.scope(), precision(config):
        model = polyvit.PolyViT(Mixture(tasks), {task.name: classes for task in tasks}, model_config)
        optimizer = training.make_optimizer(config)
        optimizer.build(list(model.trainable_variables))
    return model, lambda: training.TrainSteps(strategy, model, optimizer, config)

"""A model that learns nothing, quickly: its loss decays by a hyperparameter."""

import json
import time

import determined as det
from determined import core


def main(context: core.Context) -> None:
    decay = det.get_cluster_info().trial.hparams["decay"]
    loss = 10.0
    for step in range(1, 6):
        loss *= decay
        time.sleep(0.2)
        print(f"step {step} loss {loss:.4f}", flush=True)
        context.train.report_training_metrics(steps_completed=step, metrics={"loss": loss})
        if step % 2 == 1:
            metrics = {"val_loss": loss * 1.1, "acc": 1 - loss / 10}
            context.train.report_validation_metrics(steps_completed=step, metrics=metrics)
            with context.checkpoint.store_path({"steps_completed": step}) as (path, _):
                (path / "state.json").write_text(json.dumps({"loss": loss, "step": step}))


if __name__ == "__main__":
    # Metrics go to the master; TensorBoard files would need a framework to write them.
    with core.init(tensorboard_mode=core.TensorboardMode.MANUAL) as context:
        main(context)

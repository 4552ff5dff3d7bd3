"""Transform: TFX's Transform for one task. The schema tells it the task's labels."""

"""From files to examples: which media a task has, how they are read safely, and what was found. No TFX, no Beam."""

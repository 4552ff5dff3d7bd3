"""From files to examples: which media a task has, how they are read safely, what is found in them. No TFX.

Beam, for files behind a URL, is in remote_files alone, TensorFlow in tf_check; both are imported where they are needed.
"""

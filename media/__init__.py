"""From files to examples: listing a task's media, reading them safely, checking them. No TFX.

Nothing here uses Beam, and only tf_check uses TensorFlow, which it imports when needed.
"""

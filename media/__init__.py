"""From files to examples: listing a task's media, reading them safely, checking them. No TFX.

Only remote_files uses Beam (for files behind a URL), and only tf_check uses TensorFlow. Both import it when needed.
"""

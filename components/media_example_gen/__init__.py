"""MediaExampleGen: turns folders and manifests of media into sharded tf.Examples, and lists what it rejected."""

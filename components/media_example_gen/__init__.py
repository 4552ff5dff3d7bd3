"""MediaExampleGen: folders and manifests of media -> sharded tf.Examples and a list of what could not be read."""

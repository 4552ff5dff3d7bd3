"""The exit codes of the commands."""

DONE = 0
FAILED = 1
WRONG = 2  # the arguments, the config or its data are wrong; nothing was started
REJECTED = 3  # the run finished, and the gate rejected the model
SOME_REJECTED = 4  # a folder was predicted, and some of its files could not be read
INTERRUPTED = 130  # by Ctrl-C; what had finished is kept

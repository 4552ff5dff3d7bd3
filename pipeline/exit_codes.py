"""The exit codes of the commands. docs/operations.md and `polyvit --help` have the same table."""

DONE = 0
FAILED = 1
WRONG = 2
REJECTED = 3
SOME_REJECTED = 4
HUNG_UP = 129
INTERRUPTED = 130
TERMINATED = 143

MEANINGS = {
    DONE: 'done; for a run: the model was pushed, or nothing had changed',
    FAILED: 'failed, or stopped on purpose; a check found what would stop a run',
    WRONG: 'the arguments, the config or its data are wrong; nothing was started',
    REJECTED: 'the gate rejected the model; nothing was pushed',
    SOME_REJECTED: 'predict -o: the file is written, and some rows have an error in place of scores',
    HUNG_UP: 'the terminal was closed (SIGHUP); the same command goes on',
    INTERRUPTED: 'interrupted by Ctrl-C (SIGINT); the same command goes on',
    TERMINATED: 'ended by SIGTERM; the same command goes on',
}

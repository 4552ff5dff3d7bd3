"""Why a Beam pipeline failed, of the text that its runner gives, as a sentence that says what to do.

A runner hands on a worker's error as one text: words of its own, the worker's traceback, and that of the job server's.
The reason stands at the end of the last traceback, and the first line never has it.
"""

import re

from model_code.isolated import PACKAGES

_START = 'Traceback (most recent call last):'
_DOCS = 'docs/beam.md'

# What a text has -> what it means, and what to do; the first that matches counts. {0} and so on are its groups.
_MEANINGS = (
    (rf"No module named '((?:{'|'.join(PACKAGES)})\b[\w.]*)'",
     "The Beam workers cannot import this project (No module named '{0}'). Start their pool where the project is "
     f'installed or on PYTHONPATH, or give them its image ({_DOCS}, "Workers").'),
    (r"No module named '([\w.]+)'",
     "The Beam workers lack a package (No module named '{0}'). Install requirements.lock where they run, or give them "
     f'the image of this project ({_DOCS}, "Workers"). A module of your own must be installed there, or lie in a '
     'folder of PYTHONPATH.'),
    (r"(Can't get attribute '\w+' on <module '[\w.]+'[^>]*>|cannot import name '\w+' from '[\w.]+')",
     'The Beam workers have other versions of this project or of its packages ({0}). Install the same ones there, or '
     f'build their image anew ({_DOCS}, "Workers").'),
    (r'(?s)UNAVAILABLE.*?(?:ipv[46]:|/)([\w.:\[\]%-]+:\d+)\b.*?(?:[Cc]onnection refused|refused|unreachable)',
     'Nothing answers at {0}, which the job server asked for workers. Start a worker pool there: python -m '
     'apache_beam.runners.worker.worker_pool_main --service_port=PORT.'),
    (r'DEADLINE_EXCEEDED|[Tt]imed out while waiting for command',
     'No Beam worker came up in time. Its own log, or that of its pool, has the reason: often Python cannot import '
     'apache_beam there, or the worker cannot reach the job server.'),
    (r'Insufficient number of network buffers',
     'Flink has too few network buffers for this pipeline. Give its task managers more '
     f'(taskmanager.memory.network.min and .max: 512mb; {_DOCS}, "Flink").'),
    (r'OutOfMemoryError: Metaspace',
     "Flink's metaspace is full, as it is after some twenty jobs of a session cluster. Restart the task managers, and "
     f"put the job server's jar into lib/ ({_DOCS}, \"Flink\")."),
    (r'(?:SDK [Hh]arness|SdkHarness|worker)[^\n]*(?:disconnected|was killed|exited with code|is missing)|'
     r'multiplexer hanging up|Heartbeat of TaskManager',
     'A Beam worker died, most often for lack of memory. Give workers more of it, or take fewer at a time '
     f'({_DOCS}, "Sizes").'),
    (r'[Nn]o such file or directory[^\n]*docker|Cannot run program "docker"',
     'The cluster cannot start the image of the workers, because it has no Docker. Use a worker pool '
     f'({_DOCS}, "Workers").'),
)


def reason(text: str) -> str | None:
    """Why a job failed, of the text of the exception: what is known of it, or else the last error in it, such as
    'ValueError: bad'. None if it is not the text of a runner, or has no reason.
    """
    if not re.search(rf'{re.escape(_START)}|^Pipeline \S+ failed in state|Error received from SDK harness', text):
        return None
    for pattern, sentence in _MEANINGS:
        found = re.search(pattern, text)
        if found:
            return sentence.format(*found.groups())
    lines = text[text.rfind(_START):].splitlines()[1:] if _START in text else text.splitlines()
    last = next((line for line in lines if line and not line[0].isspace()), '')
    return re.sub(r" \[while running '.*$", '', last)[:400] or None

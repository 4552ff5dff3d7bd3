"""Exceptions with a message for the person who runs the pipeline.

Each message says what was wrong, where, and what would be right. The command line prints it without a traceback.
"""

import os


class ConfigError(ValueError):
    """The arguments, a config or its data are wrong. Nothing was started. Exit code 2."""


class PipelineStop(RuntimeError):
    """A component stopped the run on purpose (too many rejected files, an anomaly, ...). Exit code 1."""


class StoreError(PipelineStop, OSError):
    """A store behind a URL cannot be reached, or denies the access. Exit code 1."""


def damaged(path: str, error: Exception, folder: str = '') -> PipelineStop:
    """The error for a file among a component's results that is no longer what the component wrote.

    folder: that of the results; by default the one in which the file is.
    """
    folder = folder or os.path.dirname(path)
    return PipelineStop(f'{path} is damaged ({error}). Remove the folder {folder} and run again: what was in it is '
                        'then made anew.')


def unknown(kind: str, name: str, known, where: str = '') -> ConfigError:
    """The error for a name that is not in a table. It lists the valid names, the closest first, and asks about that.

    where: the beginning of the message, such as 'Task digits: '.
    """
    import difflib
    known = sorted(name for name in known if name)  # '' stands for a default
    closest = difflib.get_close_matches(str(name), known, n=len(known), cutoff=0.0)
    ordered = closest + [k for k in known if k not in closest]
    meant = difflib.get_close_matches(str(name), known, n=1)
    question = f' Did you mean {meant[0]}?' if meant else ''
    return ConfigError(f'{where}There is no {kind} named {name!r}.{question} Known: {", ".join(ordered)}.')

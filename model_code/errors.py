"""The exceptions that carry a sentence for the person who runs the pipeline.

Each message says what was wrong, where, and what would be right; the command line prints it without a traceback.
"""


class ConfigError(ValueError):
    """The arguments, a config or its data are wrong; nothing was started. Exit code 2."""


class PipelineStop(RuntimeError):
    """A component stopped the run on purpose (too many rejected files, an anomaly, ...). Exit code 1."""


def unknown(kind: str, name: str, known) -> ConfigError:
    """The error for a name that is not in a table: lists the valid names, the closest first."""
    import difflib
    known = sorted(known)
    closest = difflib.get_close_matches(str(name), known, n=len(known), cutoff=0.0)
    ordered = closest + [k for k in known if k not in closest]
    return ConfigError(f'There is no {kind} named {name!r}. Known: {", ".join(ordered)}.')

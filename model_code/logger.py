"""The logger for messages to the person who runs the pipeline or a server.

`polyvit run` shows these messages on the screen, below the running component (level INFO and above), and writes them to
the run's log. A record with an attribute `progress`, a tuple (done, total, seconds left or None), says how far the
component is; a terminal shows only the newest of them. What other modules and libraries log goes only to that file.
The logger's name is fixed, so that other programs can pick out these messages too.
"""

import logging

logger = logging.getLogger('polyvit')

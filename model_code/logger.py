"""The logger of messages for the person who runs the pipeline, or a server.

`polyvit run` shows them on the screen below the running component (level INFO and above) and writes them to the run's
log; everything else that Python modules and libraries log goes to that file alone. The name is fixed, so that other
programs can choose these messages too.
"""

import logging

logger = logging.getLogger('polyvit')

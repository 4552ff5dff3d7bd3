"""Media are decoded in a child process. A file that hangs or kills the decoder is rejected, and the worker lives on.

Decoders are C libraries that read hostile bytes: no exception handler catches their endless loops and crashes. The
parent (parent.Decoder) sends entries, and waits for each answer no longer than the task's limit. It replaces a child
that is late or dead, and rejects the file that the child was reading. The child (`python -m media.sandbox.child`)
starts within a second, because it imports no TensorFlow. Its memory, files and core dumps are limited. The messages
between the two are in protocol.
"""

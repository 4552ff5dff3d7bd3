"""Media is decoded in a process of its own: a file that hangs or kills a decoder is rejected, and the worker lives on.

Decoders are C libraries that read hostile bytes: no exception handler catches their endless loops and crashes. The
parent (parent.Decoder) sends entries and waits for each answer no longer than the task's limit; a child that is late or
dead is replaced, and the file that it had in hand is named. The child (`python -m media.sandbox.child`) imports no
TensorFlow, so a new one is there within a second, and has bounded memory, files and core dumps. What they say to each
other is in protocol.
"""

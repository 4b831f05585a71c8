"""Voice messages: listen, notice one, keep it as a file of its own.

``keeper`` runs it (sources, threads, when to stop), ``lane`` follows one stream of sound from its
blocks to finished messages, ``recent`` holds the last sound, ``saving`` makes the named file of a
finished message, also of one that a crash interrupted.
"""

from capture.voice.keep import keep_messages
from capture.voice.keeper import VoiceKeeper
from capture.voice.saving import recover_message

__all__ = ["VoiceKeeper", "keep_messages", "recover_message"]

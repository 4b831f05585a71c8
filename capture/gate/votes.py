"""Decides whether an island of sound is speech, and whether it belongs to a message."""

from dataclasses import dataclass
from typing import Final

# Silero's results for 10 ms ticks, measured on 37 utterances, notifications and music: speech has a
# share of 0.40 at least, 0.98 in the median; notifications 0.09 at most, music 0.07 at the 90th
# percentile.
SPEECH_SHARE: Final = 0.25
WORD_TICKS: Final = 50
WORD_SHARE: Final = 0.45
"""Asked of islands no longer than that. Of 25 single words of espeak-ng ("ja", "hm"; each by itself
and 0.5 and 0.9 s after a sentence) the least had 0.49; of 216 notifications one, a knock, had 0.53,
the next 0.43."""
NEAR_TICKS: Final = 100
"""A word with less, but ``SPEECH_SHARE``, still ends a message that it is so near to."""
LONG_VOICE_TICKS: Final = 150
"""An island with so many ticks of speech is speech, whatever their share."""
SHORT_TICKS: Final = 100
ATTACH_TICKS: Final = 40
"""A short sound without voice so near belongs to the message: a breath, a last plosive."""


@dataclass(slots=True)
class Island:
    """A run of sound without a pause; ticks, the end not included."""

    start: int
    end: int
    sounding: int = 0
    voiced: int = 0
    voice_start: int | None = None
    """``None`` while no speech was heard in it."""
    voice_end: int = 0
    is_speech: bool = False

    @property
    def share(self) -> float:
        """Part of the sounding ticks that are speech, 0..1."""
        return self.voiced / self.sounding if self.sounding else 0.0

    @property
    def length(self) -> int:
        """Length in ticks."""
        return self.end - self.start

    @property
    def is_over_as_speech(self) -> bool:
        """Whether an island that has ended counts as speech."""
        share = WORD_SHARE if self.length <= WORD_TICKS else SPEECH_SHARE
        return self.share >= share or self.voiced >= LONG_VOICE_TICKS

    def belongs(self, distance: int) -> bool:
        """Whether an island without speech belongs to a message at this distance, in ticks."""
        if self.length > SHORT_TICKS:
            return False
        is_word = self.length <= WORD_TICKS and self.share >= SPEECH_SHARE
        return distance <= (NEAR_TICKS if is_word else ATTACH_TICKS)

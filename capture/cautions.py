"""What people are warned of, as codes with parameters: of recordings, listening, and files.

None names an option or a command.
"""

from capture.coded import Code


class Caution(Code):
    """The codes, and what they say in a front that has no words of its own."""

    # While something is recorded
    SOUND_LOST = "sound was lost: this machine is too busy to keep up"
    SCREEN_LOST = "{error}; the sound is still recorded"
    STOPPED = "this program was stopped for {length_s:.1f} s: the picture stood still"
    RULE_UNANSWERED = "{reason}; it cannot end this now"
    CALLBACK_FAILED = "on_event failed, and gets no more events: {error}"
    DISK_ALMOST_FULL = "the disk is almost full: {free} left"
    DISK_TOO_SMALL = (
        "the disk will be full before the recording is over: there is room for about "
        "{fits_min:.1f} of {wanted_min:.1f} minutes"
    )
    SOURCE_TWICE = (
        "{source} {is_in} in {other} too: it will be twice as loud in the mix; record separate "
        "tracks instead"
    )
    COMMAND_FAILED = "the command ended with exit code {exit_code}"
    # Sources
    MUTED = "{name} is muted: it records silence"
    PLAYS_SILENCE = "{name} plays, but gives only silence"
    APP_WAITED_FOR = "{name} plays nothing yet: waiting for it"
    APP_ABSENT = "no application named {name} is playing; {players}; still waiting"
    TOO_MANY_STREAMS = "{streams} streams play at once: only {followed} are followed"
    SOURCE_FAILED = "{name}: {error}"
    # Messages
    OF_FILE = "{name}: {warning}"
    NO_RECENT_SOUND = "no recent sound is in memory to be saved"
    CLIPPED = "it is clipped: turn the player down and play it again"
    FAINT = "it is faint ({peak_dbfs:.0f} dBFS): turn the player up"
    NOT_LISTED = "it is kept, but not in the list of messages: {error}"
    TOO_LARGE_TO_SEND = "{name} has {size_mb:.1f} MB; {messenger} takes {most_mb:.0f} MB at most"
    SHOWN_AS_DOWNLOAD = (
        "{name} has {size_kb:.0f} kB; above {most_kb:.0f} kB {messenger} may show a download arrow "
        "instead of playing it in place"
    )
    # Files that are extracted
    NAME_TAKEN = "it becomes {name}: the sound of another file has its name"
    EMPTY_LEFT_OUT = "{name} would be empty and was left out"
    NOTHING_FOUND = "no {what} was found in sound track {track}"
    PACKETS_UNREADABLE = "{packets} of {track} could not be read and left out"
    SOUND_MISSING = "{track} lacks {missing_s:.2f} s of sound in {places}"
    CLOCK_JUMPS = "the clock of {track} jumps {times}; it was evened out"
    READ_ENDS = "{track} cannot be read past {ends_s:.1f} s: {error}"
    CUT_OFF = "{track} is cut off: {ends_s:.1f} s of {stated_s:.1f} s are there"
    FORM_CHANGES = (
        "sound track {track} changes its rate or channels {times}; all of it was brought to those "
        "that it begins with"
    )
    NO_TIMESTAMPS = (
        "a {suffix} file has no timestamps: sound after a hole comes that much too early"
    )
    CUT_BY_EDIT_LIST = (
        "sound track {track} is cut in {places} by the edit list of its file: right after a cut a "
        "copy may sound different for up to half a second"
    )
    START_UNMARKED = (
        "a {suffix} file cannot mark its first {samples} samples, which should not be heard"
    )
    LOUDNESS_UNKNOWN = "{part} is too soft or too short to be measured; it is left as it is"
    PEAKS_GROW = "the encoder lets peaks of {part} grow to {peak_dbtp:.1f} dBTP"
    SOFTER_THAN_WANTED = (
        "{part} is {missing_lu:.1f} LU softer than wanted: its peaks could not be taken down "
        "farther without harm"
    )
    # Files that are recovered
    HOLE = "{length_s:.1f} s are missing at {at_s:.1f} s"
    WRITTEN_MISSING = "{length_s:.1f} s that were written are missing"
    END_DAMAGED = "the last {length_s:.1f} s were damaged and are left out"

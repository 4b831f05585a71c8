"""Hints: codes with parameters for what a person can do about an error; fronts word them.

The text of a code names no option and no command; the command line has its own words for each, in
``capture.cli.hints``. A hint that is the same everywhere is plain text and needs no code.
"""

from capture.coded import Code


class Advice(Code):
    """The codes; each value is the text for a front that has no words of its own."""

    REPLACE_RECORDING = "choose another name, or have the file replaced"
    REPLACE_EXTRACTED = "have the file replaced, or choose another name"
    SPLIT_FILES = "begin a new file from time to time, or use another disk"
    KEEP_PICTURES_OUT = "record no pictures, or write to .mp4, .mkv or .webm"
    RECORD_SOMETHING = "record pictures, or name a source of sound"
    MIX_TRACKS = "mix all sound into one track, or write to {others}"
    OTHER_ENCODER = "use the encoder libx264, or have one chosen"
    LOSSLESS_ENCODER = "use the encoder libx264"
    FITTING_NAME = "call it {name}, or choose another format"
    OTHER_FORMAT = "choose another format, such as {format}"
    ENCODE = "have it encoded, for example as {format}"
    COPY_FIRST_PART = "several files were joined in it: copy only what comes before that time"
    COPY_OR_ENCODE = "have it encoded, or copy only what comes before that time"
    FEWER_WORKERS = "is there memory left? work on fewer files at a time"
    REPORT = "please report it, with the steps that led to it"
    SHOW_TRACKS = "look at what the file holds"
    SHOW_DEVICES = "look at which devices there are"
    SHOW_MESSAGES = "{first}; look at the list of the messages"
    CHECK_FILE = "have the file checked, to see what it is"
    CHECK_MACHINE = "have the machine checked, to see what works here"
    RECOVER_FIRST = "recover it and move it away, or record to another name"
    KEPT_IN = "{length_s:.1f} s are kept in {path}; {then}"
    INDEX_MESSAGES = "have the folder looked through that it was moved to"
    SERVE_SCHEDULE = "have the schedule served"
    INSTALL_AGAIN = "install the schedule again, on this desktop"
    SHOW_JOBS = "look at the list of the jobs"
    CARRY_OVER = "look at the list of the jobs once: that carries it over"
    UNDO_DELETION = "undo the deletion"
    KEEP_ANY_SOUND = "install {package}, or keep all sounds"
    WAIT_LONGER = "have it wait longer, or without an end"
    LIMIT_WAITING = "leave the rule out, or end after a time without sound"
    PRIVATE_DESKTOP = "log in to an X11 session, or record a private desktop"
    PRIVATE_DISPLAY = "set DISPLAY to the running one, or record a private desktop"
    RECORD_REGION = "record the part of the screen where it is"
    REGION_INSIDE = "the part inside is {region}"

"""The length in a FLAC file's header, which libavformat does not correct when it copies."""

from pathlib import Path


def write_flac_length(path: Path, samples: int, *, is_whole: bool = True) -> None:
    """Write the number of samples into STREAMINFO (RFC 9639, section 8.2).

    It is the low 36 bits of bytes 18 to 25; the sum over the samples follows.

    Args:
        path: A finished file.
        samples: A channel.
        is_whole: The sum is right, or 0. Otherwise it is that of the source of a cut, and is
            replaced by 0: not known.
    """
    with path.open("r+b") as file:
        file.seek(18)
        packed = int.from_bytes(file.read(8), "big")
        file.seek(18)
        file.write((packed >> 36 << 36 | samples).to_bytes(8, "big"))
        if not is_whole:
            file.write(bytes(16))

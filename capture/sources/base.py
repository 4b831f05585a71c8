"""The contracts of all backends, tested in ``tests/contract``."""

from abc import abstractmethod
from collections.abc import Callable

from capture.closing import Closing
from capture.model.events import Event
from capture.model.signal import AudioBlock, ScreenPicture, SoundState

MIX_STREAM = -1
"""``AudioBlock.stream`` of the default output's mix; ids of an application's stream are not below
zero."""


class ScreenSource(Closing):
    """Pictures of a screen, a region or a window. Used from one thread at a time.

    Attributes:
        label: What it films, for people: ``screen 1 (HDMI-1)``, ``window "Mail"``.
        size_px: Width and height of the first picture, fixed for its life; later ones may have
            others where a window is resized.
        notes: Why a slower or poorer path was taken, one sentence each.
    """

    label: str
    size_px: tuple[int, int]
    notes: list[str]

    @abstractmethod
    def grab(self) -> ScreenPicture:
        """The present picture; the first one is marked as changed all over.

        Returns:
            A picture in memory that the source keeps: valid until the next call.

        Raises:
            SourceEndedError: The window was closed; call no more.
            DeviceLostError: The display went away.
        """

    def rest(self, until_ns: int) -> bool:
        """Sleep as long as nothing changes on the screen.

        Args:
            until_ns: Capture clock at which to come back at the latest.

        Returns:
            Whether nothing had happened up to now, or up to what ended the sleep; false at once
            if something has, or if that cannot be known.

        Raises:
            DeviceLostError: The display went away.
        """
        del until_ns
        return False

    def wake(self) -> None:
        """Make ``rest()`` return now, and at once in the future. Any thread."""


class AudioSource(Closing):
    """Sound of an output, an application or a microphone.

    Delivers from threads of its own between ``start()`` and ``close()``. It looks after its device
    itself: reports when it is lost, opens it again when it is back. It never falls back to
    another, louder source: an application that ends is followed by silence, not by the mix.

    Attributes:
        label: What it records, for people: ``system (Built-in Audio)``, ``app Firefox``.
        rate_hz: Sample rate of every block; fixed for its life.
        channels: Channels of every block; fixed for its life.
        is_idle_silent: True where no data at all is normal while nothing plays.
        notes: Why a poorer path was taken, one sentence each.
    """

    label: str
    rate_hz: int
    channels: int
    is_idle_silent: bool
    notes: list[str]

    @abstractmethod
    def start(self, put: Callable[[AudioBlock], None], on_event: Callable[[Event], None]) -> None:
        """Begin to deliver. Called once.

        Args:
            put: Takes a block; called from another thread, never blocks, never raises.
            on_event: Takes what happens to the device; same rules.

        Raises:
            DeviceError: If it cannot be opened.
        """

    @property
    def sound_state(self) -> SoundState:
        """Whether sound should come now; any thread may ask."""
        return SoundState.UNKNOWN


class PlayerSource(AudioSource):
    """The sound of applications, each stream alone, with its id in ``AudioBlock.stream``.

    Its owner keeps the streams apart. An event STREAM_STARTED comes before a stream's first block,
    with the details ``stream``, ``app`` (for people), ``pid``, ``binary``, ``title`` (each ``None``
    if unknown), ``lead_ms`` and ``missing_ms``: how much of its beginning was taken from before the
    capture, and how much may be missing at most (``None``: it played already). STREAM_ENDED has the
    same ``stream``, and comes after the last block.
    """

    @abstractmethod
    def playing(self) -> dict[int, tuple[str, bool, bool]]:
        """The followed streams: application, whether it is paused, whether it is muted."""

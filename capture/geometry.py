"""``Rect``: a rectangle of pixels, with intersection and union."""

from dataclasses import dataclass

__all__ = ["Rect"]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle in pixels; left and top may be negative on a multi-monitor desktop.

    Raises:
        ValueError: If it has no area.
    """

    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.width_px <= 0 or self.height_px <= 0:
            raise ValueError(f"a rectangle of {self.width_px}x{self.height_px} pixels has no area")

    @property
    def right_px(self) -> int:
        """The first column to the right of the rectangle."""
        return self.left_px + self.width_px

    @property
    def bottom_px(self) -> int:
        """The first row below the rectangle."""
        return self.top_px + self.height_px

    @property
    def area_px(self) -> int:
        """Number of pixels in the rectangle."""
        return self.width_px * self.height_px

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an image that it covers: ``image[rect.slices]``."""
        return slice(self.top_px, self.bottom_px), slice(self.left_px, self.right_px)

    def moved(self, dx_px: int, dy_px: int) -> "Rect":
        """A rectangle of the same size, moved right and down by so many pixels."""
        return Rect(self.left_px + dx_px, self.top_px + dy_px, self.width_px, self.height_px)

    def intersect(self, other: "Rect") -> "Rect | None":
        """The area that both cover; ``None`` where they do not overlap."""
        left, top = max(self.left_px, other.left_px), max(self.top_px, other.top_px)
        right, bottom = min(self.right_px, other.right_px), min(self.bottom_px, other.bottom_px)
        if right <= left or bottom <= top:
            return None
        return Rect(left, top, right - left, bottom - top)

    def union(self, other: "Rect") -> "Rect":
        """The smallest rectangle that contains both."""
        left, top = min(self.left_px, other.left_px), min(self.top_px, other.top_px)
        right, bottom = max(self.right_px, other.right_px), max(self.bottom_px, other.bottom_px)
        return Rect(left, top, right - left, bottom - top)

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px} at {self.left_px},{self.top_px}"

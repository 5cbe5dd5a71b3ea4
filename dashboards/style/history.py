"""What was done to a style, to undo and to do again."""

from dataclasses import dataclass, replace

from dashboards.style.draft import Document

# A day's work; each step is a document of some kilobytes, most of it shared with the one before.
MAX_STEPS = 200


@dataclass(frozen=True)
class History:
    """A document with those that were before it and those that were undone.

    Attributes:
        present: The document.
        past: What it was, the latest last.
        future: What was undone, the next to do again first.
        moving: What a person is dragging; the next step of the same drag takes the place of this one.
    """

    present: Document
    past: tuple[Document, ...] = ()
    future: tuple[Document, ...] = ()
    moving: str = ""

    def then(self, document: Document, *, moving: str = "", ends: str = "") -> "History":
        """Return the history after one more step.

        Args:
            document: The document after it.
            moving: The drag that it belongs to, where it goes on.
            ends: The drag that it ends.
        """
        drag = moving or ends
        if drag and drag == self.moving:
            return replace(self, present=document, moving=moving)
        if document == self.present:
            return replace(self, moving=moving)
        return History(document, (*self.past, self.present)[-MAX_STEPS:], (), moving)

    def undone(self) -> "History":
        """Return the history one step back."""
        if not self.past:
            return self
        return History(self.past[-1], self.past[:-1], (self.present, *self.future))

    def redone(self) -> "History":
        """Return the history with the step that was undone last."""
        if not self.future:
            return self
        return History(self.future[0], (*self.past, self.present), self.future[1:])

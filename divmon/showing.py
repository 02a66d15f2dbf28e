"""What shows itself: as a table in a console, and as a table with curves in a notebook."""

from __future__ import annotations

from abc import abstractmethod

from divmon import notebook, shown


class Showing:
    """Shows what `_shown` gives."""

    @property
    @abstractmethod
    def _shown(self) -> shown.Shown:
        """What is shown."""

    def __repr__(self) -> str:
        return f"<divmon.{type(self).__name__}: {shown.summary(self._shown)}>"

    def __str__(self) -> str:
        return shown.as_text(self._shown)

    def _repr_html_(self) -> str:
        """The run as a table, for a notebook."""
        return notebook.as_html(self._shown)

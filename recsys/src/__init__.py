"""Recommendation without negatives. Nothing public lives here yet."""

from __future__ import annotations

__all__: list[str] = []

"""Results for people: tables for the terminal, figures, and reports in one HTML file.

Everything here is about form; what is in a table or a figure is the business of the caller.

.. code-block:: python

    from kgneg.report import Figure, Report, Section, Table, line_plot, render_html, render_text

    table = Table(columns=("sampler", "MRR"), rows=(("basic", "0.61"),), caption="Higher is better.")
    print(render_text(table))
    html = render_html(Report(title="Samplers", lead="One number.", sections=(Section("Ranks", parts=(table,)),)))
"""

from __future__ import annotations

from kgneg.report.html import Figure, Report, Section, render_html
from kgneg.report.plots import Series, dot_plot, line_plot, quantile_plot, scatter_plot
from kgneg.report.tables import Table, render_text

__all__ = [
    "Figure",
    "Report",
    "Section",
    "Series",
    "Table",
    "dot_plot",
    "line_plot",
    "quantile_plot",
    "render_html",
    "render_text",
    "scatter_plot",
]

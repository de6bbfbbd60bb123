"""Tables of results, as text and as CSV, Markdown, LaTeX and HTML."""

"""HTTP around the pages: security headers, limits, uploads, errors, templates."""

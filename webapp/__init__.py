"""Web page and API: predict uploaded smears with every model, show the reliability of each, browse the comparison."""
